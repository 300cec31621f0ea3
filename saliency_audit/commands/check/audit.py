"""What works on a model, seen on a few images before hours are spent on many."""

from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from saliency_audit.catalogue.methods import CONTROLS, USUAL
from saliency_audit.commands.costs import passes_of_map, points
from saliency_audit.commands.explain import FEW, explain, predict, tell_zero
from saliency_audit.commands.known import first_images
from saliency_audit.commands.rows import Subject, failure_rows, image_example, map_example
from saliency_audit.data import ImageData, batches, images_of
from saliency_audit.errors import UnsupportedError, lookup
from saliency_audit.maps import is_defined
from saliency_audit.methods import METHODS
from saliency_audit.metrics import CHECKS
from saliency_audit.models import Classifier
from saliency_audit.types import Batch, Example, Row

IMAGES_AT_ONCE = 32
"""Most images of one batch of rows."""
EXAMPLES = 4
"""Images drawn with their maps."""
SAID = 5
"""Outputs of an image that are told of, where several may be there."""
PREPROCESSING: Mapping[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "mean 0, std 1": ((0.0,), (1.0,)),
    "mean 0.5, std 0.5": ((0.5,), (0.5,)),
    "ImageNet's mean and std": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
}
"""What networks are usually trained with."""


def check(
    model: Classifier,
    data: ImageData,
    *,
    saliency: Sequence[str] | None = None,
    left_out: Container[str] = (),
    scalar: str = "logit",
    target: str = "predicted",
    options: Mapping[str, Any] | None = None,
    seed: int = 0,
    batch_size: int = IMAGES_AT_ONCE,
    workers: int = 0,
    shard: tuple[int, int] = (0, 1),
    begin: Callable[[], Container[int]] = tuple,
    tell: Callable[[str], None] = lambda line: None,
    advance: Callable[[int, int], None] = lambda made, total: None,
) -> Iterator[Batch]:
    """Look at what the model says, under which preprocessing, and which methods have a map.

    Args:
        model: the classifier; its flags and weights are as before afterwards.
        data: the images.
        saliency: names in ``METHODS``; None means all but controls and those that something must be
            trained for.
        left_out: methods that are not looked at.
        scalar: a name in ``SCALARS``.
        target: "predicted" or "label", the explained class.
        options: of saliency methods; maps are looked at with few samples and steps all the same.
        seed: of every random draw.
        batch_size: most images the model sees at once.
        workers: processes that read images.
        shard: ``(rank, world)``: this process takes every world-th batch.
        begin: called before anything is measured; returns the indices of batches that need no work.
        tell: called with lines the user should read.
        advance: called with (maps made, maps to make).

    Yields:
        One `Batch` of rows per at most 32 images: "accuracy" under each preprocessing,
        "confidence" of the predicted class or of outputs above one half, and of each method
        "map-defined" and "map-passes". Why a method has no map is its ``setting``.

    Raises:
        InputError: an unknown name, or images that cannot be read at all.
    """
    options = options or {}
    usual = [n for n in USUAL if n not in CONTROLS and n not in left_out]
    asked = list(dict.fromkeys(saliency or usual))
    for name in asked:
        lookup("saliency method", METHODS, name)
    model.scalar(scalar)
    at_once = min(IMAGES_AT_ONCE, batch_size)
    device = model.mean.device
    with model.audited():
        others = dict(_preprocessed(model))
        known, _, _ = first_images(data, 2, at_once, device=device, workers=workers)
        model.check(known)
        done = begin()
        made, total = 0, images_of(len(data), at_once, shard=shard, done=done) * len(asked)
        for batch in batches(
            data, batch_size=at_once, workers=workers, device=device, skip=done, shard=shard
        ):
            rows, examples = failure_rows(batch, model.name), list[Example]()
            if batch.names:
                logits = predict(model, batch.images, batch_size=at_once)
                predicted = logits.argmax(1)
                targets = predicted if target == "predicted" else batch.labels
                says = Subject(batch.names, batch.labels, predicted, model.name)
                if model.outputs.exclusive:
                    confidence = model.explained("prob", logits, predicted)
                    rows += says.rows("confidence", confidence, setting="")
                else:
                    rows += _said(model, says, logits)
                judged = {"": model, **others} if model.outputs.exclusive else {}
                for setting, other in judged.items():
                    answered = (
                        logits
                        if other is model
                        else predict(other, batch.images, batch_size=at_once)
                    )
                    right = CHECKS["accuracy"].function(answered, batch.labels)
                    rows += says.rows("accuracy", right, setting=setting)
                seen = max(0, EXAMPLES - batch.index * at_once)
                examples += [
                    image_example(name, image)
                    for name, image in zip(batch.names[:seen], batch.images, strict=False)
                ]
                for name in asked:
                    more, pictures = _of_method(
                        model,
                        name,
                        batch.images,
                        Subject(batch.names, batch.labels, targets, model.name),
                        scalar=scalar,
                        options=options,
                        seed=seed,
                        batch_size=at_once,
                        counted=batch.index == 0,
                        drawn=seen,
                        tell=tell,
                    )
                    rows += more
                    examples += pictures
                    made += len(batch.names)
                    advance(made, total)
            yield Batch(batch.index, rows, examples)


def _said(model: Classifier, subject: Subject, logits: Tensor) -> list[Row]:
    """The likeliest outputs above one half of each image; the largest with no target if none is."""
    rows: list[Row] = []
    for i, name in enumerate(subject.names):
        values, places = model.outputs.probabilities(logits[i].double()).sort(descending=True)
        many = min(SAID, int(model.outputs.prediction(logits[i]).sum()))
        targets = places[:many] if many else torch.full_like(places[:1], -1)
        each = Subject(
            [name] * len(targets), subject.labels[i].expand(len(targets)), targets, model.name
        )
        rows += each.rows("confidence", values[: len(targets)], setting="")
    return rows


def _preprocessed(model: Classifier) -> Iterator[tuple[str, Classifier]]:
    """The same network behind other means and standard deviations than its own."""
    channels = model.input_shape[0]
    own = [each.flatten().tolist() for each in (model.mean, model.std)]
    for name, values in PREPROCESSING.items():
        mean, std = (
            [sum(value) / len(value)] if channels == 1 else list(value) for value in values
        )
        mean, std = (each * channels if len(each) == 1 else each for each in (mean, std))
        if len(mean) != channels:
            continue
        near = torch.allclose(torch.tensor([mean, std]), torch.tensor(own), atol=0.01)
        if not near:
            yield f"preprocessing={name}", model.replaced(model.network, mean=mean, std=std).eval()


def _of_method(
    model: Classifier,
    name: str,
    images: Tensor,
    subject: Subject,
    *,
    scalar: str,
    options: Mapping[str, Any],
    seed: int,
    batch_size: int,
    counted: bool,
    drawn: int,
    tell: Callable[[str], None],
) -> tuple[list[Row], list[Example]]:
    """Whether each image has a map, what one costs, and the first ones to draw."""
    made = partial(explain, name, model, scalar=scalar, seed=seed, batch_size=batch_size)
    missing = subject.targets < 0
    targets, nothing = subject.targets.clamp_min(0), missing.double() * torch.nan
    rows_of = partial(subject.rows, saliency=name, scalar=scalar)
    refused: dict[str, str] = {}
    try:
        half = max(1, min(images.shape[2:]) // 2)
        few = {**options, **FEW, "window": half, "stride": half}
        maps = made(images, targets, names=subject.names, options=few, refused=refused)
    except UnsupportedError as error:
        why = f"reason={str(error).replace(';', ',')}"
        return rows_of("map-defined", torch.full_like(nothing, torch.nan), setting=why), []
    there = is_defined(maps).double().masked_fill(missing, torch.nan)
    rows = rows_of("map-defined", there, setting="")
    rows += subject.without_map(maps, saliency=name, scalar=scalar, refused=refused)
    if counted:
        zero_of = partial(tell_zero, name, maps, model, images, targets)
        zero_of(names=subject.names, scalar=scalar, tell=tell)
        passes = torch.full_like(nothing, torch.nan)
        sides = model.input_shape[1:]
        if points(METHODS[name], options, sides) > 1:
            passes[0] = passes_of_map(name, options, sides, at_once=1).count
        else:
            one, before = slice(0, 1), model.passes
            made(images[one], targets[one], names=subject.names[:1], options=options)
            passes[0] = model.passes - before
        rows += [row for row in rows_of("map-passes", passes, setting="") if row["value"]]
    pictures = [
        map_example(image, maps[i], saliency=name, scalar=scalar, setting="", role="map")
        for i, image in enumerate(subject.names[:drawn])
    ]
    return rows, pictures
