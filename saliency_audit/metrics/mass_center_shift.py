"""How far a map's centre of mass has moved."""

import torch
from torch import Tensor

from saliency_audit.maps import is_defined, mass_center


def mass_center_shift(saliency: Tensor, reference: Tensor) -> Tensor:
    """Distance of the centres of mass of two maps, in pixels (Ghorbani et al. 2019).

    Args:
        saliency: ``(n, h, w)``, >= 0.
        reference: same shape, >= 0.

    Returns:
        ``(n,)`` float64, from 0 to the diagonal; NaN where a map is undefined (constant, NaN or
        infinite).

    >>> mass_center_shift(torch.tensor([[[0.0, 1.0]]]), torch.tensor([[[1.0, 0.0]]]))
    tensor([1.], dtype=torch.float64)
    """
    value: Tensor = (mass_center(saliency.double()) - mass_center(reference.double())).norm(dim=1)
    return value.where(is_defined(saliency) & is_defined(reference), torch.nan)
