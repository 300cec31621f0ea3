"""Goal: take the map's mass out of its most salient pixels (Ghorbani et al. 2019; P2 S2.2)."""

from torch import Tensor

from saliency_audit.maps import top_pixels


def topk(saliency: Tensor, reference: Tensor, *, k: int, seed: int = 0) -> Tensor:
    r"""Mass that is left in the pixels that were most salient: :math:`\sum_{i \in B} h_i(x)`.

    Args:
        saliency: ``(n, h, w)``, adding up to 1.
        reference: the clean map, likewise; its k largest pixels are B.
        k: pixels.
        seed: of the order of tied pixels.

    Returns:
        ``(n,)`` in [0, 1], lower is more of it. Source: Ghorbani et al. 2019, algorithm 1.

    >>> import torch
    >>> topk(torch.tensor([[[0.2, 0.8]]]), torch.tensor([[[0.9, 0.1]]]), k=1)
    tensor([0.2000])
    """
    return (saliency * top_pixels(reference, k, seed=seed)).sum((1, 2))


def topk_shared(saliency: Tensor, reference: Tensor, *, k: int, seed: int = 0) -> Tensor:
    """Share of the most salient pixels that still are: what the best image is chosen by.

    Args:
        saliency: ``(n, h, w)``.
        reference: the clean map.
        k: pixels.
        seed: of the order of tied pixels.

    Returns:
        ``(n,)`` in [0, 1]; NaN where the map is not finite.
    """
    both = top_pixels(saliency, k, seed=seed) & top_pixels(reference, k, seed=seed)
    # Not finite times zero is NaN, which is never better.
    return both.sum((1, 2)) / k + 0 * saliency.sum((1, 2))
