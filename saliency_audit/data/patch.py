"""A small patch on images, at a known place: what decides, or what sets something off."""

from collections.abc import Sequence

import torch
from torch import Tensor

from saliency_audit.errors import InputError
from saliency_audit.seeding import generators


def checkerboard(channels: int, side: int) -> Tensor:
    """A pattern of black and white pixels that no photograph has by chance.

    Args:
        channels: of the images.
        side: in pixels, >= 1.

    Returns:
        ``(channels, side, side)``, 0 or 1; white at the upper left.

    >>> checkerboard(1, 3)
    tensor([[[1., 0., 1.],
             [0., 1., 0.],
             [1., 0., 1.]]])
    """
    parity = torch.arange(side)[:, None] + torch.arange(side)
    return (1 - parity % 2).float().expand(channels, -1, -1).clone()


def stripes(channels: int, side: int) -> Tensor:
    """White and black rows, a pixel high each; transposed, columns.

    Args:
        channels: of the images.
        side: in pixels, >= 1.

    Returns:
        ``(channels, side, side)``, 0 or 1; white at the top.

    >>> stripes(1, 2)
    tensor([[[1., 1.],
             [0., 0.]]])
    """
    odd = torch.arange(side) % 2
    return (1 - odd).float()[:, None].expand(channels, side, side).clone()


def corner(count: int, side: int, height: int, width: int) -> Tensor:
    """The place at the lower right of each image, a pixel off its edges where there is room.

    Args:
        count: of images.
        side: of the patch, in pixels.
        height: of the images, in pixels.
        width: likewise.

    Returns:
        ``(count, 2)``, row and column of the patch's upper left pixel.

    Raises:
        InputError: the patch does not fit on the image.
    """
    _refuse_too_large(side, height, width)
    place = [max(0, height - side - 1), max(0, width - side - 1)]
    return torch.tensor(place).expand(count, 2)


def drawn_places(names: Sequence[str], side: int, height: int, width: int, *, seed: int) -> Tensor:
    """A place for each image, drawn with the seed and its name alone, all of it on the image.

    Args:
        names: of the images.
        side: of the patch, in pixels.
        height: of the images, in pixels.
        width: likewise.
        seed: of the draws.

    Returns:
        ``(n, 2)``, row and column of the patch's upper left pixel.

    Raises:
        InputError: the patch does not fit on the image.
    """
    return places_by(generators(seed, names, "patch"), side, height, width)


def places_by(draws: Sequence[torch.Generator], side: int, height: int, width: int) -> Tensor:
    """A place for each image from its own generator, all of it on the image.

    Args:
        draws: n, one per image.
        side: of the patch, in pixels.
        height: of the images, in pixels.
        width: likewise.

    Returns:
        ``(n, 2)``, row and column of the patch's upper left pixel.

    Raises:
        InputError: the patch does not fit on the image.
    """
    _refuse_too_large(side, height, width)
    room = (height - side + 1, width - side + 1)
    return torch.tensor(
        [
            [int(torch.randint(most, (), generator=draw, device=draw.device)) for most in room]
            for draw in draws
        ]
    ).view(-1, 2)


def covered(places: Tensor, side: int, height: int, width: int) -> Tensor:
    """Which pixels the patch covers.

    Args:
        places: ``(n, 2)``, row and column of its upper left pixel.
        side: of the patch, in pixels.
        height: of the images, in pixels.
        width: likewise.

    Returns:
        ``(n, h, w)`` bool.

    >>> covered(torch.tensor([[0, 1]]), 1, 2, 2)
    tensor([[[False,  True],
             [False, False]]])
    """
    inside = [
        (line >= start[:, None]) & (line < start[:, None] + side)
        for line, start in zip(
            (torch.arange(height), torch.arange(width)), places.cpu().unbind(1), strict=True
        )
    ]
    return inside[0][:, :, None] & inside[1][:, None, :]


def with_patch(images: Tensor, pattern: Tensor, places: Tensor, *, opacity: float = 1.0) -> Tensor:
    """The images with the pattern laid on them.

    Args:
        images: ``(n, c, h, w)`` in [0, 1].
        pattern: ``(c, side, side)`` in [0, 1].
        places: ``(n, 2)``, row and column of its upper left pixel.
        opacity: 0 to 1, how much of the pattern stands in place of the image.

    Returns:
        ``(n, c, h, w)`` in [0, 1], a copy.
    """
    side = pattern.shape[-1]
    changed = images.clone()
    pattern = pattern.to(images)
    for image, (row, column) in zip(changed, places.tolist(), strict=True):
        part = image[:, row : row + side, column : column + side]
        part.lerp_(pattern, opacity)
    return changed


def _refuse_too_large(side: int, height: int, width: int) -> None:
    if not 1 <= side <= min(height, width):
        raise InputError(
            f"a patch of {side} x {side} pixels does not fit on images of {height} x {width}"
        )
