"""Score matching: the density that a softmax implies is fitted to the data."""

import torch
from torch.nn import functional as F

from saliency_audit.training.step import Loss, Step, at_least, of_labels, squares, watched
from saliency_audit.training.trace import hessian_trace


def score_matching(
    step: Step,
    *,
    weight: float = 1e-5,
    mu: float = 1e-3,
    sigma: float = 0.01,
    draws: int = 1,
    trace: str = "taylor",
    antithetic: bool = False,
) -> Loss:
    r"""Cross-entropy, and the score-matching loss of :math:`p(x \mid y) \propto e^{f_y(x)}`.

    .. math:: R = \frac{1}{n} \sum_i h_i + \tfrac12 \|\nabla_x f_y(x_i)\|_2^2 + \mu h_i^2

    with :math:`h_i` an estimate of the trace of the Hessian. The last term keeps the first from
    falling without end. With one draw of "taylor" it is mostly a gradient norm: its mean holds
    :math:`4 \mu \|\nabla f_y\|^2 / \sigma^2`, 80 times the second term at the defaults.

    Args:
        step: one batch.
        weight: of R.
        mu: of the stabiliser.
        sigma: see `hessian_trace`, in pixel values.
        draws: likewise.
        trace: likewise, "taylor" or "hutchinson".
        antithetic: likewise.

    Returns:
        The terms "cross-entropy" and "score-matching", R times its weight; seen are the means of
        "trace" (:math:`h_i`) and "mean-gradient-norm" (:math:`\|\nabla f_y\|_2`). The trace falling
        below -1e6 is a collapse: a larger mu or a smaller weight prevents it.

    Raises:
        InputError: an option that means nothing.

    Source: P0 eq. 4, whose last term is printed as :math:`10^{-4} / \mu \cdot h^2`; here it is
    :math:`\mu h^2`, as in P0's code and App. E, squared per image. Unlike P0's code, what is
    differentiated runs in eval mode, so noise neither meets other batch statistics nor enters the
    running ones. Defaults are the best of P0's sweep (App. E), and its code's; its main text has
    ``weight=1e-3, mu=1e-4``, which collapses more easily.
    """
    at_least("weight", weight, 0)
    at_least("mu", mu, 0)
    with watched(step) as run:
        label = of_labels(run.steady, step.labels)
        (gradient,) = torch.autograd.grad(label.sum(), run.pixels, create_graph=True)
        h = hessian_trace(
            step,
            run,
            trace=trace,
            sigma=sigma,
            draws=draws,
            antithetic=antithetic,
            gradient=gradient,
        )
    squared = squares(gradient)
    penalty = (h + squared / 2 + mu * h.square()).mean()
    return Loss(
        {
            "cross-entropy": F.cross_entropy(run.training, step.labels),
            "score-matching": weight * penalty,
        },
        run.training.detach(),
        {"trace": h.detach().mean(), "mean-gradient-norm": squared.detach().sqrt().mean()},
    )
