"""Cosine of the angle between two maps."""

import torch
from torch import Tensor

from saliency_audit.maps import is_defined


def cosine(saliency: Tensor, reference: Tensor) -> Tensor:
    r"""Cosine similarity :math:`\langle a, b\rangle / (\|a\|_2 \|b\|_2)` of each pair of maps.

    Computed in double precision, so that equal maps give 1 to within 1e-15 whatever their scale.

    Args:
        saliency: ``(n, ...)``.
        reference: same shape.

    Returns:
        ``(n,)`` float64 in [-1, 1]; NaN where a map is undefined (constant, NaN or infinite).

    >>> cosine(torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]]))
    tensor([0.], dtype=torch.float64)
    """
    a, b = saliency.flatten(1).double(), reference.flatten(1).double()
    value = torch.nn.functional.cosine_similarity(a, b, dim=1, eps=0.0)
    return value.where(is_defined(saliency) & is_defined(reference), torch.nan)
