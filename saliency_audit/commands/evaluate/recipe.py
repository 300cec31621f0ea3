"""How networks are trained anew: ``--recipe``, ``--retrain`` and the images they are tested on."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from math import inf
from typing import TYPE_CHECKING, Any

from saliency_audit.commands.setup import Setup
from saliency_audit.errors import InputError, UnsupportedError
from saliency_audit.options import Given
from saliency_audit.training.recipe import Recipe

if TYPE_CHECKING:
    from saliency_audit.data import ImageData
    from saliency_audit.models import Classifier

RECIPE = Recipe(epochs=5, batch_size=100, lr=0.001, optimizer="adam", schedule="constant")
"""P3's, but for its number of epochs (5 and 20)."""

_CHOICES: Mapping[str, Sequence[str]] = {
    "optimizer": ("sgd", "adam", "adamw"),
    "schedule": ("constant", "cosine", "step"),
    "augment": ("none", "flip-crop"),
}
_RANGES: Mapping[str, tuple[str, Callable[[float], bool]]] = {
    "epochs": ("at least 1", lambda value: value >= 1),
    "max-steps": ("at least 1", lambda value: value >= 1),
    "batch-size": ("at least 1", lambda value: value >= 1),
    "lr": ("a number above 0", lambda value: 0 < value < inf),
    "momentum": ("at least 0 and less than 1", lambda value: 0 <= value < 1),
    "weight-decay": ("0 or more", lambda value: 0 <= value < inf),
}
"""What each must be, as the loop would say only after the maps are made."""


def read_recipe(parts: Sequence[str]) -> Recipe:
    """How networks are retrained, from ``name=value`` each.

    Raises:
        InputError: an unknown name, no number where one is meant, or a value that means nothing.

    >>> read_recipe(["epochs=2", "lr=0.01"]).lr, read_recipe([]).batch_size
    (0.01, 100)
    """
    known = {name.replace("_", "-"): value for name, value in vars(RECIPE).items()}
    changed: dict[str, Any] = {}
    for part in parts:
        name, equals, text = part.partition("=")
        if not equals or name not in known or name == "accumulate":
            raise InputError(
                option="recipe",
                value=part,
                fix="write NAME=VALUE, NAME one of "
                + ", ".join(name for name in known if name != "accumulate"),
            )
        kind = int if name == "max-steps" else type(known[name])
        try:
            value = text in ("1", "true", "yes") if kind is bool else kind(text)
        except ValueError as error:
            raise InputError(
                option="recipe", value=part, fix=f"{name} is {known[name]} by default"
            ) from error
        meant, holds = _RANGES.get(name, ("", lambda value: True))
        if name in _CHOICES:
            meant, holds = " or ".join(_CHOICES[name]), _CHOICES[name].__contains__
        if not holds(value):
            raise InputError(option="recipe", value=part, fix=f"give {name} {meant}")
        changed[name.replace("-", "_")] = value
    return replace(RECIPE, **changed)


def fresh_network(model: "Classifier", given: Given, seed: int) -> "Classifier":
    """The network that is trained anew, with the weights of a seed.

    Args:
        model: that is audited; its architecture is taken unless ``--retrain`` names one.
        given: of the command line.
        seed: of the weights.

    Raises:
        InputError: the architecture cannot be built.
        UnsupportedError: the model's own cannot be trained.
    """
    from saliency_audit.models import fresh, reinitialised

    if given.retrain is not None:
        return fresh(
            given.retrain,
            size=model.input_shape[1:],
            channels=model.input_shape[0],
            mean=model.mean.flatten().tolist(),
            std=model.std.flatten().tolist(),
            seed=seed,
            device=model.mean.device,
            channels_last=given.channels_last,
        )
    try:
        return reinitialised(model, seed=seed)
    except UnsupportedError as error:
        why = str(error).partition(";")[0]
        raise UnsupportedError(
            f"{why}; name an architecture to train with --retrain, such as torchvision:resnet18"
        ) from error


def test_images(given: Given, setup: Setup) -> "ImageData":
    """What networks are tested on: all of ``--data``, unless ``--max-samples`` is given."""
    if "max_samples" in given.said:
        return setup.data
    return setup.open(given.data if given.data is not None else setup.data.name)


def refuse_unlabelled(images: "ImageData", flag: str, metric: str) -> None:
    """Refuse images without labels.

    Raises:
        InputError: says how many there are.
    """
    missing = int((images.labels < 0).sum())
    if missing:
        raise InputError(
            f"--metric {metric} trains on labels, and {missing:,} of {len(images):,} images of "
            f"{flag} have none; give labelled images"
        )
