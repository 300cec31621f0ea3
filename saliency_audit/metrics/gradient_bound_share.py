"""How much of the paper's bound a change of the loss gradient uses."""

from torch import Tensor


def gradient_bound_share(gradient: Tensor, reference: Tensor, *, bound: float) -> Tensor:
    r"""L1 norm of the change of each image's loss gradient over its bound.

    The bound is :math:`m \epsilon \|u\|_1` for a ripple of that size and frequency.

    Args:
        gradient: ``(n, ...)``.
        reference: same shape.
        bound: largest L1 norm that theory allows.

    Returns:
        ``(n,)`` float64, >= 0; above 1 the theory would be wrong.

    >>> import torch
    >>> gradient_bound_share(torch.tensor([[1.0, 2.0]]), torch.zeros(1, 2), bound=6.0)
    tensor([0.5000], dtype=torch.float64)
    """
    return (gradient.double() - reference.double()).flatten(1).abs().sum(1) / bound
