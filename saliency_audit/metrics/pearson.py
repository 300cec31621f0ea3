"""Linear correlation of two maps."""

import torch
from torch import Tensor

from saliency_audit.maps import is_defined


def pearson(saliency: Tensor, reference: Tensor) -> Tensor:
    """Pearson correlation of two maps' entries (P2 S3.4, PCC).

    Args:
        saliency: ``(n, ...)``; one entry a pixel, so reduce channels before.
        reference: same shape.

    Returns:
        ``(n,)`` float64 in [-1, 1]; NaN where a map is undefined (constant, NaN or infinite).

    >>> a = torch.tensor([[1.0, 2.0, 4.0]])
    >>> pearson(a, 3 - a).round(decimals=6)
    tensor([-1.], dtype=torch.float64)
    """
    a, b = (maps.flatten(1).double() for maps in (saliency, reference))
    a, b = (maps - maps.mean(1, keepdim=True) for maps in (a, b))
    value = torch.nn.functional.cosine_similarity(a, b, dim=1, eps=0.0)
    return value.where(is_defined(saliency) & is_defined(reference), torch.nan).clamp(-1, 1)
