"""Drawn images: the masks against what is bright, against areas, and against distances."""

from itertools import pairwise
from math import cos, pi, sin

import numpy as np
import pytest
import torch

from saliency_audit.data import open_data, own_annotations
from saliency_audit.data.dataset import at, swapped
from saliency_audit.data.hierarchy import _WAVE, BACKGROUNDS, SHAPES, THICKNESS, scene
from saliency_audit.errors import InputError

LABELS = {name: label for label, name in enumerate(SHAPES)}
TURNS = {  # corners of the middle lines of tails
    "straight tail": [(-1, 0), (1, 0)],
    "bent tail": [(-0.8, 0.6), (-0.8, -0.6), (0.8, -0.6)],
    "forked tail": [(0, -1), (0, 0), (0.7, 0.7), (0, 0), (-0.7, 0.7)],
    "wavy tail": _WAVE,
}
CORNER = THICKNESS**2 * (pi / 4 - 1)
"""What a right angle adds to the area of a thick line: a quarter disc outside less a square."""
AREAS = {
    "disc": pi,
    "ring": pi * (1 - 0.6**2),
    "half disc": pi / 2,
    "square": 1.6**2,
    "frame": 1.6**2 - 0.9**2,
    "bar": 2 * 0.8,
    "straight tail": 2 * 2 * THICKNESS + pi * THICKNESS**2,
    "bent tail": 2.8 * 2 * THICKNESS + pi * THICKNESS**2 + CORNER,
}


@pytest.mark.parametrize("shape", [(3, 64, 64), (1, 28, 28), (3, 32, 48), (1, 16, 16)])
def test_masks_are_exactly_what_is_drawn(shape):
    data = open_data("synthetic:hierarchy:images=120", input_shape=shape, outputs=10)
    for place in range(len(data)):
        image, mask = data[place].image, data.marks(place)
        assert mask.shape == shape[1:]
        assert torch.equal(image.amin(0) > 0.7, mask == 1)
        assert mask.sum() >= 3
        # One colour on the shape; nothing behind it is as bright.
        assert (image[:, mask == 1].std(1) < 1e-6).all()
        assert image[:, mask == 0].max() < 0.7


@pytest.mark.parametrize("name", AREAS)
def test_masks_have_the_areas_of_the_shapes(name):
    one = scene(LABELS[name] + 30, seed=1, split="test")
    area = one.mask(600, 600).mean() / one.radius**2
    assert area == pytest.approx(AREAS[name], rel=0.01)


@pytest.mark.parametrize("name", TURNS)
def test_tails_are_what_lies_near_a_line_of_many_points(name):
    """Pixel by pixel: turned back by hand, the distance to 300 points on each part."""
    one = scene(LABELS[name] + 10, seed=2, split="train")
    side = 28
    mask = one.mask(side, side)
    share = np.linspace(0, 1, 300)[:, None]
    corners = np.array(TURNS[name], float)
    line = np.concatenate([a + share * (b - a) for a, b in pairwise(corners)])
    reach = 1.2 * one.radius
    centre = [reach + place * (1 - 2 * reach) for place in one.centre]
    turned = np.array([[cos(one.angle), -sin(one.angle)], [sin(one.angle), cos(one.angle)]])
    line = centre + one.radius * line @ turned.T
    for row in range(side):
        for column in range(side):
            pixel = np.array([column + 0.5, row + 0.5]) / side
            distance = np.linalg.norm(line - pixel, axis=1).min() / one.radius
            if abs(distance - THICKNESS) > 1e-3:
                assert mask[row, column] == (distance < THICKNESS)


@pytest.mark.parametrize("shape", [(200, 200), (90, 130), (130, 90)])
def test_shapes_lie_inside_the_image(shape):
    for place in range(100):
        mask = scene(place, seed=0, split="train").mask(*shape)
        assert not mask[[0, -1]].any()
        assert not mask[:, [0, -1]].any()


def test_every_class_has_every_background_and_none_tells_the_class():
    scenes = [scene(place, seed=0, split="train") for place in range(3000)]
    counts = np.zeros((10, len(BACKGROUNDS)))
    for one in scenes:
        counts[one.label, one.background] += 1
    assert (counts.sum(1) == 300).all()
    # 100 are expected of each, with a standard deviation of 8.2.
    assert abs(counts - 100).max() < 33


def test_a_size_changes_the_resolution_and_not_the_scene():
    small, large = (scene(17, seed=4, split="test").mask(side, side) for side in (40, 160))
    assert abs(small - large.reshape(40, 4, 40, 4).mean((1, 3)) > 0.5).sum() <= 2
    grey, colour = (
        open_data("synthetic:hierarchy", input_shape=(c, 24, 24))[17].image for c in (1, 3)
    )
    torch.testing.assert_close(grey, colour.mean(0, keepdim=True), rtol=0, atol=1 / 255)


def test_images_are_of_whole_levels():
    image = open_data("synthetic:hierarchy", input_shape=(3, 32, 32))[4].image * 255
    torch.testing.assert_close(image, image.round(), rtol=0, atol=1e-4)


def test_annotations_follow_their_images_through_choices():
    data = open_data("synthetic:hierarchy:images=50", input_shape=(1, 20, 20), max_samples=9)
    chosen = at(data, [7, 2])
    marked = own_annotations(chosen).read([*chosen.names, "elsewhere"])
    for name, mask in zip(chosen.names, marked[:2], strict=True):
        expected = scene(int(name.removeprefix("test/")), seed=0, split="test").mask(20, 20)
        assert torch.equal(mask == 1, torch.from_numpy(expected))
    assert marked[2].isnan().all()
    assert swapped(data, chosen, 0.3, 0).marks is None


def test_what_is_too_small_to_draw_on_is_refused():
    with pytest.raises(InputError, match=r"at least 16x16, but the model takes 1x8x8"):
        open_data("synthetic:hierarchy", input_shape=(1, 8, 8))
    with pytest.raises(InputError, match=r"test/00009 has label 9 but the model has 9 outputs"):
        open_data("synthetic:hierarchy", input_shape=(1, 28, 28), outputs=9)
