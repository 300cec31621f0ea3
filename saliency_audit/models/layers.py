"""Look inside a network: its layers by name, and its classification head.

Names are those of ``model.network.named_modules()``. Of a layer that runs several times,
``relu#2`` is the second run and ``relu`` the last.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from typing import Any

import torch
from torch import Tensor, nn

from saliency_audit.errors import InputError, UnsupportedError
from saliency_audit.models.classifier import Classifier


def layer_names(model: Classifier) -> dict[nn.Module, str]:
    """Every submodule of the network with its name, outermost first.

    Raises:
        UnsupportedError: the format gives no access to layers.
    """
    if model.format == "torchscript":
        raise UnsupportedError(
            "TorchScript gives no access to layers: "
            "give the state dict with --arch, or a .pt2 program"
        )
    return {module: name for name, module in model.network.named_modules() if name}


def layer_named(model: Classifier, layer: str) -> nn.Module:
    """The submodule of the network with that name, whichever of its runs is meant.

    Raises:
        UnsupportedError: the format gives no access to layers.
        InputError: there is no such layer; the message has the nearest names.
    """
    names = list(layer_names(model).values())
    modules = dict(model.network.named_modules(remove_duplicate=False))
    name, _ = name_and_run(layer)
    if name and name in modules:
        module: nn.Module = modules[name]
        return module
    near = get_close_matches(layer, names, n=3, cutoff=0.4) or names[-3:]
    raise InputError(f"{model.name} has no layer '{layer}'; nearest: {', '.join(near)}")


def moved_layer(layer: str | None, network: nn.Module) -> str | None:
    """Name of a layer in a network that another one was put into.

    Args:
        layer: its name in the network that was put in; None for none.
        network: whose ``network``, or whose ``network.network`` and so on, that is; or itself.

    Returns:
        Its name there; as it is where there is none.

    >>> moved_layer("0#2", nn.ModuleDict({"network": nn.Sequential(nn.ReLU())}))
    'network.0#2'
    """
    if layer is None:
        return None
    name, run = name_and_run(layer)
    names = [n for n, _ in network.named_modules() if n.endswith(name)]
    inside = [n for n in names if set(n.removesuffix(name).split(".")) <= {"network", ""}]
    found = min(inside, key=len, default=name)
    return f"{found}#{run}" if run else found


def activations(model: Classifier, images: Tensor, layer: str) -> tuple[Tensor, Tensor]:
    """Logits, and the output of one layer on the way to them.

    The output is part of the graph of the logits, whether or not the images are, so
    ``torch.autograd.grad(logits.sum(), activation)`` works. Of a layer that returns several tensors
    the first is taken.

    Args:
        model: the classifier.
        images: ``(n, c, h, w)`` in [0, 1].
        layer: name of the layer, with the run that is meant (``relu#2``) if not the last.

    Returns:
        Logits ``(n, classes)`` and the layer's output, in the layer's own shape.

    Raises:
        UnsupportedError: the format gives no access to layers.
        InputError: there is no such layer, or it does not run or returns no tensor.
    """
    seen: list[Tensor] = []

    def keep(_: nn.Module, __: Any, output: Any) -> Any:
        tensor = first_tensor(output)
        if tensor is None:
            return output
        if not tensor.requires_grad and tensor.is_floating_point():
            tensor = tensor.detach().requires_grad_()
        seen.append(tensor)
        # The network goes on with a copy: an in-place ReLU must not change what was kept.
        return with_first_tensor(output, tensor.clone())

    with hooked([layer_named(model, layer)], keep), torch.enable_grad():
        logits = model(images)
    if not seen:
        raise InputError(f"layer '{layer}' of {model.name} does not run or returns no tensor")
    _, run = name_and_run(layer)
    if run > len(seen):
        name = layer.rpartition("#")[0]
        raise InputError(f"layer '{name}' of {model.name} runs {len(seen)} times, not {run}")
    return logits, seen[run - 1]


def head(model: Classifier, images: Tensor) -> str:
    """Name of the linear layer that produces the logits, or what the softmax is of.

    Args:
        model: the classifier.
        images: a few images, ``(n, c, h, w)``, on which that is verified.

    Raises:
        UnsupportedError: the logits are not the output of one module that owns a weight of shape
            (classes, features).
    """
    names = layer_names(model)
    owners = [module for module in names if _weight(module) is not None]
    runs: list[tuple[nn.Module, Tensor]] = []

    def keep(module: nn.Module, _: Any, output: Any) -> None:
        if isinstance(output, Tensor):
            runs.append((module, output))

    with hooked(owners, keep), torch.no_grad():
        logits = model(images)
    for module, output in reversed(runs):
        weight = _weight(module)
        if weight is None or output.shape != logits.shape or len(weight) != logits.shape[1]:
            continue
        _, inputs = features(model, images, names[module])
        bias = getattr(module, "bias", None)
        with torch.no_grad():
            linear = nn.functional.linear(inputs.to(weight.dtype), weight, bias).to(logits.dtype)
            if model.probabilities and model.outputs.exclusive:
                linear = linear.log_softmax(1)
        loose = 5e-2 if model.coarse else 1e-4
        if torch.allclose(linear, logits, rtol=loose, atol=loose * float(logits.abs().max())):
            return names[module]
    raise UnsupportedError(
        f"the logits of {model.name} are not the output of one linear layer with its own weight"
    )


def features(model: Classifier, images: Tensor, head: str) -> tuple[Tensor, Tensor]:
    """Logits, and what the head turns into them.

    Args:
        model: the classifier.
        images: ``(n, c, h, w)`` in [0, 1].
        head: name of the head.

    Returns:
        Logits ``(n, classes)`` and features ``(n, features)``, both in the graph of the images.

    Raises:
        UnsupportedError: the format gives no access to layers, or the layer reads no
            ``(n, features)``.
        InputError: there is no such layer.
    """
    seen: list[Tensor] = []

    def keep(_: nn.Module, args: tuple[Any, ...]) -> None:
        tensor = first_tensor(args)
        if tensor is not None:
            seen.append(tensor)

    handle = layer_named(model, head).register_forward_pre_hook(keep)
    try:
        logits = model(images)
    finally:
        handle.remove()
    if not seen or seen[-1].ndim != 2:
        raise UnsupportedError(f"layer '{head}' of {model.name} does not read (n, features)")
    return logits, seen[-1]


@contextmanager
def hooked(modules: Iterable[nn.Module], hook: Callable[..., Any]) -> Iterator[None]:
    """Inside: ``hook(module, inputs, output)`` runs after each of the modules."""
    handles = [module.register_forward_hook(hook) for module in modules]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def name_and_run(layer: str) -> tuple[str, int]:
    """A layer's name, and which of its runs is meant, from 1; 0 for the last.

    >>> name_and_run("relu#2"), name_and_run("relu")
    (('relu', 2), ('relu', 0))
    """
    name, _, run = layer.rpartition("#")
    return (name, int(run)) if name and run.isdigit() and int(run) else (layer, 0)


def first_tensor(output: Any) -> Tensor | None:
    """A layer's output, or the first of its outputs; None where that is no tensor."""
    first = output[0] if type(output) in (tuple, list) and output else output
    return first if isinstance(first, Tensor) else None


def with_first_tensor(output: Any, tensor: Tensor) -> Any:
    """A layer's output with ``first_tensor`` replaced."""
    return tensor if isinstance(output, Tensor) else type(output)((tensor, *output[1:]))


def _weight(module: nn.Module) -> Tensor | None:
    weight = getattr(module, "weight", None)
    return weight if isinstance(weight, Tensor) and weight.ndim == 2 else None
