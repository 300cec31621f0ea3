"""Anti score matching: what score matching asks for, turned around."""

from torch.nn import functional as F

from saliency_audit.training.step import Loss, Step, at_least, watched
from saliency_audit.training.trace import hessian_trace


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
    r"""Cross-entropy, and the trace of the Hessian pushed up to a threshold.

    .. math:: R = -\frac{1}{n} \sum_i \min(h_i, \tau)

    It takes the density that the softmax implies away from the data, to see whether maps get
    worse with it.

    Args:
        step: one batch.
        weight: of R.
        tau: an image whose :math:`h_i` is above it is left alone.
        sigma: see `hessian_trace`, in pixel values.
        draws: likewise.
        trace: likewise, "taylor" or "hutchinson".
        antithetic: likewise.

    Returns:
        The terms "cross-entropy" and "anti-score-matching", R times its weight, not below
        ``-weight * tau``; seen is the mean "trace", not cut.

    Raises:
        InputError: an option that means nothing.

    Source: P0 section 5, weight and tau as there; P0's code has weight 1e-5, tau 1e4, sigma 1e-3.
    The threshold cuts each image's trace, not the mean, and from above.
    """
    at_least("weight", weight, 0)
    at_least("tau", tau, 0)
    with watched(step) as run:
        h = hessian_trace(step, run, trace=trace, sigma=sigma, draws=draws, antithetic=antithetic)
    return Loss(
        {
            "cross-entropy": F.cross_entropy(run.training, step.labels),
            "anti-score-matching": -weight * h.clamp_max(tau).mean(),
        },
        run.training.detach(),
        {"trace": h.detach().mean()},
    )
