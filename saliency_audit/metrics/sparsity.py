"""How unevenly a map's magnitude is spread."""

import torch
from torch import Tensor

from saliency_audit.maps import is_defined, magnitude
from saliency_audit.metrics.view import Measured, View


def gini(shown: Tensor) -> Tensor:
    r"""Gini index of each map's pixels.

    .. math:: 1 - 2 \sum_{k=1}^n \frac{v_k}{\|v\|_1} \frac{n - k + 1/2}{n},
        \quad v_1 \le \dots \le v_n

    Args:
        shown: ``(n, h, w)``, >= 0.

    Returns:
        ``(n,)`` float64 from 0 (equal pixels) to 1 - 1/n (a single pixel); NaN where the map is
        undefined. For equal pixels the formula gives 0, yet a constant map ranks no pixel above
        another and is undefined here as everywhere. Source: Hurley & Rickard 2009; P1.

    >>> gini(torch.tensor([[[0.0, 0.0, 0.0, 2.0]], [[1.0, 1.0, 1.0, 1.0]]]))
    tensor([0.7500,    nan], dtype=torch.float64)
    """
    ordered = shown.flatten(1).double().sort(dim=1).values
    n = ordered.shape[1]
    weights = (n - torch.arange(1, n + 1, device=shown.device).double() + 0.5) / n
    value = 1 - 2 * (ordered * weights).sum(1) / ordered.sum(1)
    # Round-off takes a nearly even map a hair below 0.
    return value.clamp_min(0).where(is_defined(shown), torch.nan)


def sparsity_gini(view: View) -> list[Measured]:
    """As `gini`, of the map's magnitude.

    Args:
        view: one batch of images and their maps.

    Returns:
        Values in [0, 1); neither end is better. NaN where the map is undefined or its magnitude
        is the same everywhere.
    """
    return [Measured(gini(magnitude(view.saliency.double())))]


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
