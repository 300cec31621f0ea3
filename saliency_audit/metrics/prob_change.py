"""How far the probabilities moved."""

from torch import Tensor


def prob_change(logits: Tensor, reference: Tensor) -> Tensor:
    r"""Largest change of a class probability, :math:`\max_i |p_i - p'_i|`.

    The softmax is taken in double precision: what is measured is the models' difference, not the
    softmax's round-off.

    Args:
        logits: ``(n, classes)``. Classes that ``reference`` does not have are compared with 0.
        reference: ``(n, classes)``.

    Returns:
        ``(n,)`` float64 in [0, 1].

    >>> import torch
    >>> prob_change(torch.tensor([[7.0, 7.0]]), torch.tensor([[0.0, 0.0]]))
    tensor([0.], dtype=torch.float64)
    """
    p, q = logits.double().softmax(1), reference.double().softmax(1)
    change = (p[:, : q.shape[1]] - q).abs().amax(1)
    return change if p.shape == q.shape else change.maximum(p[:, q.shape[1] :].amax(1))
