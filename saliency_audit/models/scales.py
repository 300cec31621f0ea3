"""Feature maps of a network, one a resolution, all from one forward pass."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from saliency_audit.errors import InputError
from saliency_audit.models.classifier import Classifier
from saliency_audit.models.layers import (
    first_tensor,
    hooked,
    layer_named,
    name_and_run,
    with_first_tensor,
)
from saliency_audit.models.spatial import as_spatial, last_spatial_layer, spatial_layers


def scales(model: Classifier, images: Tensor, *, most: int) -> list[str]:
    """Names of the last layers of each resolution, from the coarsest to the finest.

    The first is the layer of `last_spatial_layer`, which Grad-CAM reads, too. Each other one is
    the last layer before it whose map has twice as many positions or more.

    Args:
        model: the classifier.
        images: ``(n, c, h, w)``; only the shape, type and device are used.
        most: layers, the coarsest.

    Returns:
        One name at least; a transformer, whose maps are all of one resolution, has one.

    Raises:
        UnsupportedError: the format gives no access to layers, or no layer is a map.
        InputError: ``model.layer`` does not exist.
    """
    last = last_spatial_layer(model, images)
    before = spatial_layers(model, images)
    before = before[: before.index(last)] if last in before else []
    blank = torch.full_like(images[:1], 0.5)
    with torch.no_grad():
        shown = feature_maps(model, blank, [*before, last])[1]
    found, positions = [last], shown[-1][0, 0].numel()
    for name, map in zip(reversed(before), reversed(shown[:-1]), strict=True):
        if map[0, 0].numel() >= 2 * positions and len(found) < most:
            found.append(name)
            positions = map[0, 0].numel()
    return found


def feature_maps(
    model: Classifier, images: Tensor, layers: Sequence[str]
) -> tuple[Tensor, list[Tensor]]:
    """Logits, and the outputs of layers on the way to them as maps of the image.

    Args:
        model: the classifier; runs once.
        images: ``(n, c, h, w)`` in [0, 1].
        layers: their names, with the run that is meant (``relu#2``) if not the last.

    Returns:
        Logits ``(n, classes)``, and for each layer ``(n, channels, gh, gw)``; in the graph of the
        images where gradients are on.

    Raises:
        UnsupportedError: the format gives no access to layers, or an output is no map.
        InputError: there is no such layer, or it does not run or returns no tensor.
    """
    asked = [(layer_named(model, layer), name_and_run(layer)[1]) for layer in layers]
    seen: dict[nn.Module, list[Tensor]] = {module: [] for module, _ in asked}

    def keep(module: nn.Module, _: Any, output: Any) -> Any:
        tensor = first_tensor(output)
        if tensor is None:
            return output
        seen[module].append(tensor)
        # The network goes on with a copy: an in-place ReLU must not change what was kept.
        return with_first_tensor(output, tensor.clone())

    with hooked(seen, keep):
        logits = model(images)
    maps = []
    for layer, (module, run) in zip(layers, asked, strict=True):
        if not 0 < max(run, 1) <= len(seen[module]):
            raise InputError(f"layer '{layer}' of {model.name} does not run or returns no tensor")
        maps.append(as_spatial(seen[module][run - 1], images))
    return logits, maps
