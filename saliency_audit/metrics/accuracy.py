"""Whether a prediction is right."""

import torch
from torch import Tensor

from saliency_audit.metrics.view import Measured, View


def accuracy(logits: Tensor, labels: Tensor) -> Tensor:
    """1 where the largest logit is the label's, else 0.

    Args:
        logits: ``(n, classes)``.
        labels: ``(n,)``, -1 where there is none.

    Returns:
        ``(n,)`` float64, 0 or 1; NaN where there is no label.

    >>> accuracy(torch.tensor([[0.0, 1.0], [0.0, 1.0]]), torch.tensor([1, -1]))
    tensor([1., nan], dtype=torch.float64)
    """
    return (logits.argmax(1) == labels).double().where(labels >= 0, torch.nan)


def clean_accuracy(view: View) -> list[Measured]:
    """As `accuracy`, of the images as they are."""
    return [Measured(accuracy(view.logits, view.labels))]
