"""Flips and crops against a loop over the pixels."""

import torch

from saliency_audit.seeding import generators
from saliency_audit.training.augment import flip_crop

NAMES = [str(i) for i in range(40)]


def draws(names=NAMES):
    return generators(0, names, "augment")


def literal(picture, draw, pad):
    """One channel, pixel by pixel, with the same draw."""
    side = 2 * pad + 1
    number = int(torch.randint(2 * side * side, (1,), generator=draw))
    mirrored, top, left = number // side**2, number // side % side, number % side
    height, width = picture.shape
    moved = torch.zeros_like(picture)
    for i in range(height):
        for j in range(width):
            row = i + top - pad
            column = (width - 1 - j if mirrored else j) + left - pad
            if 0 <= row < height and 0 <= column < width:
                moved[i, j] = picture[row, column]
    return moved


def test_every_pixel_comes_from_where_a_loop_finds_it():
    images = torch.rand(40, 2, 6, 9)
    (found,) = flip_crop(draws(), images, pad=2)
    for k in range(40):
        for channel in range(2):
            expected = literal(images[k, channel], draws()[k], 2)
            assert torch.equal(found[k, channel], expected)


def test_what_belongs_to_an_image_moves_with_it():
    images = torch.rand(40, 3, 8, 8)
    marks, goals = images[:, 1], images * 5
    found, moved_marks, moved_goals = flip_crop(draws(), images, marks, goals)
    assert not torch.equal(found, images)
    assert torch.equal(moved_marks, found[:, 1])
    assert torch.equal(moved_goals, found * 5)
    assert moved_marks.shape == marks.shape
    assert moved_goals.shape == goals.shape


def test_an_image_moves_the_same_in_any_batch():
    images = torch.rand(40, 1, 8, 8)
    (whole,) = flip_crop(draws(), images)
    for k in range(40):
        (alone,) = flip_crop(draws([NAMES[k]]), images[k : k + 1])
        assert torch.equal(alone[0], whole[k])


def test_without_padding_images_are_mirrored_or_left():
    images = torch.rand(40, 1, 5, 7)
    (found,) = flip_crop(draws(), images, pad=0)
    kept = (found == images).flatten(1).all(1)
    mirrored = (found == images.flip(3)).flatten(1).all(1)
    assert (kept ^ mirrored).all()
    assert 5 < int(kept.sum()) < 35


def test_all_moves_happen_and_all_as_often():
    images = torch.zeros(4000, 1, 5, 5)
    images[:, :, 2, 1] = 1
    (found,) = flip_crop(generators(0, [str(i) for i in range(4000)], "augment"), images, pad=1)
    # Mirrored or not, and one of nine moves: column 1 goes to 0-2, mirrored to 2-4.
    share = found.mean(0)[0]
    expected = torch.zeros(5, 5)
    expected[1:4] = torch.tensor([1.0, 1.0, 2.0, 1.0, 1.0]) / 18
    torch.testing.assert_close(share, expected, atol=0.02, rtol=0)


def test_images_keep_their_type_and_those_given_stay_as_they_are():
    images = torch.rand(3, 1, 8, 8).double()
    before = images.clone()
    (found,) = flip_crop(draws(NAMES[:3]), images)
    assert found.dtype == torch.float64
    assert torch.equal(images, before)
