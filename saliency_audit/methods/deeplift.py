"""DeepLIFT with the rescale rule (Shrikumar et al. 2017), for whatever a network calls."""

from collections.abc import Sequence

import torch
from torch import Tensor

from saliency_audit.methods._calls import exact
from saliency_audit.methods._differences import Differences
from saliency_audit.methods._refusals import refuse, refuse_graph, refuse_torchscript
from saliency_audit.models import Classifier, in_batches

TOLERANCE = 1e-2
"""Largest relative gap in summation to delta at which the map is still shown."""

POINTS = 200
"""Points of the midpoint rule between two rows of logits; no pass of the model."""


def deeplift(
    model: Classifier,
    images: Tensor,
    targets: Tensor,
    *,
    scalar: str = "logit",
    graph: bool = False,
    generators: Sequence[torch.Generator] = (),
    batch_size: int | None = None,
    baseline: float | None = None,
) -> Tensor:
    r"""Difference from a baseline image, shared out by each function's slope between the two.

    .. math:: \sum_i m_i \, (x_i - x'_i) = s(x) - s(x')

    The multipliers m are the product, by the chain rule, of those of the functions that the network
    calls. Of a function of one number it is the slope between the two inputs (the rescale rule;
    the gradient where they differ by less than 1e-6), of a linear one its gradient; of max-pooling
    the winner of the larger of the two maxima takes all, as in the paper's code. Of functions of
    several numbers it is what the rescale rule is of one: the mean gradient on the straight way
    between the two inputs. That is the mean of the other factor for a product
    (squeeze-and-excitation, attention), a closed form for layer and group normalisation, and 16
    points of Gauss-Legendre for softmax and whatever else there is. The scalar is linked to the
    logits likewise, so the map sums to s(x) - s(x') for every scalar, not only for logits.

    Args:
        model: the classifier; an eager module or a ``torch.export`` program.
        images: ``(n, c, h, w)`` in [0, 1].
        targets: explained classes, ``(n,)``.
        scalar: a name in ``SCALARS``.
        graph: refused.
        generators: not used.
        batch_size: most images the model sees at once; as many baselines go before them.
        baseline: pixel value of the baseline image; None is the mean colour, which the
            normalisation maps to 0.

    Returns:
        ``(n, c, h, w)``, signed, in units of the scalar.

    Raises:
        UnsupportedError: ``graph`` was asked for, the format is TorchScript, the network takes
            another way on the baseline than on the image, or the map does not sum to the
            difference by more than 1 %.
    """
    del generators
    method = "deeplift"
    refuse_graph(method, graph)
    refuse_torchscript(method, model)
    start = model.mean.to(images.dtype)
    if baseline is not None:
        start = torch.full_like(start, baseline)

    def compute(part: Tensor, classes: Tensor) -> Tensor:
        pixels = part.detach().clone().requires_grad_()
        reference = start.expand_as(part).clone().requires_grad_()
        differences = Differences()
        with torch.enable_grad():
            with differences:
                before = network(reference).detach()
            differences.replay()
            with differences:
                logits = network(pixels)
            if differences.apart:
                refuse(method, model, differences.apart)
            after = logits.detach()
            weights = _mean_gradient(model, scalar, before, after, classes)
            (multiplier,) = torch.autograd.grad(
                logits, pixels, weights.to(after.dtype), allow_unused=True, materialize_grads=True
            )
        saliency = multiplier * (part.detach() - reference.detach())
        delta = (weights * (after - before)).sum(1)
        sums, magnitude = (x.flatten(1).sum(1) for x in (saliency, saliency.abs()))
        rounding = (weights.abs() * (after.abs() + before.abs())).sum(1)
        gap = (sums - delta).abs()
        allowed = TOLERANCE * delta.abs() + 1e-5 * magnitude + 1e-6 * rounding
        if bool((gap > allowed).any()) or not bool(gap.isfinite().all()):
            worst = int((gap - allowed).argmax())
            refuse(
                method,
                model,
                f"the map sums to {sums[worst]:.4g} instead of {delta[worst]:.4g} "
                f"({differences.suspect()})",
            )
        return saliency

    with exact(model, method) as network:
        return in_batches(compute, images, targets, batch_size)


def _mean_gradient(
    model: Classifier, scalar: str, before: Tensor, after: Tensor, targets: Tensor
) -> Tensor:
    """Mean of the scalar's gradient in the logits between two rows of logits, ``(n, classes)``."""
    shares = (torch.arange(POINTS).to(after) + 0.5) / POINTS
    between = (before + shares[:, None, None] * (after - before)).flatten(0, 1)
    with torch.enable_grad():
        value = model.explained(scalar, between.requires_grad_(), targets.repeat(POINTS)).sum()
        (gradient,) = torch.autograd.grad(value, between)
    return gradient.view(POINTS, *after.shape).mean(0)
