"""Images whose most or least salient pixels are replaced, and the pattern that they leave."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from saliency_audit.maps import is_defined, magnitude
from saliency_audit.seeding import random_numbers

Side = Literal["top", "bottom"]
Unit = Literal["pixel", "value"]


@dataclass(frozen=True)
class Replacement:
    """What of each image is replaced.

    Attributes:
        saliency: method whose maps order the pixels; empty where nothing is replaced.
        share: of the pixels that are replaced, in [0, 1].
        side: whether the most salient go, or the least.
        unit: what is ordered and replaced: pixels in all their channels, or single values.
        mask: show which were replaced, 1 there and 0 elsewhere, in place of the image.
    """

    saliency: str = ""
    share: float = 0.0
    side: Side = "top"
    unit: Unit = "pixel"
    mask: bool = False


def ranking(saliency: Tensor, draws: Sequence[torch.Generator], *, unit: Unit = "pixel") -> Tensor:
    """The place of each pixel in the order of a map, the most salient first.

    Equal ones are in an order drawn for the image, and so are all of a map that is not finite or
    the same everywhere. (P3 adds noise below 1e-8 instead, which also orders pixels that differ
    by less.)

    Args:
        saliency: ``(n, c, h, w)``, signed; magnitudes are ordered.
        draws: one generator per image, on the CPU.
        unit: "pixel" orders the mean magnitude over the channels, "value" every one.

    Returns:
        ``(n, h * w)``, or ``(n, c * h * w)`` for values: int32 from 0, on the CPU.

    >>> ranking(torch.tensor([[[[1.0, -5.0, 3.0]]]]), [torch.Generator()])
    tensor([[2, 0, 1]], dtype=torch.int32)
    """
    shown = (magnitude(saliency) if unit == "pixel" else saliency.abs()).flatten(1).cpu()
    shown = torch.where(is_defined(shown).unsqueeze(1), shown, 0.0)
    order = random_numbers(torch.rand, shown.shape, draws).argsort(1)
    first = shown.gather(1, order).sort(dim=1, descending=True, stable=True).indices
    places = torch.arange(shown.shape[1], dtype=torch.int32).expand_as(first)
    return torch.empty_like(places).scatter_(1, order.gather(1, first), places)


def replaced(images: Tensor, ranks: Tensor, replacement: Replacement, fill: Tensor) -> Tensor:
    """The images, or the masks, that a network is trained on.

    Args:
        images: ``(n, c, h, w)``.
        ranks: of `ranking`, with the unit of the replacement.
        replacement: of which round(share * count) pixels are replaced.
        fill: ``(c,)``, what they get.

    Returns:
        ``(n, c, h, w)``.
    """
    n, c, h, w = images.shape
    total = ranks.shape[1]
    count = round(replacement.share * total)
    gone = ranks < count if replacement.side == "top" else ranks >= total - count
    gone = gone.view(n, c if replacement.unit == "value" else 1, h, w).to(images.device)
    if replacement.mask:
        return gone.expand_as(images).to(images.dtype)
    return torch.where(gone, fill.to(images).view(1, -1, 1, 1), images)
