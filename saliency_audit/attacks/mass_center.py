"""Goal: move the map's centre of mass (Ghorbani et al. 2019)."""

from torch import Tensor

from saliency_audit.maps import mass_center as centre_of


def mass_center(saliency: Tensor, reference: Tensor) -> Tensor:
    r"""Minus the squared way of the centre of mass, in pixels: :math:`-\|C(h) - C(h_0)\|^2`.

    At the clean image the derivative is zero, so the search must start with a random step.

    Args:
        saliency: ``(n, h, w)``, adding up to 1.
        reference: the clean map, likewise.

    Returns:
        ``(n,)``, <= 0, lower is more of it. Source: Ghorbani et al. 2019, algorithm 1.

    >>> import torch
    >>> mass_center(torch.tensor([[[0.0, 1.0]]]), torch.tensor([[[1.0, 0.0]]]))
    tensor([-1.])
    """
    return -(centre_of(saliency) - centre_of(reference)).square().sum(1)
