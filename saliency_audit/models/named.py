"""Models by name: the bundled one, and pretrained ones of torchvision and timm."""

import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from math import floor
from typing import Any

from saliency_audit.errors import InputError, lookup
from saliency_audit.models.architectures import (
    import_timm,
    import_torchvision_models,
    timm_name,
    torchvision_model,
    torchvision_name,
)
from saliency_audit.models.files import one_line
from saliency_audit.models.found import Found
from saliency_audit.models.reading import embedding

IMAGENET = 1000  # classes
RANDOM = "none"
"""The name of no weights: ``torchvision:resnet18@none`` has its random initialisation."""


def bundled() -> Found:
    """The Fashion-MNIST network in the package."""
    from saliency_audit.assets import FASHION_CLASSES, bundled_model

    return Found(
        bundled_model(),
        "bundled:fashion-mnist",
        shape=(1, 28, 28),
        mean=0.0,
        std=1.0,
        resize=28,
        class_names=FASHION_CLASSES,
    )


def from_torchvision(name: str) -> Found:
    """A torchvision classifier with the preprocessing its weights were published with.

    Args:
        name: ``NAME``, ``NAME@WEIGHTS`` or ``NAME@none``.

    Raises:
        InputError: unknown name or weights, or the weights cannot be downloaded.
    """
    name, _, weights_name = name.partition("@")
    name = torchvision_name(name)
    if weights_name == RANDOM:
        found = Found(torchvision_model(name), f"torchvision:{name}@{RANDOM}")
        side = preset_of(name).crop_size[0]
        found.shape = (None, side, side)
        found.notes.append(_random(found.name))
        return found
    models = import_torchvision_models()
    known = models.get_model_weights(name)
    by_name = {str(w.name): w for w in known} | {"DEFAULT": known["DEFAULT"], RANDOM: None}
    weights = lookup(f"weights of {name}", by_name, weights_name or "DEFAULT")
    spec = f"torchvision:{name}@{weights.name}"
    with _downloading(spec):
        network = models.get_model(name, weights=weights, progress=False)
    preset = weights.transforms()
    side, resize = preset.crop_size[0], preset.resize_size[0]
    found = Found(network, spec, mean=preset.mean, std=preset.std, resize=resize)
    found.shape = (3, side, side)
    found.class_names = weights.meta["categories"]
    found.notes.append(_said(spec, found))
    return found


def preset_of(name: str) -> Any:
    """How torchvision's default weights of an architecture take an image."""
    return default_weights(name).transforms()


def default_weights(name: str) -> Any:
    """What torchvision says of its default weights of an architecture; nothing is fetched."""
    return import_torchvision_models().get_model_weights(name)["DEFAULT"]


def from_timm(name: str) -> Found:
    """A timm classifier, pretrained, with the preprocessing timm knows for it.

    Args:
        name: ``NAME``, ``NAME.TAG`` or ``NAME@none``.

    Raises:
        InputError: timm is absent, has no such model, or cannot download its weights.
    """
    name, _, weights_name = name.partition("@")
    if weights_name not in ("", RANDOM):
        raise InputError(
            f"timm:{name}@{weights_name}: timm writes its weights NAME.TAG; "
            f"give timm:{name}.{weights_name}, timm:{name} or timm:{name}@{RANDOM}"
        )
    timm, name = import_timm(), timm_name(name)
    spec = f"timm:{name}" + (f"@{RANDOM}" if weights_name else "")
    known = timm.get_pretrained_cfg(name)
    if not weights_name and known is not None and _is_clip(name, known):
        raise InputError(
            embedding(spec, f"its {known.num_classes} outputs are compared with those of texts")
        )
    with _downloading(spec):
        network = timm.create_model(name, pretrained=not weights_name)
    found = settle_timm(Found(network, spec))
    if weights_name:
        found.class_names = None
    found.notes.append(_random(spec) if weights_name else _said(spec, found))
    return found


def settle_timm(found: Found) -> Found:
    """A network of timm, with the size, mean and std of its configuration.

    Args:
        found: is changed.
    """
    config = import_timm().data.resolve_model_data_config(found.network)
    channels, height, width = config["input_size"]
    found.shape = (channels, height, width)
    found.mean, found.std = config["mean"], config["std"]
    found.resize = floor(min(height, width) / config["crop_pct"])
    trained = getattr(found.network, "pretrained_cfg", {}).get("num_classes")
    if trained == getattr(found.network, "num_classes", None) == IMAGENET:
        # timm has no other networks of so many classes; torchvision knows what they are called.
        found.class_names = default_weights("resnet18").meta["categories"]
    return found


def _is_clip(name: str, known: Any) -> bool:
    """Whether it is the image half of a CLIP, not one that was fine-tuned to classify."""
    return "clip" in name and "ft" not in known.tag.split("_") and known.num_classes != 1000


def _said(spec: str, found: Found) -> str:
    means, stds = (
        ",".join(f"{value:g}" for value in values)  # type: ignore[union-attr]
        for values in (found.mean, found.std)
    )
    return (
        f"{spec}: size {found.shape[1]}, resize {found.resize}, mean {means}, std {stds}, as "
        "published with it"
    )


def _random(spec: str) -> str:
    return f"{spec}: random initialisation, not a trained model"


@contextmanager
def quiet() -> Iterator[None]:
    """Inside, other libraries' chatter is not heard."""
    with (
        warnings.catch_warnings(),
        redirect_stdout(io.StringIO()),
        redirect_stderr(io.StringIO()),
    ):
        warnings.simplefilter("ignore")
        yield


@contextmanager
def _downloading(spec: str) -> Iterator[None]:
    """One line for whatever a download fails with, instead of the libraries' own chatter."""
    hub = logging.getLogger("huggingface_hub")
    level = hub.level
    hub.setLevel(logging.CRITICAL)
    try:
        with quiet():
            yield
    # Each library has its own errors for a network that is down.
    except Exception as error:
        raise InputError(
            f"the weights of {spec} cannot be had ({one_line(error)}); connect once, "
            f"give a model file, or {spec.partition('@')[0]}@{RANDOM} for random weights"
        ) from error
    finally:
        hub.setLevel(level)
