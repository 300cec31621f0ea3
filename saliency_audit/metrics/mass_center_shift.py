"""How far a map's centre of mass has moved."""

import torch
from torch import Tensor

from saliency_audit.maps import is_defined


def mass_center(shown: Tensor) -> Tensor:
    """Row and column of the centre of mass, in pixels from the centre of the first one.

    Args:
        shown: ``(n, h, w)``, >= 0.

    Returns:
        ``(n, 2)`` float64.

    >>> mass_center(torch.tensor([[[0.0, 1.0, 1.0]]]))
    tensor([[0.0000, 1.5000]], dtype=torch.float64)
    """
    mass = shown.double()
    rows = torch.arange(mass.shape[1], dtype=mass.dtype, device=mass.device)
    columns = torch.arange(mass.shape[2], dtype=mass.dtype, device=mass.device)
    centre = [(mass.sum(2) * rows).sum(1), (mass.sum(1) * columns).sum(1)]
    return torch.stack(centre, dim=1) / mass.sum((1, 2)).unsqueeze(1)


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
    value: Tensor = (mass_center(saliency) - mass_center(reference)).norm(dim=1)
    return value.where(is_defined(saliency) & is_defined(reference), torch.nan)
