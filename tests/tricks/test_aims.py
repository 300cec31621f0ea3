"""What maps are trained to show: each loss and each wanted map against its definition."""

import math

import pytest
import torch

from saliency_audit.catalogue.entries import function_of
from saliency_audit.catalogue.tricks import AIMS, aim_of
from saliency_audit.metrics import CHECKS
from saliency_audit.tricks.aims import away_from_center, frame, off_salient, stretched, towards

GENERATOR = torch.Generator().manual_seed(0)
MAPS = torch.rand(3, 14, 21, generator=GENERATOR)
PICTURE = torch.rand(14, 21, generator=GENERATOR)


def wanted(name, before=MAPS, other=None):
    return function_of(AIMS[name].wanted)(PICTURE, before, MAPS.flip(2) if other is None else other)


def test_a_stretched_map_is_of_magnitude_from_0_to_1():
    signed = torch.tensor([[[[-3.0, 1.0]], [[1.0, 1.0]]], [[[2.0, 2.0]], [[2.0, 2.0]]]])
    assert stretched(signed).tolist() == [[[1.0, 0.0]], [[0.0, 0.0]]]


def test_the_frame_is_a_7th_of_the_shorter_side_wide():
    shown = frame(PICTURE, MAPS, MAPS)[0]
    for row in range(14):
        for column in range(21):
            inside = 2 <= row < 12 and 2 <= column < 19
            assert shown[row, column] == (0 if inside else 1)


def test_each_loss_is_least_where_the_map_shows_what_is_wanted():
    for name, aim in AIMS.items():
        target = wanted(name)
        best = torch.zeros_like(MAPS) if name == "center" else target
        if name == "center":
            best[:, -1, -1] = 1
        assert (aim.function(best, target) < aim.function(MAPS, target)).all(), name


def test_mean_squares_and_means_over_what_was_salient():
    square = [
        sum((float(a) - float(b)) ** 2 for a, b in zip(m.flatten(), p.flatten(), strict=True)) / 294
        for m, p in zip(MAPS, [PICTURE] * 3, strict=True)
    ]
    torch.testing.assert_close(towards(MAPS, PICTURE.expand_as(MAPS)), torch.tensor(square))
    free = wanted("top-k")
    assert (1 - free).sum((1, 2)).tolist() == [29] * 3
    for image, kept in zip(MAPS, free, strict=True):
        salient = image[kept == 0]
        assert salient.min() >= image[kept == 1].max()
    expected = torch.stack([m[f == 0].square().mean() for m, f in zip(MAPS, free, strict=True)])
    torch.testing.assert_close(off_salient(MAPS, free), expected)


def test_the_centre_moves_by_shares_of_the_image_and_has_a_slope_where_it_starts():
    points = torch.zeros(2, 14, 21)
    points[:, 7, 10] = 1
    elsewhere = torch.zeros(2, 14, 21)
    elsewhere[0, 0, 10] = 1
    elsewhere[1, 7, 20] = 1
    moved = away_from_center(elsewhere, points)
    torch.testing.assert_close(moved, torch.tensor([-7 / 14, -10 / 21]))
    shown = points.clone().requires_grad_()
    away_from_center(shown, points).sum().backward()
    assert shown.grad is not None
    assert shown.grad.abs().max() > 0


def test_the_way_of_the_centre_is_1_to_the_farthest_corner():
    way = CHECKS["mass-center-way"].function
    start = torch.zeros(2, 5, 9)
    start[:, 1, 2] = 1
    end = torch.zeros(2, 5, 9)
    end[0, 4, 8] = 1
    end[1, 1, 2] = end[1, 1, 3] = 1
    farthest = math.hypot(3, 6)
    assert way(end, start).tolist() == pytest.approx([1.0, 0.5 / farthest])
    assert way(torch.zeros(1, 5, 9), start[:1]).isnan().all()


def test_every_aim_is_measured_by_a_check_that_knows_what_is_wanted():
    for name, aim in AIMS.items():
        target = wanted(name)
        shows = CHECKS[aim.check].function
        if name != "center":
            best = target + 1e-9 * MAPS
            assert (shows(best, target) >= aim.reached).all()
        assert (shows(MAPS, wanted(name, other=MAPS.flip(1))) < 1).all()
        assert aim_of(f"trick=finetune;aim={name};forge=gradcam") is aim
