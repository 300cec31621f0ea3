"""Euclidean distance of two images."""

import torch
from torch import Tensor


def l2_distance(images: Tensor, reference: Tensor) -> Tensor:
    r"""Length of the change of an image, :math:`\|x' - x\|_2`.

    Args:
        images: ``(n, c, h, w)``.
        reference: same shape.

    Returns:
        ``(n,)`` float64, >= 0, in the units of the images; NaN where one is not finite.

    >>> l2_distance(torch.tensor([[3.0, 0.0]]), torch.tensor([[0.0, 4.0]]))
    tensor([5.], dtype=torch.float64)
    """
    change = (images.double() - reference.double()).flatten(1)
    length: Tensor = change.norm(dim=1)
    return length.where(change.isfinite().all(1), torch.nan)
