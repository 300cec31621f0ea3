"""Goal: make the map look like another one (Dombrowski et al. 2019; P2 S2.2)."""

from torch import Tensor

MAP_WEIGHT = 1e11 / (224 * 224) ** 2
"""The paper's 1e11 at 224 pixels a side, for maps whose mean is 1 instead of their sum."""

PREDICTION_WEIGHT = 1e6 / 1000
"""The paper's 1e6 at 1,000 classes, for the sum over classes instead of their mean."""


def structured(saliency: Tensor, reference: Tensor) -> Tensor:
    r"""Weighted distance from the wanted map: :math:`\gamma_1 \frac1n \sum_i (h_i - h^*_i)^2`.

    The paper's :math:`\gamma_1 = 10^{11}` belongs to :math:`n = 224^2` pixels. Squares of maps that
    add up to 1 shrink with :math:`n^{-2}`, so :math:`\gamma_1 = 10^{11} (n / 224^2)^2` keeps the
    balance with the prediction's term at any size.

    Args:
        saliency: ``(n, h, w)``, adding up to 1.
        reference: the wanted map, likewise.

    Returns:
        ``(n,)``, >= 0, lower is more of it. Source: Dombrowski et al. 2019, equation 4.

    >>> import torch
    >>> wanted = torch.full((1, 224, 224), 224.0 ** -2)
    >>> round(float(structured(wanted + 1e-6, wanted)), 3)  # 1e11 * (1e-6)**2
    0.1
    """
    pixels = saliency[0].numel()
    return MAP_WEIGHT * (pixels * (saliency - reference)).square().mean((1, 2))


def prediction_change(probabilities: Tensor, reference: Tensor) -> Tensor:
    r"""Weighted distance of the predictions: :math:`\gamma_2 \frac1C \sum_j (p_j - p^0_j)^2`.

    Args:
        probabilities: ``(n, classes)``.
        reference: of the clean image.

    Returns:
        ``(n,)``, >= 0, with :math:`\gamma_2 = 10^6 C / 1000`.
    """
    return PREDICTION_WEIGHT * (probabilities - reference).square().sum(1)
