"""What was found becomes a ``Classifier``: its input and normalisation, given, known or assumed."""

import hashlib
from collections.abc import Sequence
from math import isqrt
from typing import Literal

import torch
from torch import nn
from torch.nn.modules.lazy import LazyModuleMixin
from torch.nn.parameter import is_lazy

from saliency_audit.errors import InputError
from saliency_audit.models.architectures import uncompiled
from saliency_audit.models.channels_last import lay_out_channels_last
from saliency_audit.models.classifier import Classifier, in_eval_mode
from saliency_audit.models.files import one_line
from saliency_audit.models.found import Found
from saliency_audit.models.taken import FAILURES
from saliency_audit.outputs import OUTPUTS


def wrapped(
    found: Found,
    *,
    size: int | Sequence[int] | None,
    channels: int | None,
    mean: float | Sequence[float] | None,
    std: float | Sequence[float] | None,
    precision: Literal["fp32", "bf16"],
    layer: str | None,
    output: str | None,
    outputs: str,
    device: torch.device | str,
    channels_last: bool = False,
) -> Classifier:
    """The classifier around a network, in eval mode.

    Args:
        found: the network; what had to be assumed is added to its notes.
        size: side of an image, or its height and width; None takes what the source says, or
            assumes it.
        channels: of an image; likewise.
        mean: per channel, in pixel units; likewise.
        std: likewise.
        precision: of the network.
        layer: name of the layer that Grad-CAM reads.
        output: which tensor the logits are, of a network that returns several.
        outputs: what they say, a name in ``OUTPUTS``.
        device: where it will run.
        channels_last: lay the weights of convolutions out so; see `lay_out_channels_last`.

    Raises:
        InputError: its weights are not finite, or what was given does not fit it.
    """
    sides = _sides(size)
    for option, value in (("size", min(sides or (1,))), ("channels", channels)):
        if value is not None and value < 1:
            raise InputError(f"--{option} is {value}; it must be at least 1")
    found.network = uncompiled(found.network)
    _refuse_broken_weights(found)
    shape = _input_shape(found, sides=sides, channels=channels)
    _settle_lazy(found, shape)
    _say_normalisation(found, mean, std, channels=shape[0])
    _say_like(found, sides, mean, std)
    classifier = Classifier(
        found.network,
        input_shape=shape,
        mean=next(value for value in (mean, found.mean, 0.0) if value is not None),
        std=next(value for value in (std, found.std, 1.0) if value is not None),
        name=found.name,
        format=found.format,
        precision=precision,
        layer=layer,
        activation=found.activation,
        output=output or "",
        outputs=OUTPUTS[outputs],
        dtype=found.dtype,
    )
    classifier.notes = found.notes
    classifier.assumed = found.assumed
    classifier.class_names = found.class_names
    classifier.sha256 = found.sha256 or _sha256_of_weights(found.network)
    # The crop that the weights were published with says nothing about another size.
    classifier.resize = found.resize if shape[1:] == found.shape[1:] else None
    classifier = classifier.eval().to(device)
    if channels_last:
        lay_out_channels_last(classifier)
    return classifier


def _refuse_broken_weights(found: Found) -> None:
    for name, tensor in found.network.state_dict().items():
        if not torch.is_tensor(tensor) or is_lazy(tensor):
            continue
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise InputError(
                f"{found.name} has NaN or infinite weights in {name}; was its training cut short?"
            )


def _settle_lazy(found: Found, shape: tuple[int, int, int]) -> None:
    """Run lazy layers once, which gives them their shapes and makes ordinary layers of them."""
    if not any(isinstance(module, LazyModuleMixin) for module in found.network.modules()):
        return
    weights = [p.dtype for p in found.network.parameters() if p.is_floating_point()]
    grey = torch.full((2, *shape), 0.5, dtype=found.dtype or weights[0])
    try:
        with torch.no_grad(), in_eval_mode(found.network):
            found.network(grey)
    except FAILURES as error:
        raise InputError(
            f"{found.name} has lazy layers that do not take images of {'x'.join(map(str, shape))} "
            f"({one_line(error)}); give --size and --channels of the images it was trained with"
        ) from error


def _sides(size: int | Sequence[int] | None) -> tuple[int, int] | None:
    """Height and width."""
    if size is None:
        return None
    sides = [size] if isinstance(size, int) else list(size)
    if len(sides) not in (1, 2):
        raise InputError(f"--size is {','.join(map(str, sides))}; give a side, or HEIGHT,WIDTH")
    return sides[0], sides[-1]


def _input_shape(
    found: Found, *, sides: tuple[int, int] | None, channels: int | None
) -> tuple[int, int, int]:
    known_channels, height, width = found.shape
    if found.format == "exported":
        for option, value, fixed in (
            ("channels", channels, known_channels),
            ("size", None if sides is None else sides[0], height),
            ("size", None if sides is None else sides[1], width),
        ):
            if value is not None and fixed is not None and value != fixed:
                raise InputError(
                    f"--{option} is {value} but {found.name} was exported for {fixed}; leave it, "
                    "or export the model for that"
                )
    seen_channels, seen_side = _read_from_weights(found.network)
    chosen = channels or known_channels or seen_channels or 3
    if (channels or known_channels or seen_channels) is None:
        found.assumed.append("3 channels")
        found.notes.append("3 channels assumed: give --channels if the model takes another number")
    side = seen_side or (28 if chosen == 1 else 224)
    if sides is not None:
        return chosen, *sides
    if height is None and seen_side is not None:
        found.notes.append(f"{chosen}x{side}x{side} read off the weight of the first layer")
    elif height is None:
        found.assumed.append(f"size {side}")
        found.notes.append(f"size {side} assumed: give --size if the model takes another")
    return chosen, height or side, width or side


def _read_from_weights(network: nn.Module) -> tuple[int | None, int | None]:
    """Channels, and the side of the image where the first layer fixes it, from its weight."""
    for name, weight in network.named_parameters():
        # Weight normalisation keeps lengths, of one channel, beside the directions.
        if is_lazy(weight) or name.endswith(("weight_g", ".original0")):
            continue
        if weight.ndim == 4:
            return weight.shape[1] * _groups(network, name), None
        if weight.ndim == 2 and name.endswith(("weight", "weight_v", ".original1")):
            for channels in (1, 3):
                side = isqrt(weight.shape[1] // channels)
                # A few inputs are pooled features rather than an image.
                if channels * side * side == weight.shape[1] and side >= 8:
                    return channels, side
            return None, None
    return None, None


def _groups(network: nn.Module, weight: str) -> int:
    """Groups of the convolution that owns a weight: each sees its share of the channels alone."""
    name = weight.removeprefix("parametrizations.").partition(".parametrizations.")[0]
    owner = name if name != weight else weight.rpartition(".")[0]
    # Not get_submodule, which TorchScript has not.
    groups = getattr(dict(network.named_modules()).get(owner), "groups", 1)
    return groups if isinstance(groups, int) else 1


def _say_normalisation(found: Found, mean: object, std: object, *, channels: int) -> None:
    """Tell what is assumed."""
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
        found.assumed.append(what)
        usual = f" ({found.usual})" if channels == 3 else ""
        options = " and ".join(f"--{option}" for option, _ in assumed)
        found.notes.append(
            f"{what} assumed: give {options} if the model was trained with others{usual}"
        )


def _say_like(found: Found, sides: tuple[int, int] | None, mean: object, std: object) -> None:
    """Tell what is taken from weights of the same architecture, and not given."""
    taken = [
        f"{option} {','.join(f'{value:g}' for value in values)}"
        for option, given, values in (
            ("size", sides, found.shape[1:]),
            ("mean", mean, found.mean),
            ("std", std, found.std),
        )
        if found.like and given is None and isinstance(values, Sequence)
    ]
    if found.like and found.class_names:
        taken.append("names of the classes")
    if taken:
        found.notes.append(
            f"{', '.join(taken)}, as of the published weights of {found.like}: give others if "
            "the model was trained with others"
        )


def _sha256_of_weights(network: nn.Module) -> str:
    digest = hashlib.sha256()
    for name, tensor in network.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()
