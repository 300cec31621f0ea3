"""Orders of pixels and what is replaced by them."""

import pytest
import torch

from saliency_audit.data.replacement import Replacement, ranking, replaced
from saliency_audit.seeding import generators

NAMES = ["a", "b", "c"]


def draws(seed=0):
    return generators(seed, NAMES, "ties")


def random_maps(channels=2):
    return torch.randn(3, channels, 4, 5, generator=torch.Generator().manual_seed(3))


def test_the_order_is_that_of_the_mean_magnitude():
    maps = random_maps()
    by_hand = maps.abs().mean(1).flatten(1).argsort(1, descending=True).argsort(1)
    assert torch.equal(ranking(maps, draws()), by_hand.int())
    values = maps.abs().flatten(1).argsort(1, descending=True).argsort(1)
    assert torch.equal(ranking(maps, draws(), unit="value"), values.int())


def test_monotone_transforms_of_a_map_change_no_image():
    maps = random_maps(1)
    assert torch.equal(ranking(maps, draws()), ranking(maps.abs().exp() * 3, draws()))


def test_ties_are_drawn_for_each_image_and_by_the_seed():
    zero = torch.zeros(3, 1, 4, 5)
    first = ranking(zero, draws())
    assert [sorted(row.tolist()) for row in first] == [list(range(20))] * 3
    assert not torch.equal(first[0], first[1])
    assert torch.equal(first, ranking(zero, draws()))
    assert not torch.equal(first, ranking(zero, draws(seed=1)))
    # What is not finite anywhere orders nothing either.
    assert torch.equal(first, ranking(zero.index_fill(3, torch.tensor([0]), torch.nan), draws()))


@pytest.mark.parametrize("unit", ["pixel", "value"])
def test_a_share_of_the_pixels_gets_the_fill(unit):
    images, maps, fill = torch.rand(3, 2, 4, 5), random_maps(), torch.tensor([2.0, 3.0])
    ranks = ranking(maps, draws(), unit=unit)
    top = replaced(images, ranks, Replacement("gradient", 0.3, "top", unit), fill)
    bottom = replaced(images, ranks, Replacement("gradient", 0.7, "bottom", unit), fill)
    gone = top > 1
    assert gone.sum((1, 2, 3)).tolist() == [12] * 3  # 0.3 of 40 values
    assert torch.equal(bottom > 1, ~gone)
    assert torch.equal(top[~gone], images[~gone])
    assert (top[gone] == fill.view(1, 2, 1, 1).expand_as(top)[gone]).all()
    if unit == "pixel":
        assert (gone[:, 0] == gone[:, 1]).all()
    mask = replaced(images, ranks, Replacement("gradient", 0.3, "top", unit, mask=True), fill)
    assert torch.equal(mask, gone.float())
