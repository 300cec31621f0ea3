"""Networks trained on others' labels, and two trainings of one architecture."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from saliency_audit.errors import InputError
from saliency_audit.metrics import View
from saliency_audit.metrics.label_randomisation import label_randomisation
from saliency_audit.metrics.similarity import spearman
from saliency_audit.metrics.stability import retrained_stability, stability
from saliency_audit.models import Classifier
from saliency_audit.training.retrain import Anew

N, SIDE = 5, 12


def maps_of(seed):
    return torch.randn(N, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(seed))


def classifier():
    network = nn.Sequential(nn.Flatten(), nn.Linear(SIDE**2, 3))
    return Classifier(network, input_shape=(1, SIDE, SIDE)).eval()


def view_of(networks, *, maps=0, control=False, known=None, other=None):
    """Maps of the given model are those of seed ``maps``; of a network those of its number."""
    given, images = classifier(), torch.rand(N, 1, SIDE, SIDE)
    return View(
        model=given,
        images=images,
        names=list("abcde"),
        labels=torch.zeros(N, dtype=torch.long),
        targets=torch.zeros(N, dtype=torch.long),
        logits=given(images).detach(),
        method="random" if control else "gradient",
        saliency=maps_of(maps),
        explain=lambda model, images, targets, names, seed=0: maps_of(model.number + 100 * seed),
        batch_size=2,
        seed=0,
        control=control,
        beside={
            "train": SimpleNamespace(network=lambda kind, model: networks[kind]),
            "other": other,
        },
        known={} if known is None else known,
    )


def network(number, *, constant=False):
    model = classifier()
    model.number = number
    return Anew(model, 1.0, constant)


def by_check(found):
    return {one.check: one.values for one in found}


def test_label_randomisation_is_the_rank_correlation_of_magnitudes():
    found = by_check(label_randomisation(view_of({"permuted": network(1)}), window=5))
    by_hand = spearman(maps_of(0).abs().mean(1).double(), maps_of(1).abs().mean(1).double())
    torch.testing.assert_close(found["label-randomisation"], by_hand)
    same = by_check(label_randomisation(view_of({"permuted": network(0)}), window=5))
    for name in ("", "-signed", "-ssim", "-hog"):
        torch.testing.assert_close(same[f"label-randomisation{name}"], torch.ones(N).double())


def test_label_randomisation_of_a_control_is_1():
    found = by_check(label_randomisation(view_of({"permuted": network(1)}, control=True), window=5))
    torch.testing.assert_close(found["label-randomisation"], torch.ones(N).double())


def test_a_network_that_says_one_class_is_no_comparison():
    networks = {"permuted": network(1, constant=True)}
    found = by_check(label_randomisation(view_of(networks), window=5))
    assert found["label-randomisation"].isnan().all()
    assert not found["label-randomisation-agreement"].isnan().any()


def test_agreement_is_measured_once():
    known, networks = {}, {"permuted": network(1)}
    first, second = (
        by_check(label_randomisation(view_of(networks, known=known), window=5)) for _ in "ab"
    )
    assert "label-randomisation-agreement" in first
    assert "label-randomisation-agreement" not in second


def test_retrained_stability_is_stability_between_the_two_networks():
    networks = {"again": network(1), "swapped": network(2)}
    found = by_check(retrained_stability(view_of(networks), k=0.3))
    by_hand = by_check(stability(view_of({}, maps=1, other=network(2).model), k=0.3))
    assert torch.equal(found[""], by_hand[""])
    assert torch.equal(found["retrained-stability-spearman"], by_hand["stability-spearman"])
    same = {"again": network(3), "swapped": network(3)}
    assert (by_check(retrained_stability(view_of(same)))[""] == 1).all()


@pytest.mark.parametrize("options", [{"k": 1.5}, {"pixels": "some"}])
def test_options_that_mean_nothing_are_refused(options):
    with pytest.raises(InputError):
        retrained_stability(view_of({}), **options)
