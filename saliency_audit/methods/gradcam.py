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
    spatial_layers,
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
            inputs = pixels if graph else part.detach()
            weights, activation = _weighted(
                model, inputs, classes, name, scalar=scalar, graph=graph
            )
            cam = (weights * activation).sum(1, keepdim=True)
            cam = F.interpolate(
                cam.relu(), size=part.shape[-2:], mode="bilinear", align_corners=True
            )
        return cam if graph else cam.detach()

    return in_batches(compute, images, targets, batch_size)


def why_zero(model: Classifier, image: Tensor, target: Tensor, *, scalar: str = "logit") -> str:
    """Why the map of an image is zero everywhere, and the next layer before whose map is not.

    Args:
        model: the classifier.
        image: ``(1, c, h, w)`` in [0, 1].
        target: explained class, ``(1,)``.
        scalar: a name in ``SCALARS``.

    Returns:
        One line; empty where the map is not zero.
    """
    layer = last_spatial_layer(model, image)
    with torch.enable_grad():
        weights, activation = _weighted(model, image.detach(), target, layer, scalar=scalar)
    if bool((weights * activation).sum(1).gt(0).any()):
        return ""
    why = (
        f"its weights cancel in layer {layer}, which has no positive evidence for the class"
        if bool(weights.any())
        else f"the {scalar} has no mean gradient in layer {layer}"
    )
    layers = spatial_layers(model, image)
    before = layers[: layers.index(layer)] if layer in layers else layers
    for other in reversed(before):
        if bool(gradcam(model, image, target, scalar=scalar, layer=other).any()):
            return f"{why}; the next before it that has some: --layer {other}"
    return f"{why}; no layer before it has some"


def _weighted(
    model: Classifier,
    images: Tensor,
    targets: Tensor,
    layer: str,
    *,
    scalar: str,
    graph: bool = False,
) -> tuple[Tensor, Tensor]:
    """Weights of a layer's channels, ``(n, c, 1, 1)``, and the channels, ``(n, c, gh, gw)``."""
    logits, activation = activations(model, images, layer)
    value = model.explained(scalar, logits, targets).sum()
    (gradient,) = torch.autograd.grad(
        value, activation, create_graph=graph, allow_unused=True, materialize_grads=True
    )
    weights = as_spatial(gradient, images).to(images.dtype).mean((2, 3), keepdim=True)
    return weights, as_spatial(activation, images).to(images.dtype)
