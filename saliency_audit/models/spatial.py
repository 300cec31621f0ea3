"""Which layer's output is a map of the image, and how it lies on the image's grid."""

from collections import Counter
from math import isqrt, log
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.export.unflatten import InterpreterModule

from saliency_audit.errors import UnsupportedError
from saliency_audit.models.classifier import Classifier
from saliency_audit.models.layers import (
    first_tensor,
    hooked,
    layer_named,
    layer_names,
    with_first_tensor,
)

MOST_PREFIX_TOKENS = 8
"""Class, distillation and register tokens that may stand before the patches."""

_found: WeakKeyDictionary[nn.Module, dict[tuple[int, ...], list[str]]] = WeakKeyDictionary()


def as_spatial(activation: Tensor, images: Tensor) -> Tensor:
    """Arrange a layer's output on the grid of the image.

    Takes channels first, channels last (Swin), and token sequences (vision transformers), whose
    grid is found from their number and the image's sides; class and register tokens are dropped.

    Args:
        activation: ``(n, c, gh, gw)``, ``(n, gh, gw, c)`` or ``(n, tokens, c)``.
        images: the images it was computed from, ``(n, c, h, w)``.

    Returns:
        ``(n, c, gh, gw)``.

    Raises:
        UnsupportedError: the shape fits no grid, or holds parts of images (windows of tokens).

    >>> as_spatial(torch.zeros(1, 1 + 4 * 6, 16), torch.zeros(1, 3, 32, 48)).shape
    torch.Size([1, 16, 4, 6])
    """
    height, width = images.shape[-2:]
    if len(activation) != len(images):
        raise UnsupportedError(
            f"a layer output of shape {tuple(activation.shape)} holds windows of {len(images)} "
            "images, or the like, not one map each; choose another with --layer"
        )
    if activation.ndim == 4:
        _, first, second, third = activation.shape
        as_first, as_last = (
            abs(log(rows / columns * width / height))
            for rows, columns in ((second, third), (first, second))
        )
        return activation.permute(0, 3, 1, 2) if as_last < as_first else activation
    grid = _token_grid(activation.shape[1], height, width) if activation.ndim == 3 else None
    if grid is None:
        raise UnsupportedError(
            f"a layer output of shape {tuple(activation.shape)} is no map of a {height}x{width} "
            "image; choose another with --layer"
        )
    rows, columns = grid
    patches = activation[:, activation.shape[1] - rows * columns :]
    return patches.transpose(1, 2).reshape(len(patches), -1, rows, columns)


def last_spatial_layer(model: Classifier, images: Tensor) -> str:
    """Name of the layer that Grad-CAM reads: ``model.layer``, or the last one that is a map.

    With the run that is a map (``relu#2``) where the layer runs again after it.

    Of layers with the same output the outermost is named. In a transformer that reads its class
    token, the last block's patch tokens no longer reach the logits; the last layer whose patches
    do is taken (the last block's first norm). The answer depends on the network and the size of
    the images, never on their content.

    Args:
        model: the classifier.
        images: ``(n, c, h, w)``; only the shape, type and device are used.

    Raises:
        UnsupportedError: the format gives no access to layers, or no layer is a map.
        InputError: ``model.layer`` does not exist.
    """
    if model.layer is not None:
        layer_named(model, model.layer)
        return model.layer
    return spatial_layers(model, images)[-1]


def spatial_layers(model: Classifier, images: Tensor) -> list[str]:
    """Names of the layers that are maps on the way to the logits, in the order they run.

    The last is that of `last_spatial_layer`; what runs after it is left out.

    Args:
        model: the classifier.
        images: ``(n, c, h, w)``; only the shape, type and device are used.

    Raises:
        UnsupportedError: the format gives no access to layers, or no layer is a map.
    """
    found = _found.setdefault(model.network, {})
    shape = tuple(images.shape[1:])
    if shape not in found:
        noise = torch.rand(1, *shape, generator=torch.Generator().manual_seed(0))
        found[shape] = _find(model, noise.to(images))
    return found[shape]


def _token_grid(tokens: int, height: int, width: int) -> tuple[int, int] | None:
    """Rows and columns of whole square patches, behind as few prefix tokens as possible."""
    for prefix in range(min(MOST_PREFIX_TOKENS, tokens - 2) + 1):
        rows = isqrt((tokens - prefix) * height // width)
        columns = rows * width // height
        whole = rows > 0 and height % rows == 0 and rows * width == columns * height
        if whole and rows * columns == tokens - prefix:
            return rows, columns
    return None


def _is_map(output: Tensor, image: Tensor) -> bool:
    if not output.is_floating_point() or output.ndim not in (3, 4) or len(output) != len(image):
        return False
    if output.ndim == 3:
        return _token_grid(output.shape[1], *image.shape[-2:]) is not None
    rows, columns = as_spatial(output, image).shape[-2:]
    height, width = image.shape[-2:]
    # Attention works on (n, heads, tokens, d): four dimensions, and no map.
    return rows * columns > 1 and abs(log(rows / columns * width / height)) <= log(2)


def _pools(module: nn.Module) -> bool:
    """Whether a layer does nothing but adaptive pooling, in an exported program, too."""
    if isinstance(module, InterpreterModule):
        calls = [str(node.target) for node in module.graph.nodes if node.op.startswith("call_")]
        # Maxima come with their places, from which they are taken.
        own = [call for call in calls if "getitem" not in call]
        return len(own) == 1 and own[0].startswith("aten.") and "adaptive_" in own[0]
    return isinstance(module, nn.AdaptiveAvgPool2d | nn.AdaptiveMaxPool2d)


def _find(model: Classifier, image: Tensor) -> list[str]:
    names = layer_names(model)
    maps: list[tuple[Tensor, Tensor, list[tuple[str, int]]]] = []
    runs = Counter[str]()
    tokens = set[int]()

    def keep(module: nn.Module, _: Any, output: Any) -> Any:
        tensor = first_tensor(output)
        if tensor is None:
            return output
        runs[names[module]] += 1
        if tensor.ndim == 3:
            tokens.add(tensor.shape[1])
        # A table of positions, say, depends on no image.
        if not tensor.requires_grad or not _is_map(tensor, image):
            return output
        run = names[module], runs[names[module]]
        for _, copy, group in maps:
            # A container returns what its last layer returned, unless changed in place since.
            if tensor is copy and copy._version == 0:
                group.append(run)
                return output
        if _pools(module):
            return output
        copy = tensor.clone()
        maps.append((tensor, copy, [run]))
        return with_first_tensor(output, copy)

    with hooked(names, keep), torch.enable_grad():
        logits = model(image.requires_grad_())
    if not maps:
        raise UnsupportedError(
            f"no layer of {model.name} is a map of the image; name one with --layer"
        )
    gradients = torch.autograd.grad(
        model.strongest(logits).sum(), [tensor for tensor, _, _ in maps], allow_unused=True
    )
    used = [
        (gradient, group)
        for gradient, (_, _, group) in zip(gradients, maps, strict=True)
        # Attention of tokens to tokens is square, and no map.
        if gradient is not None
        and not (gradient.ndim == 4 and gradient.shape[2] == gradient.shape[3] in tokens)
    ]
    if not used:
        raise UnsupportedError(
            f"no layer of {model.name} that is a map of the image reaches its output; name one "
            "with --layer"
        )
    last = used[-1]
    # Tensors of another shape (queries and keys, say) are inside a block, not its output.
    reaching = [
        i
        for i, (gradient, _) in enumerate(used)
        if gradient.shape == last[0].shape and bool(as_spatial(gradient, image).any())
    ]
    chosen = reaching[-1] if reaching else len(used) - 1
    outermost = [min(group, key=lambda run: run[0].count(".")) for _, group in used[: chosen + 1]]
    return [name if run == runs[name] else f"{name}#{run}" for name, run in outermost]
