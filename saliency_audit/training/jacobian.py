"""Jacobian regularisation (P4 eq. 7)."""

from saliency_audit.training.step import Loss, Step


def jacobian(
    step: Step, *, weight: float = 0.01, projections: int = 1, reduction: str = "squared"
) -> Loss:
    """Jacobian regularisation (P4 eq. 7)."""
    raise NotImplementedError
