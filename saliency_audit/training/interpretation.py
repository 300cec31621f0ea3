"""Interpretation regularisation (P4 eq. 3-4)."""

from saliency_audit.training.step import Loss, Step


def interpretation(step: Step, *, weight: float = 0.07, reduction: str = "minibatch") -> Loss:
    """Interpretation regularisation (P4 eq. 3-4)."""
    raise NotImplementedError
