"""Integrated Gradients (Sundararajan et al. 2017)."""

from collections.abc import Sequence

import torch
from torch import Tensor

from saliency_audit.models import Classifier, gradients_at


def integrated_gradients(
    model: Classifier,
    images: Tensor,
    targets: Tensor,
    *,
    scalar: str = "logit",
    graph: bool = False,
    generators: Sequence[torch.Generator] = (),
    batch_size: int | None = None,
    steps: int = 50,
    baseline: float | None = None,
) -> Tensor:
    r"""Mean gradient on the way from a baseline, times the way, by the midpoint rule.

    .. math:: (x - x') \odot \frac1M \sum_{k=1}^M
        \nabla_x s_y\left(x' + \tfrac{k - 1/2}{M} (x - x')\right)

    Args:
        model: the classifier.
        images: ``(n, c, h, w)`` in [0, 1].
        targets: explained classes, ``(n,)``.
        scalar: a name in ``SCALARS``.
        graph: keep the map differentiable in ``images``.
        generators: not used.
        batch_size: most points the model sees at once.
        steps: M, points per image.
        baseline: pixel value of the baseline image; None is the mean colour, which the
            normalisation maps to 0.

    Returns:
        ``(n, c, h, w)``, signed, in units of the scalar; sums to s(x) - s(x'), up to an error
        of order 1/M^2.
    """
    del generators
    pixels = images if graph else images.detach()
    start = model.mean.to(images.dtype)
    if baseline is not None:
        start = torch.full_like(start, baseline)
    way = pixels - start
    total = torch.zeros_like(pixels)
    for gradients in gradients_at(
        model,
        lambda k: start + (k + 0.5) / steps * way,
        steps,
        targets,
        scalar=scalar,
        graph=graph,
        batch_size=batch_size,
    ):
        total = total + gradients.sum(0)
    return way * total / steps
