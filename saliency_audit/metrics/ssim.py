"""Structural similarity of two maps."""

import torch
from torch import Tensor
from torch.nn import functional as F

from saliency_audit.maps import is_defined

WINDOW, SIGMA = 7, 1.5


def ssim(saliency: Tensor, reference: Tensor) -> Tensor:
    r"""Mean structural similarity (Wang et al. 2004) of the maps, each scaled to [0, 1].

    .. math:: \frac{(2 \mu_a \mu_b + C_1)(2 \sigma_{ab} + C_2)}
        {(\mu_a^2 + \mu_b^2 + C_1)(\sigma_a^2 + \sigma_b^2 + C_2)},
        \quad C_1 = 0.01^2,\ C_2 = 0.03^2

    with means, variances and covariance under a Gaussian window of side 7 and standard deviation
    1.5 (the largest odd side that fits into smaller maps), averaged over the places where the
    window fits whole.

    Args:
        saliency: ``(n, h, w)``.
        reference: same shape.

    Returns:
        ``(n,)`` float64 in [-1, 1]; NaN where a map is undefined (constant, NaN or infinite).
        Source: P2 S3.4; Adebayo et al. 2018 scale to [0, 1] as here.

    >>> a = torch.rand(1, 9, 9)
    >>> ssim(a, a)
    tensor([1.], dtype=torch.float64)
    """
    a, b = (_scaled(maps.double()) for maps in (saliency, reference))
    least = min(a.shape[1:])
    side = min(WINDOW, least if least % 2 else least - 1)
    at = torch.arange(side, dtype=a.dtype, device=a.device) - side // 2
    window = (-at.square() / (2 * SIGMA**2)).exp()
    window = torch.outer(window, window) / window.sum() ** 2
    mean_a, mean_b, square_a, square_b, product = F.conv2d(
        torch.stack([a, b, a * a, b * b, a * b]).flatten(0, 1).unsqueeze(1), window[None, None]
    ).view(5, len(a), -1)
    variances = (square_a - mean_a.square()) + (square_b - mean_b.square())
    covariance = product - mean_a * mean_b
    c1, c2 = 0.01**2, 0.03**2
    value: Tensor = (2 * mean_a * mean_b + c1) * (2 * covariance + c2)
    value = value / ((mean_a.square() + mean_b.square() + c1) * (variances + c2))
    return value.mean(1).where(is_defined(saliency) & is_defined(reference), torch.nan).clamp(-1, 1)


def _scaled(maps: Tensor) -> Tensor:
    low, high = maps.amin((1, 2), keepdim=True), maps.amax((1, 2), keepdim=True)
    return (maps - low) / (high - low)
