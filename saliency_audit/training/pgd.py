"""PGD adversarial training (P3, P4)."""

from saliency_audit.training.step import Loss, Step


def pgd(
    step: Step,
    *,
    eps: float = 8 / 255,
    norm: str = "linf",
    steps: int = 7,
    step_size: float | None = None,
    loss: str = "xent",
    kappa: float | None = None,
    attack_momentum: float = 0.0,
    random_start: bool = True,
) -> Loss:
    """PGD adversarial training (P3, P4)."""
    raise NotImplementedError
