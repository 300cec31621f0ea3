"""Whether two results are the same numbers."""

from typing import NamedTuple

import torch
from torch import Tensor

ROUND_OFF = 1e-5
"""Largest difference of single-precision sums in another order, as a share of the largest entry."""


class Agreement(NamedTuple):
    """How far two results are apart.

    Attributes:
        difference: largest difference of two entries, over the largest magnitude of the peer's.
        share: of the entries, those that are further apart than round-off.
        same: whether none is.
    """

    difference: float
    share: float
    same: bool


def agreement(ours: Tensor, theirs: Tensor) -> Agreement:
    """Compare entry by entry.

    Args:
        ours: of any shape.
        theirs: of the same shape; where only one of the two is not finite they are infinitely far
            apart, where both are the same infinity, or NaN, they agree.

    Raises:
        ValueError: the shapes differ.
    """
    if ours.shape != theirs.shape:
        raise ValueError(f"shapes {tuple(ours.shape)} and {tuple(theirs.shape)} differ")
    a, b = ours.detach().double(), theirs.detach().double()
    finite = a.isfinite() & b.isfinite()
    largest = b[finite].abs().max().item() if bool(finite.any()) else 0.0
    alike = (a == b) | (a.isnan() & b.isnan())
    apart = ((a - b).abs() / (largest or 1.0)).where(finite, torch.inf).masked_fill(alike, 0)
    return Agreement(
        difference=apart.max().item(),
        share=(apart > ROUND_OFF).double().mean().item(),
        same=bool((apart <= ROUND_OFF).all()),
    )
