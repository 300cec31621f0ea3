"""Attention-weighted harmonisation (P1 B.8)."""

from saliency_audit.training.step import Loss, Step


def harmonise(step: Step, *, eps: float = 0.5) -> Loss:
    """Attention-weighted harmonisation (P1 B.8)."""
    raise NotImplementedError
