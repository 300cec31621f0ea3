"""Gradients of the explained scalar in the image: what every method of the family is made of."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.attention import SDPBackend, sdpa_kernel

from saliency_audit.models.classifier import Classifier
from saliency_audit.models.surrogates import ENTERED


def in_batches(
    compute: Callable[[Tensor, Tensor], Tensor],
    images: Tensor,
    targets: Tensor,
    batch_size: int | None,
) -> Tensor:
    """``compute(images, targets)`` on at most ``batch_size`` images at a time.

    Args:
        compute: gives one result per image, batch first.
        images: ``(n, c, h, w)``.
        targets: explained classes, ``(n,)``.
        batch_size: most images at once; None means all.

    Returns:
        The results of all images, in order.
    """
    size = batch_size or max(len(images), 1)
    parts = [
        compute(part, classes)
        for part, classes in zip(torch.split(images, size), torch.split(targets, size), strict=True)
    ]
    return parts[0] if len(parts) == 1 else torch.cat(parts)


@contextmanager
def differentiating(images: Tensor, *, graph: bool) -> Iterator[Tensor]:
    """Inside, gradients are recorded from the pixels that it gives.

    Args:
        images: ``(n, c, h, w)``; stay as they are.
        graph: the gradients themselves will be differentiated.

    Yields:
        The images if they are part of a graph to be kept, else a new leaf with their values.
    """
    pixels = images if graph and images.requires_grad else images.detach().requires_grad_()
    with torch.enable_grad():
        if not graph:
            yield pixels
            return
        # Fused attention kernels have no second derivative; the math kernel has.
        with sdpa_kernel(SDPBackend.MATH):
            yield pixels


def input_gradient(
    model: Classifier,
    images: Tensor,
    targets: Tensor,
    *,
    scalar: str = "logit",
    graph: bool = False,
    batch_size: int | None = None,
) -> Tensor:
    """Gradient of the explained scalar of each image in its own pixels.

    The sum over the batch is differentiated, never the mean, so each image gets its own gradient.

    Args:
        model: the classifier; must not mix images (eval mode).
        images: ``(n, c, h, w)`` in [0, 1].
        targets: explained classes, ``(n,)``.
        scalar: a name in ``SCALARS``.
        graph: keep the graph, so that the result can be differentiated in ``images``.
        batch_size: most images the model sees at once; None means all.

    Returns:
        ``(n, c, h, w)``, in units of the scalar per unit of pixel value; 0 where the scalar does
        not depend on the image.
    """

    def compute(part: Tensor, classes: Tensor) -> Tensor:
        with differentiating(part, graph=graph) as pixels:
            value = model.explained(scalar, model(pixels), classes).sum()
            if not value.requires_grad:
                return torch.zeros_like(part)
            (gradient,) = torch.autograd.grad(
                value, pixels, create_graph=graph, allow_unused=True, materialize_grads=True
            )
        return gradient

    return in_batches(compute, images, targets, batch_size)


def gradients_at(
    model: Classifier,
    points: Callable[[int], Tensor],
    count: int,
    targets: Tensor,
    *,
    scalar: str = "logit",
    graph: bool = False,
    batch_size: int | None = None,
) -> Iterator[Tensor]:
    """Gradients at ``count`` points per image, as many points at a time as ``batch_size`` holds.

    With ``graph``, frozen weights and more points than that, no graph through the network is kept:
    it is made again, part by part, when the gradients are differentiated. That costs one more
    pass and bounds the memory.

    Args:
        model: the classifier.
        points: ``points(k)`` gives the k-th point of every image, ``(n, c, h, w)``; called once
            for each k in order.
        count: number of points.
        targets: explained classes, ``(n,)``.
        scalar: a name in ``SCALARS``.
        graph: keep the graph.
        batch_size: most images the model sees at once; None means all points of all images.

    Yields:
        ``(k, n, c, h, w)`` for consecutive points; the ks add up to ``count``.
    """
    images = len(targets)
    at_once = count if batch_size is None else max(1, batch_size // max(images, 1))
    frozen = not any(parameter.requires_grad for parameter in model.parameters())
    for start in range(0, count, at_once):
        block = torch.stack([points(k) for k in range(start, min(start + at_once, count))])
        compute = partial(
            input_gradient,
            model,
            targets=targets.repeat(len(block)),
            scalar=scalar,
            batch_size=batch_size,
        )
        flat = block.flatten(0, 1)
        if graph and frozen and at_once < count:
            gradients = _Recomputed.apply(flat, compute)
        else:
            gradients = compute(flat, graph=graph)
        yield gradients.view_as(block)


class _Recomputed(torch.autograd.Function):
    """Gradients of a block of images, differentiable once, whose graph is made when needed."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, compute: Callable[..., Tensor]) -> Tensor:
        ctx.save_for_backward(images)
        ctx.compute = compute
        ctx.contexts = tuple(ENTERED)
        return compute(images)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *outer: Tensor) -> tuple[Tensor, None]:
        pixels = ctx.saved_tensors[0].detach().requires_grad_()
        with ExitStack() as stack, torch.enable_grad():
            for context in ctx.contexts:
                stack.enter_context(context)
            (inner,) = torch.autograd.grad(
                ctx.compute(pixels, graph=True),
                pixels,
                outer[0],
                allow_unused=True,
                materialize_grads=True,
            )
        return inner, None
