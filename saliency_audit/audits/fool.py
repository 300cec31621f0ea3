"""Can someone who owns the weights make a saliency map show any picture? (P0 section 2, B.1)."""

from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor

from saliency_audit.audits.explain import explain, predict, supported
from saliency_audit.audits.forgery import ANCHORS, Forgery, forge, with_fallback
from saliency_audit.audits.picture import load_picture
from saliency_audit.audits.rows import Subject, failure_rows, image_example, map_example
from saliency_audit.data import ImageData, batches
from saliency_audit.errors import InputError, UnsupportedError, lookup
from saliency_audit.maps import magnitude
from saliency_audit.methods import METHODS
from saliency_audit.metrics import CHECKS
from saliency_audit.models import SCALARS, Classifier, input_gradient
from saliency_audit.types import Batch, Example, Row

SCALARS_BY_DEFAULT = ("logit", "log-prob", "loss")
TRICKS_BY_DEFAULT = ("logit-shift", "loss-sine")
CALIBRATION = 64
"""Images that the strength of a trick is set by."""
IMAGES_AT_ONCE = 32
"""Most images of one batch of rows: what a kill can lose."""
EXAMPLES = 6
"""Images drawn: the first with every map, the others with the first map alone."""
BEFORE = "stage=before"

MapOf = Callable[[Classifier, str, str], Tensor]
"""``(model, saliency, scalar) -> maps`` of the images at hand."""


def fool(
    model: Classifier,
    data: ImageData,
    *,
    tricks: Mapping[str, Mapping[str, Any]] | Sequence[str] = TRICKS_BY_DEFAULT,
    picture: Tensor | Path | None = None,
    strength: float = 10.0,
    saliency: Sequence[str] | None = None,
    scalars: Sequence[str] = SCALARS_BY_DEFAULT,
    target: str = "predicted",
    options: Mapping[str, Any] | None = None,
    folder: Path | None = None,
    seed: int = 0,
    batch_size: int | None = None,
    workers: int = 0,
    done: Container[int] = (),
    tell: Callable[[str], None] = lambda line: None,
    advance: Callable[[int, int], None] = lambda made, total: None,
) -> Iterator[Batch]:
    """Forge the model with each trick and measure every map before and after.

    Args:
        model: the classifier; its flags are restored, its weights never touched.
        data: the images.
        tricks: names in ``TRICKS``, optionally with their options.
        picture: ``(h, w)`` in [0, 1], a file, or None for the bundled one.
        strength: norm of the picture's part over the median norm of the true gradient.
        saliency: names in ``METHODS``; None means all that the model's format allows.
        scalars: names in ``SCALARS``.
        target: "predicted" or "label", the explained class.
        options: of saliency methods, given to those that have them.
        folder: where manipulated models are saved; None means nowhere that lasts.
        seed: of every random draw.
        batch_size: most images the model sees at once; None means 32.
        workers: processes that read images.
        done: indices of batches that need no work.
        tell: called with lines the user should read.
        advance: called with (maps made, maps to make).

    Yields:
        One `Batch` of rows per at most 32 images.

    Raises:
        InputError: an unknown name, a method asked for by name that the model does not allow, or
            images that cannot be read at all.
    """
    options = options or {}
    tricks = tricks if isinstance(tricks, Mapping) else {name: {} for name in tricks}
    asked = list(saliency) if saliency else list(METHODS)
    for name in asked:
        lookup("saliency method", METHODS, name)
    for scalar in scalars:
        lookup("scalar", SCALARS, scalar)
    at_once = min(IMAGES_AT_ONCE, batch_size or IMAGES_AT_ONCE)
    device = model.mean.device

    with model.audited(), TemporaryDirectory() as scratch:
        anchored = any(trick.get("shift") == "cancel" for trick in tricks.values())
        known = first_images(
            data, ANCHORS + 1 if anchored else CALIBRATION, at_once, device=device, workers=workers
        )
        model.check(known[:2])
        classes = predict(model, known, batch_size=at_once).argmax(1)
        if not isinstance(picture, Tensor):
            picture = load_picture(picture, model.input_shape[1:])
        wanted = picture.to(device)
        methods = supported(
            asked,
            model,
            known[:1],
            classes[:1],
            scalar=scalars[0],
            options=options,
            refuse=saliency is not None,
            tell=tell,
        )
        forgeries = [
            forge(
                model,
                name,
                wanted,
                known,
                classes,
                folder=folder or Path(scratch),
                strength=strength,
                batch_size=at_once,
                options=trick,
            )
            for name, trick in tricks.items()
        ]
        pairs = [
            (name, scalar)
            for name in methods
            for scalar in ([""] if METHODS[name].control else scalars)
        ]
        maps_per_image = len(pairs) * (1 + len(forgeries))
        made, told = 0, set[str]()

        for batch in batches(data, batch_size=at_once, workers=workers, device=device, skip=done):
            rows = failure_rows(batch, model.name)
            examples: list[Example] = []
            if batch.names:
                images = batch.images
                logits = predict(model, images, batch_size=at_once)
                targets = logits.argmax(1) if target == "predicted" else batch.labels
                subject = Subject(batch.names, batch.labels, targets, model.name)
                seen = max(0, EXAMPLES - batch.index * at_once)
                examples += [
                    image_example(name, image)
                    for name, image in zip(batch.names[:seen], images, strict=False)
                ]

                def map_of(
                    classifier: Classifier,
                    name: str,
                    scalar: str,
                    images: Tensor = images,
                    targets: Tensor = targets,
                    names: Sequence[str] = batch.names,
                ) -> Tensor:
                    return explain(
                        name,
                        classifier,
                        images,
                        targets.clamp_min(0),
                        names=names,
                        scalar=scalar,
                        seed=seed,
                        batch_size=batch_size,
                        options=options,
                    )

                rows += rows_of_model(subject, model, forgeries, images, logits, map_of)
                for name, scalar in pairs:
                    drawn = seen if (name, scalar) == pairs[0] else min(seen, 1)
                    try:
                        more, pictures = rows_of_maps(
                            subject, model, forgeries, name, scalar, wanted, map_of, drawn=drawn
                        )
                        rows += more
                        examples += pictures
                    except UnsupportedError as error:
                        if str(error) not in told:
                            told.add(str(error))
                            tell(f"{name} on {scalar}, {batch.names[0]} and on: {error}")
                    made += len(batch.names) * (1 + len(forgeries))
                    advance(made, len(data) * maps_per_image)
            yield Batch(batch.index, rows, examples)


def first_images(
    data: ImageData, count: int, at_once: int, *, device: torch.device, workers: int
) -> Tensor:
    """The first ``count`` readable images, ``(n, c, h, w)``.

    Raises:
        InputError: none can be read.
    """
    known: list[Tensor] = []
    failure = "it is empty"
    for batch in batches(data, batch_size=at_once, workers=workers, device=device):
        known += list(batch.images)
        failure = batch.failures[0].message if batch.failures else failure
        if len(known) >= count:
            break
    if not known:
        raise InputError(f"no image of {data.name} can be read: {failure}")
    return torch.stack(known[:count])


def rows_of_model(
    subject: Subject,
    model: Classifier,
    forgeries: Sequence[Forgery],
    images: Tensor,
    logits: Tensor,
    map_of: MapOf,
) -> list[Row]:
    """Predictions, probabilities, loss and its gradient, and what gives a shift away."""
    explained = subject.targets.clamp_min(0)
    at_once = len(images)
    loss = model.explained("loss", logits, explained)
    gradient = input_gradient(model, images, explained, scalar="loss", batch_size=at_once)
    accuracy = CHECKS["accuracy"].function(logits, subject.labels)
    rows = subject.rows("accuracy", accuracy, setting=BEFORE)
    rows += subject.rows(
        "scalar-agreement",
        CHECKS["scalar-agreement"].function(
            map_of(model, "gradient", "logit"), map_of(model, "gradient", "centred-logit")
        ),
        setting=BEFORE,
        saliency="gradient",
    )
    for forgery in forgeries:
        saved, setting = forgery.saved, forgery.setting
        after = predict(saved, images, batch_size=at_once)
        values = {
            "prediction-kept": (after, logits),
            "prob-change": (after, logits),
            "logit-change": (after, logits),
            "loss-change": (saved.explained("loss", after, explained), loss),
            "loss-gradient-change": (
                input_gradient(saved, images, explained, scalar="loss", batch_size=at_once),
                gradient,
            ),
        }
        for check, (value, reference) in values.items():
            rows += subject.rows(check, CHECKS[check].function(value, reference), setting=setting)
        rows += subject.rows(
            "scalar-agreement",
            CHECKS["scalar-agreement"].function(
                map_of(saved, "gradient", "logit"), map_of(saved, "gradient", "centred-logit")
            ),
            setting=setting,
            saliency="gradient",
        )
    return rows


def rows_of_maps(
    subject: Subject,
    model: Classifier,
    forgeries: Sequence[Forgery],
    name: str,
    scalar: str,
    picture: Tensor,
    map_of: MapOf,
    *,
    drawn: int,
) -> tuple[list[Row], list[Example]]:
    """One method under one scalar: its maps against the picture, and before against after."""
    before = map_of(model, name, scalar)
    stages = [(BEFORE, "before", before)]
    for forgery in forgeries:
        after = with_fallback(forgery, lambda saved: map_of(saved, name, scalar))
        stages.append((forgery.setting, "after", after))
    rows: list[Row] = []
    examples: list[Example] = []
    nothing = subject.targets < 0
    for setting, role, saliency in stages:
        shown = magnitude(saliency)
        wanted = picture.expand_as(shown)
        values = {
            "cosine-to-picture": (shown, wanted),
            "spearman-to-picture": (shown, wanted),
        }
        if role == "after":
            values["cosine"] = (saliency, before)
            values["spearman"] = (shown, magnitude(before))
        for check, (value, reference) in values.items():
            numbers = CHECKS[check].function(value, reference).masked_fill(nothing, torch.nan)
            rows += subject.rows(check, numbers, setting=setting, saliency=name, scalar=scalar)
        examples += [
            map_example(
                image, saliency[i], saliency=name, scalar=scalar, setting=setting, role=role
            )
            for i, image in enumerate(subject.names[:drawn])
        ]
    return rows, examples
