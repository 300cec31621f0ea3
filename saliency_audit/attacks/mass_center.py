"""Goal: move the map's centre of mass (Ghorbani et al. 2019)."""

import torch
from torch import Tensor


def mass_center(saliency: Tensor, reference: Tensor) -> Tensor:
    r"""Minus the squared way of the centre of mass, in pixels: :math:`-\|C(h) - C(h_0)\|^2`.

    At the clean image the derivative is zero, so the search must start with a random step.

    Args:
        saliency: ``(n, h, w)``, adding up to 1.
        reference: the clean map, likewise.

    Returns:
        ``(n,)``, <= 0, lower is more of it. Source: Ghorbani et al. 2019, algorithm 1.

    >>> mass_center(torch.tensor([[[0.0, 1.0]]]), torch.tensor([[[1.0, 0.0]]]))
    tensor([-1.])
    """
    return -(_center(saliency) - _center(reference)).square().sum(1)


def _center(saliency: Tensor) -> Tensor:
    rows = torch.arange(saliency.shape[1], dtype=saliency.dtype, device=saliency.device)
    columns = torch.arange(saliency.shape[2], dtype=saliency.dtype, device=saliency.device)
    return torch.stack([(saliency.sum(2) * rows).sum(1), (saliency.sum(1) * columns).sum(1)], dim=1)
