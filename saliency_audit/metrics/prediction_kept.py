"""Whether a prediction survived."""

import torch
from torch import Tensor


def prediction_kept(logits: Tensor, reference: Tensor) -> Tensor:
    """1 where both rows of logits have their largest entry in the same place, else 0.

    Args:
        logits: ``(n, classes)``; more classes than ``reference`` has count as changed when one
            of the additional ones wins.
        reference: ``(n, classes)``.

    Returns:
        ``(n,)`` float64, 0 or 1; NaN where a logit is not finite.

    >>> prediction_kept(torch.tensor([[0.0, 1.0]]), torch.tensor([[2.0, 3.0]]))
    tensor([1.], dtype=torch.float64)
    """
    kept = (logits.argmax(1) == reference.argmax(1)).double()
    return kept.where(logits.isfinite().all(1) & reference.isfinite().all(1), torch.nan)
