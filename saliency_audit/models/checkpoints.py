"""State dicts become networks: by ``--arch``, or recognised by their keys and shapes."""

from collections.abc import Mapping
from pathlib import Path

from torch import nn

from saliency_audit.errors import InputError
from saliency_audit.models.activation import note
from saliency_audit.models.architectures import builder, fitting_options, recognise
from saliency_audit.models.files import Kind
from saliency_audit.models.found import Found
from saliency_audit.models.named import default_size
from saliency_audit.models.tensors import StateDict, fill, read_checkpoint, without_prefix


def from_checkpoint(path: Path, kind: Kind, *, arch: str | None, trust_pickle: bool) -> Found:
    """The network of a checkpoint, with its weights.

    Args:
        path: the file.
        kind: "safetensors" or "checkpoint".
        arch: its architecture; None recognises torchvision's own.
        trust_pickle: run code that the file asks to be run.

    Raises:
        InputError: it holds no weights, or they fit no architecture.
    """
    read = read_checkpoint(path, kind, trust_pickle=trust_pickle)
    if isinstance(read.state, nn.Module):
        if arch is not None:
            raise InputError(f"--arch is for state dicts, and '{path}' is a whole module; leave it")
        found = Found(read.state, path.name)
    else:
        found = _recognised(path, read.state) if arch is None else _built(path, read.state, arch)
        if read.entry is not None:
            found.notes.append(f"weights read from entry '{read.entry}' of {path.name}")
    if read.activation is not None:
        found.activation = read.activation
        found.notes.append(note(path.name, read.activation))
    return found


def _built(path: Path, state: StateDict, arch: str) -> Found:
    build = builder(arch)
    network = build()
    state = without_prefix(state, network.state_dict().keys())
    options = fitting_options(state, network.state_dict()) or {}
    if options:
        network = build(**options)
    fill(network, state, file=str(path), arch=f"--arch {arch}")
    return of_torchvision(Found(network, path.name), arch, options)


def _recognised(path: Path, state: StateDict) -> Found:
    state = without_prefix(state)
    recognised = recognise(state)
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
    return of_torchvision(found, arch, options)


def of_torchvision(found: Found, arch: str, options: Mapping[str, int]) -> Found:
    """What was found, with what is known of torchvision's architectures if it is one of them.

    Args:
        found: is changed.
        arch: what ``--arch`` says.
        options: that it was built with.
    """
    library, _, name = arch.partition(":")
    if library == "torchvision":
        side = options.get("image_size")
        found.shape = (None, *((side, side) if side else default_size(name)))
        if name in ("googlenet", "inception_v3"):
            # torchvision's own weights map ImageNet's normalisation to this one inside.
            found.usual = "torchvision's weights for it have --mean 0.5 --std 0.5"
    return found
