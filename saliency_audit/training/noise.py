"""Gaussian noise."""

from saliency_audit.training.step import Loss, Step


def noise(step: Step, *, sigma: float = 0.1) -> Loss:
    """Gaussian noise."""
    raise NotImplementedError
