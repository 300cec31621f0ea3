"""Histograms of oriented gradients: where a map has edges, and which way they run."""

from math import pi

import torch
from torch import Tensor

from saliency_audit.maps import is_defined

ORIENTATIONS, BLOCK, EPS = 9, 3, 1e-5


def cell_side(height: int, width: int) -> int:
    """Side of a cell in pixels: 16 as in Adebayo et al. 2018, and at least 8 cells to a side.

    >>> cell_side(224, 224), cell_side(64, 80), cell_side(28, 28)
    (16, 8, 3)
    """
    return max(1, min(16, min(height, width) // 8))


def hog(maps: Tensor, *, cell: int) -> Tensor:
    """Histograms of oriented gradients (Dalal & Triggs 2005), as scikit-image has them.

    Nine orientations over half a turn, cells of ``cell`` pixels, blocks of 3x3 cells each in L2-Hys
    norm (L2, clipped at 0.2, L2 again). Maps are scaled to [0, 1] before, since that norm is not
    invariant to their scale.

    Args:
        maps: ``(n, h, w)``.
        cell: side of a cell; rows and columns that fill no cell are left out.

    Returns:
        ``(n, features)`` in [0, 1], in the maps' precision: blocks row by row, in each the cells,
        in each the orientations. NaN for undefined maps (constant, NaN or infinite).

    >>> hog(torch.rand(2, 224, 224), cell=16).shape
    torch.Size([2, 11664])
    """
    low, high = maps.amin((1, 2), keepdim=True), maps.amax((1, 2), keepdim=True)
    scaled = (maps - low) / (high - low)
    down, right = torch.zeros_like(scaled), torch.zeros_like(scaled)
    down[:, 1:-1] = scaled[:, 2:] - scaled[:, :-2]
    right[:, :, 1:-1] = scaled[:, :, 2:] - scaled[:, :, :-2]
    rows, columns = maps.shape[1] // cell, maps.shape[2] // cell
    whole = (slice(None), slice(rows * cell), slice(columns * cell))
    strength = torch.hypot(down, right)[whole]
    bins = (torch.atan2(down, right)[whole].remainder(pi) * (ORIENTATIONS / pi)).long()
    bins = bins.clamp(max=ORIENTATIONS - 1)
    cells = torch.stack(
        [
            strength.where(bins == k, 0.0).view(-1, rows, cell, columns, cell).mean((2, 4))
            for k in range(ORIENTATIONS)
        ],
        dim=3,
    )
    tall, wide = min(BLOCK, rows), min(BLOCK, columns)
    blocks = cells.unfold(1, tall, 1).unfold(2, wide, 1).permute(0, 1, 2, 4, 5, 3).flatten(3)
    features = _unit(_unit(blocks).clamp(max=0.2)).flatten(1)
    return features.where(is_defined(maps).unsqueeze(1), torch.nan)


def _unit(blocks: Tensor) -> Tensor:
    return blocks / (blocks.square().sum(-1, keepdim=True) + EPS**2).sqrt()
