"""Gradient norm (P0)."""

from saliency_audit.training.step import Loss, Step


def gradient_norm(
    step: Step, *, weight: float = 1e-3, scalar: str = "logit", reduction: str = "squared"
) -> Loss:
    """Gradient norm (P0)."""
    raise NotImplementedError
