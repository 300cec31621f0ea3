"""Metrics that train networks anew, on trainings whose accuracy is known."""

import pytest
import torch

from saliency_audit.data.replacement import Replacement
from saliency_audit.errors import InputError
from saliency_audit.metrics.diffroar import diffroar
from saliency_audit.metrics.retraining import Bench, refuse_fractions, weights_of
from saliency_audit.metrics.roar import kar, roar


def known(replacement, number):
    """What is left of 0.9 when the share of the most, or the least, salient pixels is gone."""
    lost = {"gradient": {"top": 0.8, "bottom": 0.1}, "random": {"top": 0.4, "bottom": 0.4}}
    if replacement.mask:
        return 0.25
    if not replacement.saliency:
        return 0.9
    return 0.9 - lost[replacement.saliency][replacement.side] * replacement.share - 0.01 * number


def values(found):
    return {(one.check, one.setting): one.values.tolist() for one in found if one.rows}


def test_the_weights_are_those_of_the_paper():
    assert weights_of([0.1, 0.3, 0.5, 0.7, 0.9]).tolist() == pytest.approx(
        [0.15, 0.2, 0.2, 0.2, 0.15]
    )


def test_roar_is_the_area_by_which_random_pixels_are_missed_less():
    found = values(roar(Bench("gradient", known), repeats=2))
    area = 0.4 * (0.15 * 0.1 + 0.2 * 0.3 + 0.2 * 0.5 + 0.2 * 0.7 + 0.15 * 0.9)
    assert found["roar", "removed=0.1,0.3,0.5,0.7,0.9"] == pytest.approx([area, area])
    assert found["roar-accuracy", "removed=0.3"] == pytest.approx([0.66, 0.65])
    assert found["roar-mask-only", "removed=0.3"] == [0.25, 0.25]


def test_kar_is_the_area_by_which_random_pixels_keep_less():
    found = values(kar(Bench("gradient", known), fractions=(0.5,), repeats=1))
    assert found["kar", "removed=0.5"] == pytest.approx([0.5 * (0.4 - 0.1) * 0.5])


def test_a_curve_begins_with_the_images_as_they_are():
    curve, masks = [one for one in roar(Bench("gradient", known), repeats=2) if not one.rows]
    assert masks.curve.shape == (2, 5)
    assert list(curve.x) == [0, 0.1, 0.3, 0.5, 0.7, 0.9]
    assert curve.curve[:, 0].tolist() == [0.9, 0.9]


def test_a_random_map_beside_itself_has_nothing():
    for metric in (roar, kar):
        found = values(metric(Bench("random", known), repeats=3))
        assert found[metric.__name__, "removed=0.1,0.3,0.5,0.7,0.9"] == [0, 0, 0]


def test_roar_and_kar_share_their_masks():
    asked = {"roar": set(), "kar": set()}
    for metric in (roar, kar):

        def fit(replacement, number, of=asked[metric.__name__]):
            of.add((replacement, number))
            return 0.5

        metric(Bench("gradient", fit), repeats=1)
    masks = [{one for one, _ in found if one.mask} for found in asked.values()]
    assert masks[0] == masks[1]
    assert len(masks[0]) == 5


def test_the_sign_of_diffroar_flips_with_the_order():
    def reversed_order(replacement, number):
        side = "bottom" if replacement.side == "top" else "top"
        return known(Replacement("gradient", replacement.share, side), number)

    found = values(diffroar(Bench("gradient", known), repeats=2))
    other = values(diffroar(Bench("gradient", reversed_order), repeats=2))
    assert found["diffroar-at", "removed=0.3"] == pytest.approx([0.21, 0.21])
    assert found["diffroar", "removed=0.1,0.3,0.5,0.7,0.9"] == pytest.approx([0.35, 0.35])
    assert {key: [-one for one in own] for key, own in found.items()} == other


def test_every_training_is_asked_for_by_its_number():
    numbers = set()

    def fit(replacement, number):
        numbers.add(number)
        return 0.5

    roar(Bench("gradient", fit), repeats=4)
    assert numbers == {0, 1, 2, 3}


@pytest.mark.parametrize("fractions", [(0.001, 0.5), (0.5, 0.999)])
def test_shares_that_mean_nothing_are_refused(fractions):
    with pytest.raises(InputError, match="none or all"):
        refuse_fractions((1, 8, 8), 3, fractions=fractions)
    refuse_fractions((1, 8, 8), 3, fractions=(0.1, 0.9))
    refuse_fractions((1, 8, 8), 3)


def test_shares_may_come_in_any_order():
    found = [values(roar(Bench("gradient", known), fractions=f)) for f in ((0.5, 0.1), (0.1, 0.5))]
    assert found[0] == found[1]


def test_accuracies_are_double():
    assert Bench("", known).accuracies([Replacement()], 2).dtype == torch.float64
