"""Every check against its definition or an independent library."""

from pathlib import Path

import numpy as np
import pytest
import scipy.stats
import torch

import saliency_audit.metrics as package
from saliency_audit.metrics import CHECKS, METRICS
from saliency_audit.metrics.accuracy import accuracy
from saliency_audit.metrics.changes import (
    logit_change,
    loss_change,
    loss_gradient_change,
    prediction_kept,
    prob_change,
)
from saliency_audit.metrics.similarity import average_ranks, cosine, spearman


def maps(seed, ties=False):
    values = torch.rand(5, 7, 6, generator=torch.Generator().manual_seed(seed))
    return (values * 4).round() if ties else values


@pytest.mark.parametrize("ties", [False, True])
def test_spearman_and_ranks_equal_scipy(ties):
    a, b = maps(0, ties), maps(1, ties)
    for ours, x, y in zip(spearman(a, b), a, b, strict=True):
        expected = scipy.stats.spearmanr(x.flatten(), y.flatten()).statistic
        assert float(ours) == pytest.approx(expected, abs=1e-12)
    ranks = average_ranks(a.flatten(1))
    np.testing.assert_array_equal(ranks, scipy.stats.rankdata(a.flatten(1), axis=1) - 1)


def test_cosine_equals_the_definition():
    a, b = maps(0), maps(1)
    for ours, x, y in zip(cosine(a, b), a.double(), b.double(), strict=True):
        assert float(ours) == pytest.approx(float((x * y).sum() / x.norm() / y.norm()), abs=1e-14)


@pytest.mark.parametrize("metric", [cosine, spearman])
def test_identities_and_invariances(metric):
    a, b = maps(0), maps(1)
    assert metric(a, a) == pytest.approx(1, abs=1e-12)
    assert metric(a, 1e-6 * b) == pytest.approx(metric(a, b), abs=1e-6)
    alone = torch.cat([metric(a[i : i + 1], b[i : i + 1]) for i in range(5)])
    torch.testing.assert_close(metric(a, b), alone, rtol=0, atol=1e-12)


def test_spearman_sees_order_only_and_reversal():
    a = maps(0)
    assert spearman(a, a.exp()) == pytest.approx(1, abs=1e-12)
    assert spearman(a, -a) == pytest.approx(-1, abs=1e-12)


@pytest.mark.parametrize("metric", [cosine, spearman])
@pytest.mark.parametrize("broken", [0.0, 3.0, float("nan"), float("inf")])
def test_maps_that_say_nothing_are_undefined(metric, broken):
    a, b = maps(0), maps(1)
    b[2] = broken
    assert metric(a, b).isnan().tolist() == [False, False, True, False, False]
    assert metric(b, a).isnan().tolist() == [False, False, True, False, False]


def test_prob_change_is_of_probabilities_not_of_logits():
    logits = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    assert prob_change(logits + 50, logits).max() < 1e-6
    other = torch.tensor([[0.0, 0.0, 0.0]])
    certain = torch.tensor([[100.0, 0.0, 0.0]])
    assert float(prob_change(certain, other)) == pytest.approx(2 / 3)
    more = torch.tensor([[0.0, 0.0, 0.0, 0.0]])
    assert float(prob_change(more, other)) == pytest.approx(1 / 4)


def test_the_other_checks_equal_their_definition():
    logits = torch.tensor([[1.0, 3.0, 2.0], [4.0, 0.0, float("nan")]])
    reference = torch.tensor([[1.0, 3.5, 2.0], [4.0, 0.0, 1.0]])
    assert prediction_kept(logits, reference)[0] == 1
    assert prediction_kept(logits, reference)[1].isnan()
    assert logit_change(reference + 2, reference).tolist() == [2, 2]
    assert loss_change(torch.tensor([1.5]), torch.tensor([2.0])).tolist() == [0.5]
    zero = torch.zeros(1, 3)
    assert loss_gradient_change(zero + 1, zero).isnan().all()
    assert accuracy(reference, torch.tensor([1, 1])).tolist() == [1, 0]


SHARED = {"__init__", "view", "retraining", "registry", "presets", "fill", "perturbation", "hog"}


def test_every_file_is_registered_and_every_entry_has_a_file():
    files = {path.stem for path in Path(package.__file__).parent.glob("*.py")} - SHARED
    functions = [check.function for check in CHECKS.values() if check.function]
    functions += [metric.function for metric in METRICS.values()]
    assert {function.__module__.rpartition(".")[2] for function in functions} == files
    assert all(name in metric.checks for name, metric in METRICS.items())
