"""Goal: bring the map's mass into a region (Ghorbani et al. 2019)."""

from torch import Tensor


def target_region(saliency: Tensor, reference: Tensor) -> Tensor:
    r"""Minus the mass inside the region: :math:`-\sum_{i \in A} h_i(x)`.

    Args:
        saliency: ``(n, h, w)``, adding up to 1.
        reference: the region, 1 inside and 0 outside.

    Returns:
        ``(n,)`` in [-1, 0], lower is more of it. Source: Ghorbani et al. 2019, algorithm 1.

    >>> import torch
    >>> target_region(torch.tensor([[[0.2, 0.8]]]), torch.tensor([[[0.0, 1.0]]]))
    tensor([-0.8000])
    """
    return -(saliency * reference).sum((1, 2))
