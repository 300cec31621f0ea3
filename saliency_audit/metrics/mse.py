"""Mean squared difference of two maps."""

import torch
from torch import Tensor

from saliency_audit.maps import is_defined


def mse(saliency: Tensor, reference: Tensor) -> Tensor:
    """Mean squared difference of two maps, each scaled to add up to 1 (Dombrowski; P2 S3.4).

    Args:
        saliency: ``(n, h, w)``, >= 0.
        reference: same shape, >= 0.

    Returns:
        ``(n,)`` float64, >= 0, of the order of one over the squared number of pixels; NaN where a
        map is undefined (constant, NaN or infinite).

    >>> mse(torch.tensor([[[0.0, 2.0]]]), torch.tensor([[[5.0, 0.0]]]))
    tensor([1.], dtype=torch.float64)
    """
    a, b = (maps.double() for maps in (saliency, reference))
    a, b = (maps / maps.sum((1, 2), keepdim=True) for maps in (a, b))
    value = (a - b).square().mean((1, 2))
    return value.where(is_defined(saliency) & is_defined(reference), torch.nan)
