"""Structural similarity of two maps."""

from math import exp

from torch import Tensor, nan

from saliency_audit.errors import InputError
from saliency_audit.maps import is_defined

WINDOW, SIGMA = 7, 1.5


def ssim(
    saliency: Tensor, reference: Tensor, *, window: int = WINDOW, data_range: float = 1.0
) -> Tensor:
    r"""Mean structural similarity (Wang et al. 2004) of the maps, each scaled to its own range.

    .. math:: \frac{(2 \mu_a \mu_b + C_1)(2 \sigma_{ab} + C_2)}
        {(\mu_a^2 + \mu_b^2 + C_1)(\sigma_a^2 + \sigma_b^2 + C_2)},
        \quad C_1 = (0.01 L)^2,\ C_2 = (0.03 L)^2

    with means, variances and covariance under a Gaussian window of standard deviation 1.5,
    averaged over the places where the window fits whole. L is the range.

    Args:
        saliency: ``(n, h, w)``.
        reference: same shape.
        window: side of the window, odd; smaller maps take the largest odd side that fits.
        data_range: 1 scales each map to [0, 1], 2 to [-1, 1] as the authors of the sanity checks
            do (Adebayo et al. 2018, with a window of 5).

    Returns:
        ``(n,)`` float64 in [-1, 1]; NaN where a map is undefined (constant, NaN or infinite).
        Source: P2 S3.4.

    Raises:
        InputError: the window is even or below 3, or the range is neither 1 nor 2.

    >>> import torch
    >>> a = torch.rand(1, 9, 9)
    >>> ssim(a, a)
    tensor([1.], dtype=torch.float64)
    """
    refuse_ssim(window, data_range)
    a, b = (_scaled(maps.double(), data_range) for maps in (saliency, reference))
    least = min(a.shape[1:])
    side = min(window, least if least % 2 else least - 1)
    weights = [exp(-((i - side // 2) ** 2) / (2 * SIGMA**2)) for i in range(side)]
    mean_a, mean_b, squares, product = (
        _averaged(_averaged(maps, weights, 1), weights, 2) for maps in (a, b, a * a + b * b, a * b)
    )
    squares_of_means, product_of_means = mean_a.square() + mean_b.square(), mean_a * mean_b
    variances, covariance = squares - squares_of_means, product - product_of_means
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    value: Tensor = (2 * product_of_means + c1) * (2 * covariance + c2)
    value = value / ((squares_of_means + c1) * (variances + c2))
    value = value.mean((1, 2))
    return value.where(is_defined(saliency) & is_defined(reference), nan).clamp(-1, 1)


def refuse_ssim(window: int, data_range: float) -> None:
    """Refuse options that mean nothing.

    Raises:
        InputError: the window is even or below 3, or the range is neither 1 nor 2.
    """
    if window < 3 or window % 2 == 0:
        raise InputError(option="ssim_window", value=window, fix="give an odd number from 3 on")
    if data_range not in (1, 2):
        raise InputError(
            option="ssim_range", value=data_range, fix="give 1 for maps in [0, 1], 2 for [-1, 1]"
        )


def _scaled(maps: Tensor, data_range: float) -> Tensor:
    low, high = maps.amin((1, 2), keepdim=True), maps.amax((1, 2), keepdim=True)
    return 1 - (high - maps) / (high - low) * data_range


def _averaged(maps: Tensor, weights: list[float], axis: int) -> Tensor:
    """Weighted mean of neighbours along one axis; several times as fast as a convolution."""
    size, total = maps.shape[axis] - len(weights) + 1, sum(weights)
    mean = maps.narrow(axis, 0, size) * (weights[0] / total)
    for i, weight in enumerate(weights[1:], start=1):
        mean.add_(maps.narrow(axis, i, size), alpha=weight / total)
    return mean
