"""From what the user calls a model to a ``Classifier``."""

import copy
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
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
from saliency_audit.models.hugging_face import from_hugging_face
from saliency_audit.models.named import bundled, from_timm, from_torchvision
from saliency_audit.models.save import save
from saliency_audit.models.scalars import Scalar
from saliency_audit.models.tensors import fill, read_checkpoint
from saliency_audit.models.torchscript import load_torchscript
from saliency_audit.models.wrap import wrapped
from saliency_audit.outputs import SOFTMAX

BUNDLED = "bundled:fashion-mnist"


def load(
    spec: str | None,
    *,
    arch: str | None = None,
    size: int | Sequence[int] | None = None,
    mean: float | Sequence[float] | None = None,
    std: float | Sequence[float] | None = None,
    channels: int | None = None,
    trust_pickle: bool = False,
    weights: str | None = None,
    precision: Literal["fp32", "bf16"] = "fp32",
    layer: str | None = None,
    output: str | None = None,
    outputs: str = SOFTMAX.name,
    device: torch.device | str = "cpu",
    channels_last: bool = False,
) -> Classifier:
    """Load any classifier.

    Args:
        spec: None or ``bundled:fashion-mnist``, a model file, ``torchvision:NAME[@WEIGHTS]``,
            ``timm:NAME``, or ``hf:FOLDER`` or ``hf:NAME``.
        arch: architecture of a state dict: ``torchvision:NAME``, ``timm:NAME`` or
            ``package.module:factory``; None recognises torchvision's own.
        size: side of an image, or its height and width; None takes what the source says, or
            assumes it.
        mean: per channel, in pixel units; likewise.
        std: likewise.
        channels: of an image; likewise.
        trust_pickle: run code that the file asks to be run.
        weights: "ema" takes the EMA copy of a checkpoint's weights.
        precision: of the network.
        layer: name of the layer that Grad-CAM reads.
        output: which tensor the logits are, by name or number, of a model that returns several.
        outputs: what they say, a name in ``OUTPUTS``.
        device: where it will run.
        channels_last: lay the weights of convolutions out with a pixel's channels side by side,
            which many CPUs compute faster; outputs change by round-off.

    Returns:
        The classifier. Its ``notes`` are lines that tell the user what was found and assumed.

    Raises:
        InputError: what was given cannot be loaded, in one line with the fix.
    """
    found = _find(spec, arch=arch, trust_pickle=trust_pickle, ema=weights == "ema", device=device)
    classifier = wrapped(
        found,
        size=size,
        channels=channels,
        mean=mean,
        std=std,
        precision=precision,
        layer=layer,
        output=output,
        outputs=outputs,
        device=device,
        channels_last=channels_last,
    )
    if found.name == BUNDLED and classifier.input_shape != found.shape:
        taken, height, width = classifier.input_shape
        raise InputError(
            f"the bundled model takes 28x28 grey images, not {height}x{width} of {taken} "
            "channels; leave --size and --channels"
        )
    classifier.source = spec or BUNDLED
    return classifier


def reload(
    path: Path, model: Classifier, *, scalars: Mapping[str, Scalar] | None = None
) -> Classifier:
    """A saved variant of a model that is already loaded, with that model's preprocessing.

    A program runs what it was saved with; weights run what their file says they were trained with,
    else what the model runs.

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
        read = read_checkpoint(path, kind)
        found = Found(copy.deepcopy(model.network), path.name, format=model.format)
        found.activation = read.activation or model.activation
        assert isinstance(read.state, dict)
        fill(found.network, read.state, file=str(path), arch=model.name)
    network = found.network.to(model.mean.device)
    variant = model.replaced(
        network,
        format=found.format,
        name=path.stem,
        scalars=model.scalars if scalars is None else scalars,
        activation=found.activation,
        dtype=found.dtype or model.dtype,
    ).eval()
    variant.sha256 = sha256_of(path)
    return variant


def copied(model: Classifier) -> nn.Module:
    """A copy of the model's network with weights of its own."""
    if model.format != "exported":
        return copy.deepcopy(model.network)
    # A loaded program refuses to be copied in memory.
    with TemporaryDirectory() as scratch:
        path = Path(scratch) / "copy.pt2"
        save(
            model.network,
            path,
            format=model.format,
            input_shape=model.input_shape,
            dtype=model.dtype,
        )
        return reload(path, model).network


def _find(
    spec: str | None,
    *,
    arch: str | None,
    trust_pickle: bool,
    ema: bool,
    device: torch.device | str,
) -> Found:
    where, _, name = (spec or BUNDLED).partition(":")
    by_name = {
        "torchvision": from_torchvision,
        "timm": from_timm,
        "hf": from_hugging_face,
    }
    if spec is None or spec == BUNDLED or (where in by_name and name):
        if arch is not None:
            raise InputError(f"--arch is for state dicts, and {spec or BUNDLED} is none; leave it")
        if ema:
            raise InputError(f"--weights is for checkpoints; {spec or BUNDLED} is none: leave it")
        return bundled() if spec in (None, BUNDLED) else by_name[where](name)
    path = Path(spec)
    if not path.exists():
        near = get_close_matches(spec, torchvision_names(), n=1, cutoff=0.8)
        hint = (
            f"did you mean torchvision:{near[0]}?"
            if near
            else f"give a file, torchvision:NAME, timm:NAME, hf:FOLDER or {BUNDLED}"
        )
        raise InputError(f"model file '{spec}' does not exist; {hint}")
    kind = kind_of(path)
    if kind in ("exported", "torchscript"):
        found = _from_program(path, kind, trust_pickle=trust_pickle, device=device)
        if arch is not None:
            raise InputError(
                f"--arch is for state dicts, and '{path}' is a program ({kind}) that has its own; "
                "leave it"
            )
        if ema:
            raise InputError(f"--weights is for checkpoints, and '{path}' is a program; leave it")
    else:
        found = from_checkpoint(path, kind, arch=arch, trust_pickle=trust_pickle, ema=ema)
    found.sha256 = sha256_of(path)
    return found


def _from_program(
    path: Path, kind: Kind, *, trust_pickle: bool, device: torch.device | str
) -> Found:
    if kind == "torchscript":
        network = load_torchscript(path, trust_pickle=trust_pickle)
        return Found(network, path.name, format="torchscript")
    network, shape, most, dtype = load_exported(path, trust_pickle=trust_pickle, device=device)
    found = Found(network, path.name, format="exported", shape=shape, dtype=dtype)
    if most is not None:
        found.notes.append(
            f"{path.name} takes at most {most} images at a time: give --batch-size {most}"
        )
    return found
