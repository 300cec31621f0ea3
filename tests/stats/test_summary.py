"""scipy is the oracle of the bootstrap, the closed form that of Wilson's interval."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from saliency_audit.stats.summary import (
    SUMMARY_COLUMNS,
    interval,
    student,
    summarise,
    wilson_interval,
)


def results(groups):
    """One row per value; the values of a group belong to images 0, 1, ..."""
    rows = [
        (
            "m",
            saliency,
            scalar,
            check,
            setting,
            f"{i}",
            value,
            "ok" if value is not None else "undefined",
        )
        for (saliency, scalar, check, setting), values in groups.items()
        for i, value in enumerate(values)
    ]
    columns = ["model", "saliency", "scalar", "check", "setting", "image", "value", "status"]
    return pd.DataFrame(rows, columns=columns).astype({"value": float})


@pytest.mark.parametrize("n", [2, 3, 5, 31])
def test_of_few_trainings_it_is_students_interval(n):
    values = np.random.default_rng(n).normal(size=n)
    theirs = stats.t.interval(0.95, n - 1, values.mean(), stats.sem(values))
    ours = interval(values, rng=np.random.default_rng(0), few=True)
    np.testing.assert_allclose(ours, theirs, rtol=1e-4)


def test_beyond_the_table_it_is_the_normal_interval():
    assert student(32) == pytest.approx(stats.t.ppf(0.975, 31), rel=0.05)


@pytest.mark.parametrize("n", [3, 16, 200])
def test_equals_scipys_percentile_bootstrap(n):
    values = np.random.default_rng(n).gamma(2.0, size=n)
    theirs = stats.bootstrap(
        (values,), np.mean, n_resamples=20000, method="percentile", rng=np.random.default_rng(0)
    ).confidence_interval
    ours = interval(values, rng=np.random.default_rng(1), resamples=20000)
    np.testing.assert_allclose(ours, theirs, atol=0.03 * values.std())


def test_bootstrap_is_the_same_in_pieces(monkeypatch):
    values = np.random.default_rng(0).standard_normal(50)
    whole = interval(values, rng=np.random.default_rng(0))
    monkeypatch.setattr("saliency_audit.stats.summary._DRAWN_AT_ONCE", 1000)
    pieces = interval(values, rng=np.random.default_rng(0))
    np.testing.assert_allclose(pieces, whole, atol=0.05)


@pytest.mark.parametrize(("successes", "n"), [(0, 5), (5, 5), (1, 1), (3, 10), (90, 100)])
def test_wilson_equals_scipy(successes, n):
    theirs = stats.binomtest(successes, n).proportion_ci(0.95, method="wilson")
    np.testing.assert_allclose(wilson_interval(successes, n), theirs, atol=1e-12)


def test_columns_order_and_numbers():
    frame = summarise(
        results(
            {
                ("random", "", "cosine", "s"): [0.0, 0.2, 0.4, None],
                ("gradient", "loss", "cosine", "s"): [1.0, 2.0, None, 3.0],
                ("", "", "prediction-kept", "s"): [1.0, 1.0, 1.0, 1.0],
            }
        ),
        higher_is_better={"prediction-kept": True, "cosine": None},
        chance={"cosine": 0.25},
    )
    assert tuple(frame.columns) == SUMMARY_COLUMNS
    assert list(frame["saliency"]) == ["random", "gradient", ""]
    gradient = frame.iloc[1]
    assert (gradient["n"], gradient["n_undefined"]) == (3, 1)
    assert gradient["mean"] == pytest.approx(2.0)
    assert gradient["control"] == pytest.approx(0.1)  # images 0 and 1: 2 and 3 lack one of both
    assert gradient["chance"] == 0.25
    assert np.isnan(frame["control"][[0, 2]]).all()
    assert list(frame["higher_is_better"].isna()) == [True, True, False]
    assert bool(frame["higher_is_better"][2]) is True
    kept = frame.iloc[2]
    assert (kept["ci_low"], kept["ci_high"]) == wilson_interval(4, 4)


def test_nothing_defined_is_empty_not_zero():
    frame = summarise(
        results({("gradient", "logit", "cosine", ""): [None, np.inf]}), higher_is_better={}
    )
    line = frame.iloc[0]
    assert (line["n"], line["n_undefined"]) == (0, 2)
    assert np.isnan([line["mean"], line["ci_low"], line["ci_high"], line["control"]]).all()


def test_errors_are_counted_and_unreadable_images_left_out():
    rows = results(
        {("gradient", "logit", "cosine", ""): [1.0, 1.0], ("", "", "", "broken"): [None]}
    )
    rows.loc[1, "status"] = "error"
    frame = summarise(rows, higher_is_better={})
    assert frame[["check", "n", "n_undefined"]].values.tolist() == [["cosine", 1, 1]]


def test_no_rows():
    assert tuple(summarise(results({}), higher_is_better={}).columns) == SUMMARY_COLUMNS


@pytest.mark.parametrize(
    ("values", "expected"),
    [([], (np.nan, np.nan)), ([0.3], (np.nan, np.nan)), ([0.3, 0.3, 0.3], (0.3, 0.3))],
)
def test_few_or_equal_values(values, expected):
    found = interval(np.array(values), rng=np.random.default_rng(0))
    np.testing.assert_array_equal(found, expected)


def test_measured_values_are_no_proportion():
    ones = results({("gradient", "logit", "cosine", ""): [1.0] * 8})
    line = summarise(ones, higher_is_better={}).iloc[0]
    assert (line["ci_low"], line["ci_high"]) == (1.0, 1.0)


def test_other_rows_and_their_order_move_no_interval():
    groups = {
        (name, "logit", "cosine", ""): np.random.default_rng(i).random(9).tolist()
        for i, name in enumerate("abc")
    }
    whole = summarise(results(groups), higher_is_better={})
    alone = summarise(
        results({key: groups[key] for key in list(groups)[::-2]}), higher_is_better={}
    )
    pd.testing.assert_frame_equal(
        alone, whole[whole["saliency"].isin(["a", "c"])].iloc[::-1].reset_index(drop=True)
    )
    other = summarise(results(groups), higher_is_better={}, seed=1)
    assert not np.array_equal(other["ci_low"], whole["ci_low"])


def test_the_interval_of_many_values_is_where_the_bootstrap_would_be():
    values = np.random.default_rng(0).exponential(size=6000)
    low, high = interval(values, rng=np.random.default_rng(1))
    means = np.random.default_rng(2).choice(values, (1000, 6000)).mean(1)
    assert (low, high) == pytest.approx(tuple(np.quantile(means, (0.025, 0.975))), rel=5e-3)
