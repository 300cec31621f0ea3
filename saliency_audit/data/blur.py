"""Images under a Gaussian."""

from math import exp

from torch import Tensor
from torch.nn import functional as F


def blur(images: Tensor, *, half: int, sigma: float) -> Tensor:
    """Images under a Gaussian; beyond the border the outermost pixels go on.

    Args:
        images: ``(n, c, h, w)``.
        half: pixels of its window on each side of the middle.
        sigma: standard deviation, pixels.

    Returns:
        The same shape.

    >>> import torch
    >>> blur(torch.ones(1, 1, 2, 5), half=1, sigma=1.4).sum().round()
    tensor(10.)
    """
    weights = images.new_tensor([exp(-(at**2) / (2 * sigma**2)) for at in range(-half, half + 1)])
    weights /= weights.sum()
    rows = F.pad(images.flatten(0, 1).unsqueeze(1), (half, half, half, half), mode="replicate")
    rows = F.conv2d(rows, weights.view(1, 1, -1, 1))
    return F.conv2d(rows, weights.view(1, 1, 1, -1)).view_as(images)
