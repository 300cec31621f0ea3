"""What is done to a saliency map before two of them are compared or one is shown."""

import torch
from torch import Tensor


def magnitude(saliency: Tensor) -> Tensor:
    """Absolute value, averaged over channels: the picture people look at.

    Args:
        saliency: ``(n, c, h, w)``, signed.

    Returns:
        ``(n, h, w)``, >= 0.

    >>> magnitude(torch.tensor([[[[-3.0]], [[1.0]]]]))
    tensor([[[2.]]])
    """
    return saliency.abs().mean(1)


def unit_sum(saliency: Tensor) -> Tensor:
    """Magnitude, scaled to add up to 1 over the image (P2's and Dombrowski's maps).

    Args:
        saliency: ``(n, c, h, w)``, signed.

    Returns:
        ``(n, h, w)``, >= 0; all zero where the map is. Differentiable.

    >>> unit_sum(torch.tensor([[[[-3.0, 1.0]]]]))
    tensor([[[0.7500, 0.2500]]])
    """
    shown = magnitude(saliency)
    return shown / shown.sum((1, 2), keepdim=True).clamp_min(torch.finfo(shown.dtype).tiny)


def mass_center(shown: Tensor) -> Tensor:
    """Row and column of the centre of mass, in pixels from the centre of the first one.

    Args:
        shown: ``(n, h, w)``, >= 0.

    Returns:
        ``(n, 2)``, differentiable; NaN where the map is all zero.

    >>> mass_center(torch.tensor([[[0.0, 1.0, 1.0]]]))
    tensor([[0.0000, 1.5000]])
    """
    rows = torch.arange(shown.shape[1], dtype=shown.dtype, device=shown.device)
    columns = torch.arange(shown.shape[2], dtype=shown.dtype, device=shown.device)
    centre = [(shown.sum(2) * rows).sum(1), (shown.sum(1) * columns).sum(1)]
    return torch.stack(centre, dim=1) / shown.sum((1, 2)).unsqueeze(1)


def top_pixels(shown: Tensor, k: int, *, seed: int = 0) -> Tensor:
    """The k largest pixels of each map; ties go to pixels in an order drawn from the seed.

    The order is the same for every map: equal maps have equal top pixels, however many are tied.

    Args:
        shown: ``(n, h, w)``.
        k: pixels, at most h * w.
        seed: of the order.

    Returns:
        ``(n, h, w)`` bool, k of them true in each map.

    >>> top_pixels(torch.tensor([[[1.0, 5.0, 3.0]]]), 2)
    tensor([[[False,  True,  True]]])
    """
    flat = shown.flatten(1)
    order = torch.randperm(flat.shape[1], generator=torch.Generator().manual_seed(seed))
    order = order.to(flat.device)
    first = flat[:, order].sort(dim=1, descending=True, stable=True).indices[:, :k]
    chosen = torch.zeros_like(flat, dtype=torch.bool).scatter_(1, order[first], True)
    return chosen.view_as(shown)


def is_defined(saliency: Tensor) -> Tensor:
    """Whether each map says anything: finite and not the same everywhere.

    A constant map ranks no pixel above another, so no number derived from it would mean anything.

    Args:
        saliency: ``(n, ...)``.

    Returns:
        ``(n,)`` bool.

    >>> is_defined(torch.tensor([[0.0, 1.0], [2.0, 2.0], [torch.nan, 1.0]]))
    tensor([ True, False, False])
    """
    flat = saliency.flatten(1)
    return flat.isfinite().all(1) & (flat.amax(1) > flat.amin(1))


def faults(saliency: Tensor) -> list[str]:
    """Why each map says nothing: "NaN", "zero" or "constant"; empty where `is_defined`.

    Args:
        saliency: ``(n, ...)``.

    >>> faults(torch.tensor([[0.0, 1.0], [2.0, 2.0], [torch.inf, 1.0], [0.0, 0.0]]))
    ['', 'constant', 'NaN', 'zero']
    """
    flat = saliency.flatten(1)
    finite, zero = flat.isfinite().all(1).tolist(), flat.eq(0).all(1).tolist()
    return [
        "" if defined else "zero" if nothing else "constant" if known else "NaN"
        for defined, known, nothing in zip(is_defined(saliency).tolist(), finite, zero, strict=True)
    ]
