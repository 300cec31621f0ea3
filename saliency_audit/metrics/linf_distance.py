"""Largest change of any value of an image."""

import torch
from torch import Tensor


def linf_distance(images: Tensor, reference: Tensor) -> Tensor:
    r"""Largest change of a value, :math:`\|x' - x\|_\infty`.

    Args:
        images: ``(n, c, h, w)``.
        reference: same shape.

    Returns:
        ``(n,)`` float64, >= 0, in the units of the images; NaN where one is not finite.

    >>> linf_distance(torch.tensor([[3.0, 0.0]]), torch.tensor([[0.0, 4.0]]))
    tensor([4.], dtype=torch.float64)
    """
    change = (images.double() - reference.double()).flatten(1)
    return change.abs().amax(1).where(change.isfinite().all(1), torch.nan)
