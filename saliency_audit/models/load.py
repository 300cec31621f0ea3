"""From what the user calls a model to a ``Classifier``."""

import copy
import hashlib
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from math import isqrt
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import torch
from torch import nn

from saliency_audit.errors import InputError
from saliency_audit.models.architectures import torchvision_names
from saliency_audit.models.checkpoints import from_checkpoint
from saliency_audit.models.classifier import Classifier
from saliency_audit.models.exported import load_exported
from saliency_audit.models.files import Kind, kind_of, sha256_of
from saliency_audit.models.found import Found
from saliency_audit.models.named import bundled, from_timm, from_torchvision
from saliency_audit.models.save import save
from saliency_audit.models.scalars import Scalar
from saliency_audit.models.tensors import fill, read_checkpoint
from saliency_audit.models.torchscript import load_torchscript

BUNDLED = "bundled:fashion-mnist"


def load(
    spec: str | None,
    *,
    arch: str | None = None,
    size: int | None = None,
    mean: float | Sequence[float] | None = None,
    std: float | Sequence[float] | None = None,
    channels: int | None = None,
    trust_pickle: bool = False,
    precision: Literal["fp32", "bf16"] = "fp32",
    layer: str | None = None,
    device: torch.device | str = "cpu",
) -> Classifier:
    """Load any classifier.

    Args:
        spec: None or ``bundled:fashion-mnist``, a model file, ``torchvision:NAME[@WEIGHTS]`` or
            ``timm:NAME``.
        arch: architecture of a state dict: ``torchvision:NAME``, ``timm:NAME`` or
            ``package.module:factory``; None recognises torchvision's own.
        size: height and width of an image; None takes what the source says, or assumes it.
        mean: per channel, in pixel units; likewise.
        std: likewise.
        channels: of an image; likewise.
        trust_pickle: run code that the file asks to be run.
        precision: of the network.
        layer: name of the layer that Grad-CAM reads.
        device: where it will run.

    Returns:
        The classifier. Its ``notes`` are lines that tell the user what was found and assumed.

    Raises:
        InputError: what was given cannot be loaded, in one line with the fix.
    """
    for option, value in (("size", size), ("channels", channels)):
        if value is not None and value < 1:
            raise InputError(f"--{option} is {value}; it must be at least 1")
    found = _find(spec, arch=arch, trust_pickle=trust_pickle, device=device)
    _refuse_broken_weights(found)
    shape = _input_shape(found, size=size, channels=channels)
    if found.name == BUNDLED and shape != found.shape:
        raise InputError(
            f"the bundled model takes 28x28 grey images, not {shape[1]}x{shape[2]} of {shape[0]} "
            "channels; leave --size and --channels"
        )
    _say_normalisation(found, mean, std, channels=shape[0])
    classifier = Classifier(
        found.network,
        input_shape=shape,
        mean=next(value for value in (mean, found.mean, 0.0) if value is not None),
        std=next(value for value in (std, found.std, 1.0) if value is not None),
        name=found.name,
        format=found.format,
        precision=precision,
        layer=layer,
    )
    classifier.notes = found.notes
    classifier.source = spec or BUNDLED
    classifier.sha256 = found.sha256 or _sha256_of_weights(found.network)
    # The crop that the weights were published with says nothing about another size.
    classifier.resize = found.resize if shape[1:] == found.shape[1:] else None
    return classifier.eval().to(device)


def reload(
    path: Path, model: Classifier, *, scalars: Mapping[str, Scalar] | None = None
) -> Classifier:
    """A saved variant of a model that is already loaded, with that model's preprocessing.

    Args:
        path: written by ``save`` or ``save_state_dict``.
        model: the model it was made from.
        scalars: how explained scalars are read off its output; None means as for the model.

    Returns:
        The classifier, on the model's device.
    """
    kind = kind_of(path)
    if kind in ("exported", "torchscript"):
        found = _from_program(path, kind, trust_pickle=False, device=model.mean.device)
    else:
        state, _ = read_checkpoint(path, kind)
        found = Found(copy.deepcopy(model.network), path.name, format=model.format)
        assert isinstance(state, dict)
        fill(found.network, state, file=str(path), arch=model.name)
    network = found.network.to(model.mean.device)
    return model.replaced(
        network,
        format=found.format,
        name=path.stem,
        scalars=model.scalars if scalars is None else scalars,
    ).eval()


def copied(model: Classifier) -> nn.Module:
    """A copy of the model's network with weights of its own."""
    if model.format != "exported":
        return copy.deepcopy(model.network)
    # A loaded program refuses to be copied in memory.
    with TemporaryDirectory() as scratch:
        path = Path(scratch) / "copy.pt2"
        save(model.network, path, format=model.format, input_shape=model.input_shape)
        return reload(path, model).network


def _find(
    spec: str | None, *, arch: str | None, trust_pickle: bool, device: torch.device | str
) -> Found:
    where, _, name = (spec or BUNDLED).partition(":")
    by_name = {"torchvision": from_torchvision, "timm": from_timm}
    if spec is None or spec == BUNDLED or (where in by_name and name):
        if arch is not None:
            raise InputError(f"--arch is for state dicts, and {spec or BUNDLED} is none; leave it")
        return bundled() if spec in (None, BUNDLED) else by_name[where](name)
    path = Path(spec)
    if not path.exists():
        near = get_close_matches(spec, torchvision_names(), n=1, cutoff=0.8)
        hint = (
            f"did you mean torchvision:{near[0]}?"
            if near
            else f"give a file, torchvision:NAME, timm:NAME or {BUNDLED}"
        )
        raise InputError(f"model file '{spec}' does not exist; {hint}")
    kind = kind_of(path)
    if kind in ("exported", "torchscript"):
        found = _from_program(path, kind, trust_pickle=trust_pickle, device=device)
        if arch is not None:
            raise InputError(
                f"--arch is for state dicts, and '{path}' is a {kind} program; leave it"
            )
    else:
        found = from_checkpoint(path, kind, arch=arch, trust_pickle=trust_pickle)
    found.sha256 = sha256_of(path)
    return found


def _from_program(
    path: Path, kind: Kind, *, trust_pickle: bool, device: torch.device | str
) -> Found:
    if kind == "torchscript":
        network = load_torchscript(path, trust_pickle=trust_pickle)
        return Found(network, path.name, format="torchscript")
    network, (channels, height, width), most = load_exported(
        path, trust_pickle=trust_pickle, device=device
    )
    found = Found(network, path.name, format="exported", shape=(channels, height, width))
    if most is not None:
        found.notes.append(
            f"{path.name} takes at most {most} images at a time: give --batch-size {most}"
        )
    return found


def _refuse_broken_weights(found: Found) -> None:
    for name, tensor in found.network.state_dict().items():
        if torch.is_tensor(tensor) and tensor.is_floating_point() and not tensor.isfinite().all():
            raise InputError(
                f"{found.name} has NaN or infinite weights in {name}; was its training cut short?"
            )


def _input_shape(found: Found, *, size: int | None, channels: int | None) -> tuple[int, int, int]:
    known_channels, height, width = found.shape
    if found.format == "exported":
        for option, value, fixed in (
            ("channels", channels, known_channels),
            ("size", size, height),
            ("size", size, width),
        ):
            if value is not None and fixed is not None and value != fixed:
                raise InputError(
                    f"--{option} is {value} but {found.name} was exported for {fixed}; leave it, "
                    "or export the model for that"
                )
    seen_channels, seen_side = _read_from_weights(found.network)
    chosen = channels or known_channels or seen_channels or 3
    if (channels or known_channels or seen_channels) is None:
        found.notes.append("3 channels assumed: give --channels if the model takes another number")
    side = size or seen_side or (28 if chosen == 1 else 224)
    if size is not None:
        return chosen, size, size
    if height is None and seen_side is not None:
        found.notes.append(f"{chosen}x{side}x{side} read off the weight of the first layer")
    elif height is None:
        found.notes.append(f"size {side} assumed: give --size if the model takes another")
    return chosen, height or side, width or side


def _read_from_weights(network: nn.Module) -> tuple[int | None, int | None]:
    """Channels, and the side of the image where the first layer fixes it, from its weight."""
    for name, weight in network.named_parameters():
        if weight.ndim == 4:
            return weight.shape[1], None
        if weight.ndim == 2 and name.endswith("weight"):
            for channels in (1, 3):
                side = isqrt(weight.shape[1] // channels)
                # A few inputs are pooled features rather than an image.
                if channels * side * side == weight.shape[1] and side >= 8:
                    return channels, side
            return None, None
    return None, None


def _say_normalisation(found: Found, mean: object, std: object, *, channels: int) -> None:
    assumed = [
        (option, value)
        for option, given, known, value in (
            ("mean", mean, found.mean, 0),
            ("std", std, found.std, 1),
        )
        if given is None and known is None
    ]
    if assumed:
        what = " and ".join(f"{option} {value}" for option, value in assumed)
        usual = f" ({found.usual})" if channels == 3 else ""
        options = " and ".join(f"--{option}" for option, _ in assumed)
        found.notes.append(
            f"{what} assumed: give {options} if the model was trained with others{usual}"
        )


def _sha256_of_weights(network: nn.Module) -> str:
    digest = hashlib.sha256()
    for name, tensor in network.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()
