"""What was found becomes a ``Classifier``: its input and normalisation, given, known or assumed."""

import hashlib
from collections.abc import Sequence
from math import isqrt
from typing import Literal

import torch
from torch import nn

from saliency_audit.errors import InputError
from saliency_audit.models.classifier import Classifier
from saliency_audit.models.found import Found


def wrapped(
    found: Found,
    *,
    size: int | None,
    channels: int | None,
    mean: float | Sequence[float] | None,
    std: float | Sequence[float] | None,
    precision: Literal["fp32", "bf16"],
    layer: str | None,
    device: torch.device | str,
) -> Classifier:
    """The classifier around a network, in eval mode.

    Args:
        found: the network; what had to be assumed is added to its notes.
        size: height and width of an image; None takes what the source says, or assumes it.
        channels: of an image; likewise.
        mean: per channel, in pixel units; likewise.
        std: likewise.
        precision: of the network.
        layer: name of the layer that Grad-CAM reads.
        device: where it will run.

    Raises:
        InputError: its weights are not finite, or what was given does not fit it.
    """
    for option, value in (("size", size), ("channels", channels)):
        if value is not None and value < 1:
            raise InputError(f"--{option} is {value}; it must be at least 1")
    _refuse_broken_weights(found)
    shape = _input_shape(found, size=size, channels=channels)
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
        activation=found.activation,
    )
    classifier.notes = found.notes
    classifier.sha256 = found.sha256 or _sha256_of_weights(found.network)
    # The crop that the weights were published with says nothing about another size.
    classifier.resize = found.resize if shape[1:] == found.shape[1:] else None
    return classifier.eval().to(device)


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
