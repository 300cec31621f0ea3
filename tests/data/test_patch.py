"""A patch on an image: where it is, and that nothing else changes."""

import pytest
import torch

from saliency_audit.data.patch import checkerboard, corner, covered, drawn_places, with_patch
from saliency_audit.errors import InputError


def test_only_covered_pixels_change_and_become_the_pattern():
    images = torch.rand(5, 3, 12, 9) * 0.8 + 0.1
    places = drawn_places(["a", "b", "c", "d", "e"], 4, 12, 9, seed=0)
    pattern = checkerboard(3, 4)
    patched = with_patch(images, pattern, places)
    inside = covered(places, 4, 12, 9)
    assert torch.equal((patched != images).all(1), inside)
    assert inside.sum((1, 2)).tolist() == [16] * 5
    for image, (row, column) in zip(patched, places.tolist(), strict=True):
        assert torch.equal(image[:, row : row + 4, column : column + 4], pattern)


def test_opacity_mixes_pattern_and_image():
    images = torch.full((1, 1, 6, 6), 0.5)
    patched = with_patch(images, checkerboard(1, 2), torch.tensor([[3, 1]]), opacity=0.2)
    assert patched[0, 0, 3:5, 1:3].flatten().tolist() == pytest.approx([0.6, 0.4, 0.4, 0.6])
    assert float(images.max()) == 0.5


def test_a_place_depends_on_the_image_and_the_seed_alone():
    together = drawn_places(["a", "b", "c"], 3, 28, 28, seed=4)
    assert torch.equal(drawn_places(["c", "a"], 3, 28, 28, seed=4), together[[2, 0]])
    assert not torch.equal(drawn_places(["a", "b", "c"], 3, 28, 28, seed=5), together)


def test_all_places_are_drawn_and_none_beside_the_image():
    places = drawn_places([str(i) for i in range(400)], 2, 4, 5, seed=0)
    found = {tuple(place) for place in places.tolist()}
    assert found == {(row, column) for row in range(3) for column in range(4)}


def test_the_corner_is_a_pixel_off_the_edges_where_there_is_room():
    assert corner(2, 3, 28, 20).tolist() == [[24, 16]] * 2
    assert corner(1, 5, 5, 5).tolist() == [[0, 0]]


def test_a_patch_larger_than_the_image_is_refused():
    with pytest.raises(InputError, match="29 x 29 pixels does not fit on images of 28 x 30"):
        drawn_places(["a"], 29, 28, 30, seed=0)
