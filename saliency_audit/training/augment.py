"""Changes of training images that leave their class alone."""

from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from saliency_audit.seeding import random_numbers


def flip_crop(
    generators: list[torch.Generator], images: Tensor, *others: Tensor, pad: int = 4
) -> tuple[Tensor, ...]:
    """Each image moved by up to ``pad`` pixels either way, and mirrored with chance 1/2.

    What comes in at the border is 0, black: padding comes before the normalisation.

    Args:
        generators: one per image, on its device.
        images: ``(n, c, h, w)``.
        *others: what belongs to the images pixel by pixel and moves along, ``(n, c, h, w)`` or
            ``(n, h, w)``: annotations, maps.
        pad: most pixels.

    Returns:
        The images and the others, in their shapes. Source: P0 App. D, P4: pad by 4, crop, flip.
    """
    side = 2 * pad + 1
    lots = random_numbers(partial(torch.randint, 2 * side * side), images.shape[:1], generators)
    mirrored, top, left = torch.unravel_index(lots, (2, side, side))
    height, width = images.shape[-2:]
    rows = top.unsqueeze(1) + torch.arange(height, device=images.device)
    columns = left.unsqueeze(1) + torch.arange(width, device=images.device)
    columns = torch.where(mirrored.bool().unsqueeze(1), columns.flip(1), columns)

    def moved(pictures: Tensor) -> Tensor:
        n, channels = len(pictures), pictures[0].numel() // (height * width)
        padded = F.pad(pictures.reshape(n, channels, height, width), (pad,) * 4)
        picked = padded.gather(
            2, rows.view(n, 1, height, 1).expand(-1, channels, -1, width + 2 * pad)
        )
        picked = picked.gather(3, columns.view(n, 1, 1, width).expand(-1, channels, height, -1))
        return picked.view_as(pictures)

    return tuple(moved(pictures) for pictures in (images, *others))
