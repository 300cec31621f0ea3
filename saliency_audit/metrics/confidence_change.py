"""How much surer or less sure of its prediction a model has become."""

import torch
from torch import Tensor


def confidence_change(logits: Tensor, reference: Tensor) -> Tensor:
    """Probability of the class that the reference predicts, now minus before.

    Args:
        logits: ``(n, classes)``.
        reference: ``(n, classes)``, whose largest entry is the predicted class.

    Returns:
        ``(n,)`` float64 in [-1, 1]; NaN where a logit is not finite.

    >>> confidence_change(torch.tensor([[0.0, 0.0]]), torch.tensor([[0.0, 60.0]]))
    tensor([-0.5000], dtype=torch.float64)
    """
    own = reference.argmax(1, keepdim=True)
    now, before = (
        values.double().softmax(1).gather(1, own)[:, 0] for values in (logits, reference)
    )
    finite = logits.isfinite().all(1) & reference.isfinite().all(1)
    return (now - before).where(finite, torch.nan)
