"""What is done to a saliency map before two of them are compared or one is shown."""

from torch import Tensor


def magnitude(saliency: Tensor) -> Tensor:
    """Absolute value, averaged over channels: the picture people look at.

    Args:
        saliency: ``(n, c, h, w)``, signed.

    Returns:
        ``(n, h, w)``, >= 0.

    >>> import torch
    >>> magnitude(torch.tensor([[[[-3.0]], [[1.0]]]]))
    tensor([[[2.]]])
    """
    return saliency.abs().mean(1)


def is_defined(saliency: Tensor) -> Tensor:
    """Whether each map says anything: finite and not the same everywhere.

    A constant map ranks no pixel above another, so no number derived from it would mean anything.

    Args:
        saliency: ``(n, ...)``.

    Returns:
        ``(n,)`` bool.

    >>> import torch
    >>> is_defined(torch.tensor([[0.0, 1.0], [2.0, 2.0], [torch.nan, 1.0]]))
    tensor([ True, False, False])
    """
    flat = saliency.flatten(1)
    return flat.isfinite().all(1) & (flat.amax(1) > flat.amin(1))
