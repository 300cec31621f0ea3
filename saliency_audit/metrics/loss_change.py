"""How far the loss moved."""

from torch import Tensor


def loss_change(loss: Tensor, reference: Tensor) -> Tensor:
    """Absolute change of each image's loss.

    Args:
        loss: ``(n,)``, in nats.
        reference: ``(n,)``.

    Returns:
        ``(n,)`` float64, >= 0, in nats.

    >>> import torch
    >>> loss_change(torch.tensor([1.0]), torch.tensor([1.5]))
    tensor([0.5000], dtype=torch.float64)
    """
    return (loss.double() - reference.double()).abs()
