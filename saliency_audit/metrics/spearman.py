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
    ordered, order = _sorted(values)
    at = torch.arange(values.shape[1], device=values.device).expand_as(order)
    # Where the ties of the entry begin and end.
    same = ordered[:, 1:] == ordered[:, :-1]
    first, last = at.clone(), at.clone()
    first[:, 1:].masked_fill_(same, 0)
    last[:, :-1].masked_fill_(same, values.shape[1])
    first = first.cummax(1).values
    last = last.flip(1).cummin(1).values.flip(1)
    ranks = torch.empty_like(values, dtype=torch.float64)
    return ranks.scatter_(1, order, (first + last).double() / 2)


def _sorted(values: Tensor) -> tuple[Tensor, Tensor]:
    """Rows in ascending order and where each entry was."""
    if values.dtype != torch.float32 or values.device.type != "cpu":
        ordered, order = values.sort(dim=1)
        return ordered, order
    # The bits of floats, read as integers, sort alike but for the sign; torch sorts single rows of
    # integers several times as fast. Adding 0 makes -0 equal to 0.
    bits = (values + 0.0).contiguous().view(torch.int32)
    bits = bits ^ ((bits >> 31) & 0x7FFFFFFF)
    rows = [row.sort() for row in bits]
    return torch.stack([row.values for row in rows]), torch.stack([row.indices for row in rows])


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
