"""Gradients of the explained scalar in the image: what every method of the family is made of."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from saliency_audit.models.classifier import Classifier
from saliency_audit.models.scalars import explained


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
    size = batch_size or max(len(images), 1)
    parts = []
    for part, classes in zip(torch.split(images, size), torch.split(targets, size), strict=True):
        pixels = part if graph and part.requires_grad else part.detach().requires_grad_()
        with torch.enable_grad():
            # Fused attention kernels have no second derivative; the math kernel has.
            if graph:
                with sdpa_kernel(SDPBackend.MATH):
                    value = explained(scalar, model(pixels), classes).sum()
            else:
                value = explained(scalar, model(pixels), classes).sum()
            (gradient,) = torch.autograd.grad(
                value, pixels, create_graph=graph, allow_unused=True, materialize_grads=True
            )
        parts.append(gradient)
    return parts[0] if len(parts) == 1 else torch.cat(parts)


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
    at_once = count if batch_size is None else max(1, batch_size // images)
    for start in range(0, count, at_once):
        block = torch.stack([points(k) for k in range(start, min(start + at_once, count))])
        gradients = input_gradient(
            model,
            block.flatten(0, 1),
            targets.repeat(len(block)),
            scalar=scalar,
            graph=graph,
            batch_size=batch_size,
        )
        yield gradients.view_as(block)
