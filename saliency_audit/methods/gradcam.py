"""Grad-CAM (Selvaraju et al. 2017)."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from saliency_audit.models import (
    Classifier,
    activations,
    as_spatial,
    differentiating,
    in_batches,
    last_spatial_layer,
)


def gradcam(
    model: Classifier,
    images: Tensor,
    targets: Tensor,
    *,
    scalar: str = "logit",
    graph: bool = False,
    generators: Sequence[torch.Generator] = (),
    batch_size: int | None = None,
    layer: str | None = None,
) -> Tensor:
    r"""Channels of one layer, weighted by their mean gradient: :math:`\sum_k w_k A_k`, if positive.

    :math:`w_k` is the mean over positions of :math:`\partial s_y / \partial A_k`. The map is
    resized to the image bilinearly, corners aligned. Tokens of a transformer are laid out on their
    grid first.

    Args:
        model: the classifier.
        images: ``(n, c, h, w)`` in [0, 1].
        targets: explained classes, ``(n,)``.
        scalar: a name in ``SCALARS``.
        graph: keep the map differentiable in ``images``.
        generators: not used.
        batch_size: most images the model sees at once.
        layer: name of the layer; None means ``model.layer``, or the last spatial one.

    Returns:
        ``(n, 1, h, w)``, >= 0, in units of the scalar.

    Raises:
        UnsupportedError: the format gives no access to layers, or the layer is no map.
        InputError: there is no such layer.
    """
    del generators
    name = layer if layer is not None else last_spatial_layer(model, images)

    def compute(part: Tensor, classes: Tensor) -> Tensor:
        with differentiating(part, graph=graph) as pixels:
            # Without a graph to keep, nothing before the layer needs to be recorded.
            logits, activation = activations(model, pixels if graph else part.detach(), name)
            value = model.explained(scalar, logits, classes).sum()
            (gradient,) = torch.autograd.grad(
                value, activation, create_graph=graph, allow_unused=True, materialize_grads=True
            )
            weights = as_spatial(gradient, part).to(part.dtype).mean((2, 3), keepdim=True)
            cam = (weights * as_spatial(activation, part).to(part.dtype)).sum(1, keepdim=True)
            cam = F.interpolate(
                cam.relu(), size=part.shape[-2:], mode="bilinear", align_corners=True
            )
        return cam if graph else cam.detach()

    return in_batches(compute, images, targets, batch_size)
