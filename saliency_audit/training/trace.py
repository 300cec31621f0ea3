"""The trace of the Hessian of each image's label logit, estimated so that it can be trained."""

import torch
from torch import Tensor

from saliency_audit.errors import InputError, lookup
from saliency_audit.training.step import Step, Watched, at_least, of_labels


def hessian_trace(
    step: Step,
    run: Watched,
    *,
    trace: str,
    sigma: float,
    draws: int,
    antithetic: bool,
    gradient: Tensor | None = None,
) -> Tensor:
    r"""Estimates, one for each image, of :math:`\mathrm{tr} \nabla_x^2 f_y(x_i)`.

    "taylor" is a difference of logits, N = ``draws``:

    .. math:: h_i = \frac{2}{N \sigma^2} \sum_{k=1}^N f_y(x_i + v_k) - f_y(x_i),
        \quad v_k \sim N(0, \sigma^2 I)

    On a quadratic logit with gradient g and Hessian H its mean is tr H and its variance
    :math:`(4 \|g\|^2 / \sigma^2 + 2 \|H\|_F^2) / N`. Antithetic pairs
    :math:`\pm v_k` leave :math:`2 \|H\|_F^2 / N` for twice the forward passes:

    .. math:: h_i = \frac{1}{N \sigma^2} \sum_{k=1}^N f_y(x_i + v_k) + f_y(x_i - v_k) - 2 f_y(x_i)

    "hutchinson" is exact derivatives in random directions, with the same variance as pairs:

    .. math:: h_i = \frac{1}{N} \sum_{k=1}^N v_k^\top \nabla_x^2 f_y(x_i) v_k,
        \quad v_k \sim N(0, I)

    Args:
        step: one batch.
        run: the batch as `watched` gives it; call inside.
        trace: "taylor" or "hutchinson".
        sigma: standard deviation of the noise in pixel values, of "taylor" alone. Its bias is
            :math:`O(\sigma^2)`, and logits' rounding is multiplied by :math:`2 / \sigma^2`.
        draws: directions per image, each one more forward pass ("taylor", all in one call) or one
            more double backward pass ("hutchinson").
        antithetic: whether "taylor" draws pairs.
        gradient: of the label's logits in ``run.pixels``, with its graph, where it is known.

    Returns:
        ``(n,)``, in logits per squared pixel value, differentiable in the weights: through both
        ends of the difference. The noisy images are not cut to [0, 1], which would bias it.

    Raises:
        InputError: an unknown estimator, no draws, a sigma that is not above 0, or pairs for
            "hutchinson".

    Source: P0 section 3.2, eq. 3, and App. C, eq. 8 (its error of :math:`O(\sigma)` is
    :math:`O(\sigma^2)`: odd moments vanish); Hutchinson 1990, Pearlmutter 1994. P0's code has one
    draw.
    """
    lookup("trace", dict.fromkeys(("taylor", "hutchinson")), trace)
    at_least("draws", draws, 1)
    if trace == "hutchinson":
        if antithetic:
            raise InputError(
                "--antithetic is for --trace taylor: v and -v give hutchinson the same number; "
                "leave it out"
            )
        return _hutchinson(step, run, draws, gradient)
    if not sigma > 0:
        raise InputError(f"--sigma is {sigma:g}; give more than 0, such as 0.01")
    return _taylor(step, run, sigma, draws, antithetic)


def _directions(step: Step, draws: int) -> Tensor:
    """Standard normal, ``(draws, n, c, h, w)``."""
    return torch.stack([step.noise(f"trace/{draw}") for draw in range(draws)])


def _taylor(step: Step, run: Watched, sigma: float, draws: int, antithetic: bool) -> Tensor:
    changes = sigma * _directions(step, draws)
    if antithetic:
        # The mean of the differences at v and at -v is half the pair's second difference.
        changes = torch.cat([changes, -changes])
    # The graph of the weights is enough: no path to the pixels is kept.
    noisy = (step.images.detach() + changes).flatten(0, 1)
    ends = of_labels(step.model(noisy), step.labels.repeat(len(changes))).view(len(changes), -1)
    return 2 / sigma**2 * (ends - of_labels(run.steady, step.labels)).mean(0)


def _hutchinson(step: Step, run: Watched, draws: int, gradient: Tensor | None) -> Tensor:
    if gradient is None:
        label = of_labels(run.steady, step.labels)
        (gradient,) = torch.autograd.grad(label.sum(), run.pixels, create_graph=True)
    curvatures = []
    for direction in _directions(step, draws):
        # A linear network's gradient does not depend on the pixels: zeros.
        (product,) = torch.autograd.grad(
            (gradient * direction).sum(),
            run.pixels,
            create_graph=True,
            allow_unused=True,
            materialize_grads=True,
        )
        curvatures.append((product * direction).flatten(1).sum(1))
    return torch.stack(curvatures).mean(0)
