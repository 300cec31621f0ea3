import numpy as np
import pytest
from scipy import stats

from saliency_audit.stats.correlation import pearson, spearman


@pytest.mark.parametrize("n", [4, 5, 30])
@pytest.mark.parametrize("seed", range(4))
def test_it_is_scipys(n, seed):
    rng = np.random.default_rng(seed)
    # Ties, as the points of a sweep have them.
    x = rng.integers(0, 3, n).astype(float)
    x[:2] = 0, 1
    y = 1e3 + x * 0.3 + rng.normal(size=n)
    theirs = stats.pearsonr(x, y)
    assert pearson(x, y) == pytest.approx(
        (theirs.statistic, *theirs.confidence_interval(0.95)), abs=1e-9
    )
    mine, rank = spearman(x, y), stats.spearmanr(x, y).statistic
    assert mine.value == pytest.approx(rank, abs=1e-9)
    half = stats.norm.ppf(0.975) * np.sqrt((1 + rank**2 / 2) / (n - 3))
    ends = np.tanh(np.arctanh(rank) + np.array([-half, half]))
    assert mine[1:] == pytest.approx(ends, abs=1e-9)


def test_the_interval_holds_the_true_correlation_19_times_of_20():
    rng, held = np.random.default_rng(0), {pearson: 0, spearman: 0}
    for _ in range(1000):
        x, y = rng.multivariate_normal([0, 0], [[1, 0.6], [0.6, 1]], 20).T
        truths = {pearson: 0.6, spearman: 6 / np.pi * np.arcsin(0.3)}
        for measure, truth in truths.items():
            _, low, high = measure(x, y)
            held[measure] += low < truth < high
    assert all(920 < count < 980 for count in held.values())


def test_what_goes_up_always_has_spearman_1_and_no_interval():
    x = [0, 0.5, 1, 2, 4]
    for sign in (1, -1):
        found = spearman(x, [sign * value**3 for value in x])
        assert found.value == sign
        assert np.isnan(found[1:]).all()
    assert 0.8 < pearson(x, [value**3 for value in x]).value < 1


def test_what_is_balanced_has_exactly_none():
    assert spearman([1, 1, 1, 3, 3, 3, 7, 7, 7], [0.1, 0.2, 0.3] * 3).value == 0
    assert pearson([0.1, 0.1, 0.7, 0.7], [0.3, 0.9, 0.3, 0.9]).value == 0


def test_there_is_none_of_what_does_not_vary():
    assert np.isnan(pearson([1, 1, 1, 1], [1, 2, 3, 4])).all()
    assert np.isnan(spearman([1], [2])).all()
    # A training without a value counts as none.
    assert pearson([0, 1, 2, 3, 9], [1, 3, 2, 5, np.nan]) == pearson([0, 1, 2, 3], [1, 3, 2, 5])
