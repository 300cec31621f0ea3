"""How far the gradient of the loss moved."""

import torch
from torch import Tensor


def loss_gradient_change(gradient: Tensor, reference: Tensor) -> Tensor:
    r"""Relative change :math:`\|g - g'\|_2 / \|g'\|_2` of each image's loss gradient.

    Args:
        gradient: ``(n, ...)``.
        reference: same shape.

    Returns:
        ``(n,)`` float64, >= 0; 1 is a change as large as the gradient itself. NaN where the
        reference is zero.

    >>> loss_gradient_change(torch.tensor([[0.0, 2.0]]), torch.tensor([[0.0, 1.0]]))
    tensor([1.], dtype=torch.float64)
    """
    g, before = gradient.flatten(1).double(), reference.flatten(1).double()
    norm = before.norm(dim=1)
    change: Tensor = (g - before).norm(dim=1) / norm
    return change.where(norm > 0, torch.nan)
