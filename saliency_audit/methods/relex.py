"""RelEx (Lim, Lee & Kim 2021): the mask that keeps a class on noisy copies of the image."""

from collections.abc import Sequence
from functools import partial
from math import ceil, prod, sqrt

import torch
from torch import Tensor
from torch.nn import functional as F

from saliency_audit.methods._refusals import refuse_graph
from saliency_audit.methods.smoothgrad import noise_scale
from saliency_audit.models import LIKELIHOOD_SCALARS, Classifier, differentiating, in_batches
from saliency_audit.seeding import random_numbers

START = 0.01
"""The mask is drawn between 0 and this."""
VALUES = 3 * 224 * 224
"""Of a mask for which the step is meant; others have steps as long per value."""


def points(*, copies: int, iterations: int, consistency: float, **others: object) -> int:
    """Gradients that one map takes: kept and hidden copies, and with consistency the image twice.

    >>> points(copies=50, iterations=50, consistency=0.0)
    5000
    """
    del others
    return iterations * (2 * copies + 2 * (consistency > 0))


def log_odds(model: Classifier, logits: Tensor, targets: Tensor) -> Tensor:
    """The log-odds of each target, ``(n,)``, from which log p and log(1 - p) are had exactly.

    Of 1 - p itself nothing is left where the network is sure, as it is of most whole images.
    """
    logit = model.explained("logit", logits, targets)
    if model.reading.one or not model.outputs.exclusive:
        return logit
    if model.scalars is LIKELIHOOD_SCALARS:
        tiny = torch.finfo(logit.dtype).tiny
        return logit - (-torch.expm1(logit)).clamp_min(tiny).log()
    others = logits.to(logit.dtype).scatter(1, targets[:, None], -torch.inf)
    return logit - others.logsumexp(1)


def unit_length(values: Tensor) -> Tensor:
    """Each image's values over their L2 norm; zero where all are zero.

    >>> unit_length(torch.tensor([[[[3e-30, 4e-30]]], [[[0.0, 0.0]]]])).flatten(1)
    tensor([[0.6000, 0.8000],
            [0.0000, 0.0000]])
    """
    # Scaled first: squares of small numbers are zero.
    largest = values.abs().amax((1, 2, 3), keepdim=True)
    scaled = values / largest.where(largest > 0, 1)
    norm = scaled.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
    unit: Tensor = scaled / norm.where(norm > 0, 1)
    return unit


def relex(
    model: Classifier,
    images: Tensor,
    targets: Tensor,
    *,
    scalar: str = "logit",
    graph: bool = False,
    generators: Sequence[torch.Generator],
    batch_size: int | None = None,
    copies: int = 50,
    noise_level: float = 0.1,
    iterations: int = 50,
    lr: float = 0.1,
    momentum: float = 0.99,
    sparsity: float = 1e-4,
    background: float = 1.0,
    consistency: float = 0.0,
) -> Tensor:
    r"""The mask that keeps the class when it is laid on noisy copies, and hides it when taken off.

    .. math:: \min_{m \in [0, 1]^{CHW}} \frac1K \sum_i -\log p_y(m \odot x_i) + \lambda_1 \|m\|_1
        - \frac{\lambda_2}{K} \sum_i \log(1 - p_y((1 - m) \odot x_i))

    of K noisy copies, drawn anew in each iteration. Gradient descent with momentum from small
    random masks, each gradient scaled to unit L2 norm and each mask cut to [0, 1]. What is
    multiplied is the network's own input, so that 0 is the mean colour. Eq. 11 itself is in the
    main paper; this is the objective of the public code, with these differences: log p and
    log(1 - p) are exact, where the code adds 1e-7 and so has no gradient where the network is sure;
    the L1 norm pulls at values of 0, too; the step is in proportion to the root of the number of
    values, the same for each value whatever the image's size.

    ``consistency`` adds w times the mean of
    :math:`\|\nabla \log p_y(m \odot x_i) - \nabla \log p_y(m \odot x_0)\|_2`, gradients in
    :math:`m \odot x`, the gap of Theorem 2. Through ReLU that has the curvature of the softmax
    alone.

    Args:
        model: the classifier.
        images: ``(n, c, h, w)`` in [0, 1].
        targets: explained classes, ``(n,)``.
        scalar: a name in ``SCALARS``; changes nothing, since the objective is of the probability.
        graph: refused: the gradient of many iterations is not kept.
        generators: one per image.
        batch_size: most masked copies the model sees at once.
        copies: K; 100 in the supplement.
        noise_level: standard deviation of the noise as a fraction of the image's range.
        iterations: of the descent ("epochs").
        lr: step of the descent for 3x224x224 values. The supplement's 0.001 without momentum moves
            a mask by 0.05 in L2 at most, which its start is 40 times as long as.
        momentum: of the descent.
        sparsity: lambda 1.
        background: lambda 2.
        consistency: w; above 0 it takes second derivatives.

    Returns:
        ``(n, c, h, w)`` in [0, 1], without unit: how much of each value stays. Source: P2 S2.1 and
        its public code.

    Raises:
        UnsupportedError: ``graph`` was asked for.
    """
    refuse_graph("relex", graph)
    model.scalar(scalar)
    pixels = images.detach()
    sigma = noise_scale(pixels, noise_level)
    zero = model.mean.to(pixels.dtype)
    step = lr * sqrt(prod(pixels.shape[1:]) / VALUES)
    mask = START * random_numbers(torch.rand, pixels.shape, generators, pixels.dtype)
    speed = torch.zeros_like(mask)

    def slope_at(masked: Tensor, classes: Tensor, *, side: int) -> Tensor:
        return in_batches(partial(_slope, model, side=side), masked, classes, batch_size)

    for _ in range(iterations):
        gradient = torch.full_like(mask, sparsity)
        clean = zero + mask * (pixels - zero)
        reference = slope_at(clean, targets, side=1) if consistency else None
        ways = torch.zeros_like(mask)
        for count in _shares(copies, len(pixels), batch_size):
            noisy = torch.stack(
                [
                    sigma * random_numbers(torch.randn, pixels.shape, generators, pixels.dtype)
                    for _ in range(count)
                ]
            )
            away = pixels + noisy - zero
            classes = targets.repeat(count)
            inside, outside = ((zero + part * away).flatten(0, 1) for part in (mask, 1 - mask))
            pull = background * slope_at(outside, classes, side=-1)
            if reference is None:
                pull = pull - slope_at(inside, classes, side=1)
            else:
                others = reference.repeat(count, 1, 1, 1)
                slope, way, bend = _bends(model, batch_size, inside, classes, others)
                pull = pull - slope + consistency * bend
                ways = ways + way.view_as(away).sum(0)
            gradient = gradient + (pull.view_as(away) * away).sum(0) / copies
        if reference is not None:
            # What the gaps change by where the clean image does, for all copies at once.
            _, _, bend = _bends(model, batch_size, clean, targets, reference, ways / copies)
            gradient = gradient - consistency * bend * (pixels - zero)
        speed = momentum * speed + unit_length(gradient)
        mask = (mask - step * speed).clamp(0, 1)
    return mask


def _shares(copies: int, images: int, batch_size: int | None) -> list[int]:
    """How many copies of all images are looked at in turn: as few times as the batch allows.

    >>> _shares(50, 1, 32), _shares(3, 8, 4)
    ([25, 25], [1, 1, 1])
    """
    most = copies if batch_size is None else max(1, batch_size // max(images, 1))
    times = ceil(copies / most)
    return [(copies + turn) // times for turn in range(times)]


def _slope(model: Classifier, points: Tensor, targets: Tensor, *, side: int) -> Tensor:
    """Gradient of log p at points, or of log(1 - p) where ``side`` is -1."""
    with differentiating(points, graph=False) as pixels:
        value = F.logsigmoid(side * log_odds(model, model(pixels), targets)).sum()
        if not value.requires_grad:
            return torch.zeros_like(points)
        (slope,) = torch.autograd.grad(value, pixels, allow_unused=True, materialize_grads=True)
    return slope


def _bends(model: Classifier, batch_size: int | None, *tensors: Tensor) -> Sequence[Tensor]:
    """`_bend` of at most ``batch_size`` rows at a time."""
    size = batch_size or max(len(tensors[0]), 1)
    split = zip(*(torch.split(tensor, size) for tensor in tensors), strict=True)
    parts = [_bend(model, *part) for part in split]
    return [torch.cat(same) for same in zip(*parts, strict=True)]


def _bend(
    model: Classifier,
    points: Tensor,
    targets: Tensor,
    reference: Tensor,
    way: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradient of log p, its direction from a reference, and the Hessian times that or ``way``."""
    with differentiating(points, graph=True) as pixels:
        value = F.logsigmoid(log_odds(model, model(pixels), targets)).sum()
        if not value.requires_grad:
            nothing = torch.zeros_like(points)
            return nothing, nothing, nothing
        (slope,) = torch.autograd.grad(
            value, pixels, create_graph=True, allow_unused=True, materialize_grads=True
        )
        if way is None:
            way = unit_length(slope.detach() - reference)
        total = (slope * way).sum()
        if not total.requires_grad:
            return slope.detach(), way, torch.zeros_like(points)
        (bend,) = torch.autograd.grad(total, pixels, allow_unused=True, materialize_grads=True)
    return slope.detach(), way, bend
