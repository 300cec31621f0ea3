"""What weights are trained to make a map show (Heo et al. 2019, sections 3.2 and 3.3).

Maps are magnitudes ``(n, h, w)``. A loss is of one `stretched` to [0, 1]; lower is more of the aim.
"""

import torch
from torch import Tensor

from saliency_audit.maps import magnitude, mass_center, top_pixels

FRAME = 7
"""A frame at the border takes a 7th of the shorter side."""
SALIENT = 0.1
"""Share of the pixels that are called salient."""
_NOTHING = 1e-9


def stretched(saliency: Tensor) -> Tensor:
    """Magnitude, from 0 at its smallest to 1 at its largest pixel.

    Args:
        saliency: ``(n, c, h, w)``, signed.

    Returns:
        ``(n, h, w)`` in [0, 1]; 0 where the map is the same everywhere. Differentiable.
    """
    shown = magnitude(saliency)
    low, high = shown.amin((1, 2), keepdim=True), shown.amax((1, 2), keepdim=True)
    return (shown - low) / (high - low).clamp_min(torch.finfo(shown.dtype).tiny)


def towards(shown: Tensor, wanted: Tensor) -> Tensor:
    """Mean squared difference to what is wanted, ``(n,)``."""
    return (shown - wanted).square().mean((1, 2))


def off_salient(shown: Tensor, wanted: Tensor) -> Tensor:
    """Mean square over the pixels that were salient (top-k fooling), ``(n,)``.

    Args:
        shown: the map.
        wanted: 1 where the map may be salient, 0 where it was.
    """
    was = 1 - wanted
    return (shown.square() * was).sum((1, 2)) / was.sum((1, 2)).clamp_min(1)


def away_from_center(shown: Tensor, wanted: Tensor) -> Tensor:
    """Minus the distance between the centres of mass (center-mass fooling), ``(n,)``.

    Rows and columns in shares of the image's height and width, so that a weight means the same at
    any size: the paper adds up pixels.

    Args:
        shown: the map.
        wanted: the map as it was.
    """
    size = torch.tensor(shown.shape[1:], dtype=shown.dtype, device=shown.device)
    # A map of nothing has its centre in the middle, and no NaN.
    moved = (mass_center(shown + _NOTHING) - mass_center(wanted + _NOTHING)) / size
    # Unlike abs, of a slope at 0 too, where a training starts.
    return -torch.where(moved < 0, -moved, moved).sum(1)


def frame(picture: Tensor, before: Tensor, other: Tensor) -> Tensor:
    """1 on a frame at the border, 0 inside (location fooling), ``(n, h, w)``."""
    del picture, other
    height, width = before.shape[1:]
    border = max(1, min(height, width) // FRAME)
    wanted = torch.ones_like(before)
    wanted[:, border : height - border, border : width - border] = 0
    return wanted


def the_picture(picture: Tensor, before: Tensor, other: Tensor) -> Tensor:
    """The picture, ``(n, h, w)``."""
    del other
    return picture.to(before).expand_as(before)


def other_class(picture: Tensor, before: Tensor, other: Tensor) -> Tensor:
    """The map of the second likeliest class (active fooling), ``(n, h, w)``."""
    del picture, before
    return other


def not_salient(picture: Tensor, before: Tensor, other: Tensor) -> Tensor:
    """0 on the tenth of the pixels that are most salient, 1 elsewhere, ``(n, h, w)``."""
    del picture, other
    k = max(1, round(SALIENT * before[0].numel()))
    return 1 - top_pixels(before, k).to(before)


def as_before(picture: Tensor, before: Tensor, other: Tensor) -> Tensor:
    """The map as it was, ``(n, h, w)``."""
    del picture, other
    return before
