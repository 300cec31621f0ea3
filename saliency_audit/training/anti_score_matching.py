"""Anti score matching (P0)."""

from saliency_audit.training.step import Loss, Step


def anti_score_matching(
    step: Step,
    *,
    weight: float = 1e-4,
    tau: float = 1000.0,
    sigma: float = 0.01,
    draws: int = 1,
    trace: str = "taylor",
    antithetic: bool = False,
) -> Loss:
    """Anti score matching (P0)."""
    raise NotImplementedError
