"""Score matching (P0 eq. 4)."""

from saliency_audit.training.step import Loss, Step


def score_matching(
    step: Step,
    *,
    weight: float = 1e-3,
    mu: float = 1e-4,
    sigma: float = 0.01,
    draws: int = 1,
    trace: str = "taylor",
    antithetic: bool = False,
) -> Loss:
    """Score matching (P0 eq. 4)."""
    raise NotImplementedError
