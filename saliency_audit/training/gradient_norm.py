"""Gradient-norm regularisation: short gradients of the label's logit, or of the loss."""

import torch
from torch.nn import functional as F

from saliency_audit.errors import lookup
from saliency_audit.training.reduction import reduced
from saliency_audit.training.step import Loss, Step, at_least, squares, watched


def gradient_norm(
    step: Step, *, weight: float = 1e-3, of: str = "logit", reduction: str = "squared"
) -> Loss:
    r"""Cross-entropy, and the norm of each image's gradient.

    .. math:: R = \frac{1}{2n} \sum_i \|g_i\|_2^2, \quad \frac{1}{n} \sum_i \|g_i\|_2
        \quad \text{or} \quad \sqrt{\textstyle\sum_i \|g_i\|_2^2},
        \qquad g_i = \nabla_x s_y(x_i)

    Args:
        step: one batch.
        weight: of R.
        of: s, the "logit" of the label, or the "loss" of the image (double backpropagation).
            An image's own loss, not its share of the batch's mean.
        reduction: "squared" (P0), "per-sample", or "minibatch": the three above in order. The last
            two agree at equal norms if the weight of "per-sample" is
            :math:`\sqrt{n}` times as large.

    Returns:
        The terms "cross-entropy" and "gradient-norm", R times its weight; seen is the mean
        "mean-gradient-norm", :math:`\|g_i\|_2`, in units of the scalar per pixel value.

    Raises:
        InputError: an option that means nothing.

    Source: P0 section 5 ("squared", "logit"; default weight as there); Drucker & LeCun 1992 and P4
    for the loss. P4's code takes the unsquared Frobenius norm of the minibatch. The gradient is
    taken in eval mode, where it does not hang on the other images of the batch.
    """
    at_least("weight", weight, 0)
    lookup("--of", dict.fromkeys(("logit", "loss")), of)
    with watched(step) as run:
        values = step.model.explained(of, run.steady, step.labels)
        (gradient,) = torch.autograd.grad(values.sum(), run.pixels, create_graph=True)
    squared = squares(gradient)
    return Loss(
        {
            "cross-entropy": F.cross_entropy(run.training, step.labels),
            "gradient-norm": weight * reduced(squared, reduction),
        },
        run.training.detach(),
        {"mean-gradient-norm": squared.detach().sqrt().mean()},
    )
