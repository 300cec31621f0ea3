"""DeepLIFT with the rescale rule (Shrikumar et al. 2017), by Captum."""

from collections.abc import Sequence

import torch
from captum.attr import DeepLift
from captum.attr._core.deep_lift import SUPPORTED_NON_LINEAR
from torch import Tensor, nn

from saliency_audit.methods._captum import (
    RECTIFIERS,
    captum_quiet,
    private_copy,
    refuse,
    refuse_graph,
)
from saliency_audit.models import Classifier, in_batches

TOLERANCE = 1e-2
"""Largest relative gap in summation to delta at which the map is still shown."""

POINTS = 200
"""Points of the midpoint rule between two rows of logits; no pass of the model."""


class _Weighted(nn.Module):
    def __init__(self, model: Classifier) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor, weights: Tensor) -> Tensor:
        logits: Tensor = self.model(images)
        return (logits * weights).sum(1, keepdim=True)


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
    r"""Difference from a baseline image, shared out by each activation's slope between the two.

    The scalar is linked to the logits by its mean gradient on the straight way between the two
    rows of logits, which for one variable is the rescale rule; so the map sums to s(x) - s(x')
    for every scalar, not only for logits.

    Args:
        model: the classifier; must be an eager module whose activations Captum has rules for.
        images: ``(n, c, h, w)`` in [0, 1].
        targets: explained classes, ``(n,)``.
        scalar: a name in ``SCALARS``.
        graph: refused.
        generators: not used.
        batch_size: most images the model sees at once, each of which counts twice: Captum runs
            the image beside its baseline.
        baseline: pixel value of the baseline image; None is the mean colour, which the
            normalisation maps to 0.

    Returns:
        ``(n, c, h, w)``, signed, in units of the scalar.

    Raises:
        UnsupportedError: ``graph`` was asked for, the format has no eager modules, the network has
            activations that Captum has no rule for, or the map does not sum to the difference.
    """
    del generators
    method = "deeplift"
    refuse_graph(method, graph)
    copy, trace = private_copy(model, images, method)
    functions = sorted(trace.functions & RECTIFIERS)
    if functions:
        refuse(method, model, f"it calls {functions[0]} as a function, not as a module")
    for layer in trace.layers:
        is_activation = type(layer).__module__ == "torch.nn.modules.activation"
        if is_activation and type(layer) not in SUPPORTED_NON_LINEAR:
            refuse(method, model, f"Captum has no rule for {type(layer).__name__}")
    explain = DeepLift(_Weighted(copy))
    start = model.mean.to(images.dtype)
    if baseline is not None:
        start = torch.full_like(start, baseline)

    def compute(part: Tensor, classes: Tensor) -> Tensor:
        pixels = part.detach().clone()
        reference = start.expand_as(pixels).contiguous()
        with torch.no_grad():
            logits, before = copy(pixels), copy(reference[:1]).expand(len(part), -1)
        weights = _mean_gradient(model, scalar, before, logits, classes)
        with captum_quiet():
            saliency: Tensor = explain.attribute(
                pixels.requires_grad_(), reference, additional_forward_args=weights
            )
        saliency = saliency.detach()
        delta = (weights * (logits - before)).sum(1)
        shares = saliency.flatten(1)
        gap = (shares.sum(1) - delta).abs()
        if bool((gap > TOLERANCE * delta.abs() + 1e-5 * shares.abs().sum(1)).any()):
            worst = int(gap.argmax())
            refuse(
                method,
                model,
                f"the map sums to {shares.sum(1)[worst]:.4g} instead of {delta[worst]:.4g} "
                "(overlapping max-pooling, or a nonlinear layer that Captum has no rule for)",
            )
        return saliency

    return in_batches(compute, images, targets, batch_size and max(1, batch_size // 2))


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
