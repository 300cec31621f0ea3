"""State dicts become networks: by ``--arch``, or recognised by their keys and shapes."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from torch import nn

from saliency_audit.errors import InputError
from saliency_audit.models.activation import note
from saliency_audit.models.architectures import (
    builder,
    fitting_options,
    heads,
    recognise,
    recognise_timm,
)
from saliency_audit.models.files import Kind
from saliency_audit.models.found import Found
from saliency_audit.models.named import bundled, default_weights, settle_timm
from saliency_audit.models.tensors import (
    Checkpoint,
    StateDict,
    fill,
    inside,
    read_checkpoint,
    without_ema,
    without_prefix,
)


def from_checkpoint(
    path: Path, kind: Kind, *, arch: str | None, trust_pickle: bool, ema: bool = False
) -> Found:
    """The network of a checkpoint, with its weights.

    Args:
        path: the file.
        kind: "safetensors" or "checkpoint".
        arch: its architecture; None recognises torchvision's own.
        trust_pickle: run code that the file asks to be run.
        ema: take the EMA copy of the weights.

    Raises:
        InputError: it holds no weights, or they fit no architecture.
    """
    read = read_checkpoint(path, kind, trust_pickle=trust_pickle, ema=ema)
    if isinstance(read.state, nn.Module):
        if arch is not None:
            raise InputError(f"--arch is for state dicts, and '{path}' is a whole module; leave it")
        state, copy = StateDict(), read.ema
    else:
        state, copy = _plain_or_ema(read, arch, ema=ema)
    if ema and copy is None:
        raise InputError(f"--weights is ema, but '{path}' has no EMA copy of its weights; leave it")
    if isinstance(read.state, nn.Module):
        found = Found(read.state, path.name)
    elif arch is None:
        found = _recognised(path, state)
    else:
        found = _built(path, state, arch)
    if read.entry is not None:
        found.notes.append(f"weights read from entry '{read.entry}' of {path.name}")
    if ema:
        found.notes.append(f"these are the EMA copy of the weights in {path.name}")
    elif copy is not None:
        found.notes.append(
            f"{path.name} has an EMA copy of the weights, too ('{copy}'): --weights ema takes it"
        )
    if read.activation is not None:
        found.activation = read.activation
        found.notes.append(note(path.name, read.activation))
    return found


def _plain_or_ema(read: Checkpoint, arch: str | None, *, ema: bool) -> tuple[StateDict, str | None]:
    """The weights or, with ``ema``, their copy; and where the copy is, if there is one."""
    assert isinstance(read.state, dict)
    if read.ema is not None and ema:
        return read.state, read.ema
    plain, copy = without_ema(read.state)
    # The network may have modules that are called so.
    if copy and arch is not None and without_ema(builder(arch)().state_dict())[1]:
        plain, copy = read.state, {}
    return (copy if ema else plain), read.ema or next(iter(copy), None)


def _built(path: Path, state: StateDict, arch: str) -> Found:
    build = builder(arch)
    network = build()
    expected = network.state_dict()
    state, left_out = inside(without_prefix(state, expected.keys()), expected.keys())
    options = fitting_options(state, expected, heads=heads(network)) or {}
    if options:
        network = build(**options)
    try:
        fill(network, state, file=str(path), arch=f"--arch {arch}")
    except InputError as error:
        fits = _fitting(state)
        raise InputError(f"{error}; it fits --arch {fits}" if fits else str(error)) from error
    found = Found(network, path.name)
    _say_left_out(found, left_out)
    return of_library(found, arch, options)


def _fitting(state: StateDict) -> str:
    """An architecture that a state dict does fit, of those whose names are known by heart."""
    state = without_prefix(state)
    if fitting_options(state, bundled().network.state_dict()) is not None:
        return "saliency_audit.assets:FashionMnistCnn"
    found = recognise(state)
    if found is not None:
        return f"torchvision:{found[0]}"
    return recognise_timm(state)


def _recognised(path: Path, state: StateDict) -> Found:
    state = without_prefix(state)
    like_bundled = bundled()
    if fitting_options(state, like_bundled.network.state_dict()) == {}:
        fill(like_bundled.network, state, file=str(path), arch=like_bundled.name)
        like_bundled.notes.append(f"recognised as {like_bundled.name} by its keys and shapes")
        return replace(like_bundled, name=path.name, class_names=None)
    recognised, left_out = recognise(state), list[str]()
    for prefix in () if recognised else _prefixes(state):
        part = {n.removeprefix(prefix): t for n, t in state.items() if n.startswith(prefix)}
        recognised = recognise(part)
        if recognised is not None:
            left_out = [name for name in state if not name.startswith(prefix)]
            state = part
            break
    if recognised is None:
        shown = ", ".join(list(state)[:4])
        raise InputError(
            f"'{path}' is a state dict of {len(state)} tensors ({shown}, ...) that fits no "
            "torchvision classifier; give --arch torchvision:NAME, timm:NAME or "
            "package.module:factory"
        )
    name, options = recognised
    arch = f"torchvision:{name}"
    network = builder(arch)(**options)
    fill(network, state, file=str(path), arch=arch)
    found = Found(network, path.name)
    found.notes.append(f"recognised as {arch} by its keys and shapes")
    _say_left_out(found, left_out)
    return of_library(found, arch, options)


def _prefixes(state: StateDict) -> list[str]:
    """What a network's names may start with, the most frequent of each depth."""
    prefixes = Counter(
        ".".join(name.split(".")[:depth]) + "."
        for name in state
        for depth in range(1, min(4, name.count(".") + 1))
    )
    by_depth = {prefix.count("."): prefix for prefix, _ in reversed(prefixes.most_common())}
    return list(by_depth.values())


def _say_left_out(found: Found, names: list[str]) -> None:
    if names:
        shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
        found.notes.append(f"left out of {found.name}, as no part of the network: {shown}")


def of_library(found: Found, arch: str, options: Mapping[str, int]) -> Found:
    """What was found, with the input of torchvision's or timm's own weights of the architecture.

    Args:
        found: is changed.
        arch: what ``--arch`` says.
        options: that it was built with.
    """
    library, _, name = arch.partition(":")
    if library == "torchvision":
        weights = default_weights(name)
        preset = weights.transforms()
        if "num_classes" not in options:
            found.class_names = weights.meta["categories"]
        side = options.get("image_size", preset.crop_size[0])
        found.shape = (3, side, side)
        found.resize = preset.resize_size[0] if side == preset.crop_size[0] else None
        found.mean, found.std = preset.mean, preset.std
        if name in ("googlenet", "inception_v3"):
            # torchvision's own weights map ImageNet's normalisation to this one inside.
            found.mean = found.std = [0.5] * 3
    elif library == "timm":
        settle_timm(found)
    else:
        return found
    found.like = arch
    return found
