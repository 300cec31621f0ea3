"""Norm-regularised adversarial training (P1)."""

from saliency_audit.training.step import Loss, Step


def adversarial(
    step: Step,
    *,
    penalty: str = "l2",
    eps: float | None = None,
    eps2: float = 0.05,
    steps: int = 1,
    step_size: float | None = None,
    group: int = 14,
    joint_channels: bool = False,
    attack_momentum: float = 0.0,
    replay: int = 1,
    clamp: bool = False,
) -> Loss:
    """Norm-regularised adversarial training (P1)."""
    raise NotImplementedError
