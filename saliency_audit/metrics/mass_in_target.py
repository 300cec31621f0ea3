"""Share of a map's mass inside a wanted region."""

import torch
from torch import Tensor

from saliency_audit.maps import is_defined


def mass_in_target(saliency: Tensor, region: Tensor) -> Tensor:
    """Share of the map's mass that lies in a region (the targeted attack of Ghorbani et al. 2019).

    Args:
        saliency: ``(n, h, w)``, >= 0.
        region: ``(n, h, w)`` in [0, 1], 1 inside and 0 outside; may be constant.

    Returns:
        ``(n,)`` float64 in [0, 1]; NaN where the map is undefined (constant, NaN or infinite) or
        the region is not finite.

    >>> mass_in_target(torch.tensor([[[3.0, 1.0]]]), torch.tensor([[[0.0, 1.0]]]))
    tensor([0.2500], dtype=torch.float64)
    """
    mass = saliency.double()
    value = (mass * region).sum((1, 2)) / mass.sum((1, 2))
    return value.where(is_defined(saliency) & region.isfinite().all((1, 2)), torch.nan)
