"""Networks by name: what ``--arch`` gives, and torchvision's recognised by their weights."""

import inspect
import re
from collections.abc import Callable, Collection, Mapping
from difflib import get_close_matches
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from math import isqrt
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.overrides import TorchFunctionMode

from saliency_audit.errors import InputError, lookup
from saliency_audit.importable import importable, namesake
from saliency_audit.models.files import one_line
from saliency_audit.models.tensors import StateDict, auxiliary

Build = Callable[..., nn.Module]


class _OnMeta(TorchFunctionMode):
    """Weights are made without memory or values, while what is computed from numbers stays real.

    ``torch.device("meta")`` would take the arithmetic of RegNet's constructor along.
    """

    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        if function in (torch.empty, torch.zeros, torch.ones, torch.randn, torch.full):
            kwargs["device"] = kwargs.get("device") or "meta"
        return function(*args, **kwargs)


def import_torchvision_models() -> Any:
    """``torchvision.models``, only when asked for: importing it takes seconds."""
    return import_module("torchvision.models")


def torchvision_names() -> list[str]:
    """Names of torchvision's image classifiers."""
    models = import_torchvision_models()
    return list(models.list_models(module=models))


def torchvision_name(name: str) -> str:
    """The name itself, if torchvision has such a classifier.

    Raises:
        InputError: it has not; the message suggests the nearest.
    """
    return _known("torchvision model", torchvision_names(), name)


def builder(arch: str) -> Build:
    """How to build an architecture: ``torchvision:NAME``, ``timm:NAME`` or ``package:factory``.

    Args:
        arch: what ``--arch`` says.

    Returns:
        A function that builds it with fresh weights; it may take ``num_classes``.

    Raises:
        InputError: there is no such architecture.
    """
    where, _, name = arch.partition(":")
    if where == "torchvision" and name:
        name = torchvision_name(name)
        return lambda **options: torchvision_model(name, **options)
    if where == "timm" and name:
        timm, name = import_timm(), timm_name(name)
        return lambda **options: timm.create_model(name, **options)
    if where and name:
        return _factory(arch, where, name)
    raise InputError(
        f"--arch is '{arch}'; give torchvision:NAME, timm:NAME or package.module:factory"
    )


def torchvision_model(name: str, **options: Any) -> nn.Module:
    """A torchvision classifier with fresh weights."""
    if name in ("googlenet", "inception_v3"):
        # Its own default is slow, and warns that it will change.
        options.setdefault("init_weights", False)
    network: nn.Module = import_torchvision_models().get_model(name, weights=None, **options)
    return network


def import_timm() -> Any:
    """The timm package.

    Raises:
        InputError: it is not installed.
    """
    if find_spec("timm") is None:
        raise InputError("timm is not installed: pip install 'saliency-audit[timm]'")
    return import_module("timm")


def timm_name(name: str) -> str:
    """The name itself, if timm has such a model.

    Raises:
        InputError: it has not, or is not installed; the message suggests the nearest.
    """
    timm = import_timm()
    return name if timm.is_model(name) else _known("timm model", timm.list_models(), name)


def _known(kind: str, names: list[str], name: str) -> str:
    try:
        return lookup(kind, {known: known for known in names}, name)
    except InputError as error:
        # All the names that are known would fill the screen; the nearest is what helps.
        raise InputError(str(error).partition(" Known:")[0]) from None


def _factory(arch: str, module_name: str, name: str) -> Build:
    with importable(Path.cwd()):
        try:
            module = import_module(module_name)
        except Exception as error:
            raise InputError(
                f"--arch {arch}: import {module_name} failed with {one_line(error)}"
                f"{namesake(module_name, Path.cwd())}"
            ) from error
    factory = getattr(module, name, None)
    if not callable(factory):
        callables = [n for n in dir(module) if n[0] != "_" and callable(getattr(module, n))]
        near = get_close_matches(name, callables, n=3, cutoff=0.3) or callables[:3]
        raise InputError(
            f"--arch {arch}: {module_name} has no callable '{name}'; nearest: "
            f"{', '.join(near) or 'none'}{namesake(module_name, Path.cwd())}"
        )
    return lambda **options: _called(arch, factory, options)


def _called(arch: str, factory: Callable[..., Any], options: dict[str, Any]) -> nn.Module:
    try:
        taken = inspect.signature(factory).parameters if options else {}
        with importable(Path.cwd()):
            network = factory(**{key: value for key, value in options.items() if key in taken})
    except Exception as error:
        raise InputError(f"--arch {arch}: calling it failed with {one_line(error)}") from error
    if not isinstance(network, nn.Module):
        raise InputError(
            f"--arch {arch} returns a {type(network).__name__}; it must return a torch.nn.Module"
        )
    return uncompiled(network)


def uncompiled(network: nn.Module) -> nn.Module:
    """The network itself of one that ``torch.compile`` was put around, or around parts of it.

    Compiled code runs no hooks and hides its layers; the weights and the outputs are the same.
    """
    network = getattr(network, "_orig_mod", network)
    for module in list(network.modules()):
        module._compiled_call_impl = None
        for name, child in list(module.named_children()):
            if hasattr(child, "_orig_mod"):
                setattr(module, name, uncompiled(child))
    return network


def heads(network: nn.Module) -> Collection[str]:
    """Names of the layers that timm says give the logits; LeViT and distilled ones have two."""
    config = getattr(network, "pretrained_cfg", None)
    names = config.get("classifier") if isinstance(config, Mapping) else None
    return (names,) if isinstance(names, str) else tuple(names or ())


def fitting_options(
    state: StateDict, expected: StateDict, *, heads: Collection[str] = ()
) -> dict[str, int] | None:
    """Options under which an architecture has the shapes of a state dict.

    Args:
        state: the weights.
        expected: the state dict of the architecture as it is by default.
        heads: names of its last layers, where there are several.

    Returns:
        ``num_classes`` where only the head has another number of outputs, ``image_size`` where a
        torchvision transformer was trained on images of another size; empty where everything fits
        as it is, None where the weights belong to another architecture.
    """
    if _named(state) != _named(expected):
        return None
    options = {}
    lazy = {n for n, tensor in expected.items() if is_lazy(tensor)}
    unlike = {n for n in state if n in expected and n not in lazy}
    unlike = {n for n in unlike if state[n].shape != expected[n].shape}
    position = "encoder.pos_embedding"
    if position in unlike:
        found, usual = state[position].shape, expected[position].shape
        if len(found) != len(usual) or found[::2] != usual[::2]:
            return None
        tokens, patch = found[1] - 1, expected["conv_proj.weight"].shape[-1]
        if tokens < 1 or isqrt(tokens) ** 2 != tokens:
            return None
        options["image_size"] = isqrt(tokens) * patch
        unlike.remove(position)
    if unlike:
        outputs = {_outputs_if_head(state[n], expected[n]) for n in unlike}
        parents = {n.rpartition(".")[0] for n in unlike if not auxiliary(n)}
        known = len(parents) == 1 or parents <= set(heads)
        if len(outputs) != 1 or not known or None in outputs:
            return None
        options["num_classes"] = next(size for size in outputs if size is not None)
    return options


def _named(state: StateDict) -> set[str]:
    """Names that tell an architecture: old checkpoints lack the counters."""
    return {n for n in state if not auxiliary(n) and not n.endswith(".num_batches_tracked")}


def _outputs_if_head(tensor: Tensor, expected: Tensor) -> int | None:
    """Number of outputs, if that alone is what the two shapes differ in."""
    alike = tensor.ndim == expected.ndim > 0 and tensor.shape[1:] == expected.shape[1:]
    return tensor.shape[0] if alike else None


def recognise(state: StateDict) -> tuple[str, dict[str, int]] | None:
    """Find the torchvision classifier that a state dict belongs to, by names and shapes.

    No two of them have the same.

    Args:
        state: the weights.

    Returns:
        Its name, and the options that it must be built with; None if it is none of torchvision's.
    """
    models = import_torchvision_models()
    families: dict[str, list[str]] = {}
    for name in torchvision_names():
        families.setdefault(models.get_model_builder(name).__module__, []).append(name)
    for members in families.values():
        # Networks of one family name their tensors alike; building all of them takes long.
        theirs, ours = _patterns(_meta_state(members[0])), _patterns(state)
        if 2 * len(theirs & ours) < len(theirs | ours):
            continue
        for name in members:
            options = fitting_options(state, _meta_state(name))
            if options is not None:
                return name, options
    return None


TIMM_COMMON = (
    *("resnet18", "resnet34", "resnet26", "resnet50", "resnet101", "resnext50_32x4d"),
    *("efficientnet_b0", "efficientnet_b1", "mobilenetv3_small_100", "mobilenetv3_large_100"),
    *("vit_tiny_patch16_224", "vit_small_patch16_224", "vit_base_patch16_224"),
    *("deit_tiny_patch16_224", "convnext_tiny", "swin_tiny_patch4_window7_224", "regnety_016"),
)
"""Those that are tried: building all of timm takes minutes."""


def recognise_timm(state: StateDict) -> str:
    """``timm:NAME`` of a common classifier that a state dict belongs to; empty for none.

    Args:
        state: the weights.
    """
    if find_spec("timm") is None:
        return ""
    timm = import_timm()
    for name in filter(timm.is_model, TIMM_COMMON):
        with _OnMeta():
            network = timm.create_model(name)
        if fitting_options(state, network.state_dict(), heads=heads(network)) is not None:
            return f"timm:{name}"
    return ""


def _patterns(state: StateDict) -> set[str]:
    """Names without their numbers."""
    return {re.sub(r"\d+", "#", name) for name in _named(state)}


@cache
def _meta_state(name: str) -> StateDict:
    with _OnMeta():
        return torchvision_model(name).state_dict()
