"""How unevenly a map's magnitude is spread: Hoyer's sparseness."""

import torch
from torch import Tensor

from saliency_audit.maps import is_defined, magnitude
from saliency_audit.metrics.view import Measured, View


def hoyer(shown: Tensor) -> Tensor:
    r"""Sparseness :math:`(\sqrt n - \|v\|_1 / \|v\|_2) / (\sqrt n - 1)` of each map's n pixels.

    Args:
        shown: ``(n, h, w)``, >= 0.

    Returns:
        ``(n,)`` float64 from 0 (equal pixels) to 1 (a single pixel); NaN where the map is
        undefined, and so where it is constant. Source: Hoyer 2004.

    >>> hoyer(torch.tensor([[[0.0, 0.0, 0.0, 2.0]], [[1.0, 1.0, 1.0, 1.0]]]))
    tensor([1., nan], dtype=torch.float64)
    """
    flat = shown.flatten(1).double()
    root = flat.shape[1] ** 0.5
    # A single pixel is a constant map.
    value: Tensor = (root - flat.sum(1) / flat.norm(dim=1)) / (root - 1 or torch.nan)
    return value.clamp(0, 1).where(is_defined(shown), torch.nan)


def sparsity_hoyer(view: View) -> list[Measured]:
    """As `hoyer`, of the map's magnitude.

    Args:
        view: one batch of images and their maps.

    Returns:
        Values in [0, 1]; neither end is better. NaN where the map is undefined or its magnitude
        is the same everywhere.
    """
    return [Measured(hoyer(magnitude(view.saliency.double())))]
