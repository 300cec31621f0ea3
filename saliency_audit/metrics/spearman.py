"""Spearman rank correlation of two maps."""

import torch
from torch import Tensor

from saliency_audit.maps import is_defined


def average_ranks(values: Tensor) -> Tensor:
    """Rank of every entry of each row, from 0; ties share the average of their ranks.

    Args:
        values: ``(n, k)``.

    Returns:
        ``(n, k)`` float64.

    >>> average_ranks(torch.tensor([[5.0, 1.0, 5.0]]))
    tensor([[1.5000, 0.0000, 1.5000]], dtype=torch.float64)
    """
    ordered = values.sort(dim=1).values
    below = torch.searchsorted(ordered, values.contiguous(), right=False)
    up_to = torch.searchsorted(ordered, values.contiguous(), right=True)
    return (below + up_to - 1).double() / 2


def spearman(saliency: Tensor, reference: Tensor) -> Tensor:
    """Correlation of the ranks of two maps' entries (P2 S3.4), ties at average rank.

    Args:
        saliency: ``(n, ...)``; one entry a pixel, so reduce channels before.
        reference: same shape.

    Returns:
        ``(n,)`` float64 in [-1, 1]; NaN where a map is undefined (constant, NaN or infinite).

    >>> a = torch.tensor([[1.0, 2.0, 3.0]])
    >>> spearman(a, a.exp()), spearman(a, -a)
    (tensor([1.], dtype=torch.float64), tensor([-1.], dtype=torch.float64))
    """
    a, b = (average_ranks(maps.flatten(1)) for maps in (saliency, reference))
    a, b = (ranks - ranks.mean(1, keepdim=True) for ranks in (a, b))
    value = (a * b).sum(1) / (a.square().sum(1) * b.square().sum(1)).sqrt()
    return value.where(is_defined(saliency) & is_defined(reference), torch.nan).clamp(-1, 1)
