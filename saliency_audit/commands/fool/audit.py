"""Can someone who owns the weights make a saliency map show any picture? (P0 section 2, B.1)."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Unpack

import torch
from torch import Tensor

from saliency_audit.catalogue.entries import CALIBRATION
from saliency_audit.catalogue.methods import USUAL
from saliency_audit.catalogue.tricks import UNTRAINED
from saliency_audit.commands.costs import Told, listeners, of_batches
from saliency_audit.commands.explain import Maps, predict, supported, tell_zero
from saliency_audit.commands.fool.costs import Economy, passes_of_image
from saliency_audit.commands.fool.forgery import Forgery, copy_whole, forge, variant_of
from saliency_audit.commands.fool.lesson import Weights, school
from saliency_audit.commands.fool.rows import (
    Look,
    Looks,
    rows_held_out,
    rows_of_maps,
    rows_of_model,
)
from saliency_audit.commands.known import first_images
from saliency_audit.commands.picture import load_picture
from saliency_audit.commands.reason import refusing
from saliency_audit.commands.rows import Subject, failure_rows, image_example
from saliency_audit.data import ImageData, batches, images_of
from saliency_audit.errors import UnsupportedError, lookup
from saliency_audit.methods import METHODS
from saliency_audit.models import Classifier
from saliency_audit.tricks import TRICKS
from saliency_audit.types import Batch, Example

SCALARS_BY_DEFAULT = ("logit", "log-prob", "loss")
IMAGES_AT_ONCE = 32
"""Most images of one batch of rows: what a kill can lose."""
EXAMPLES = 6
"""Images drawn: the first with every map, the others with the first map alone."""


def fool(
    model: Classifier,
    data: ImageData,
    *,
    tricks: Mapping[str, Mapping[str, Any]] | Sequence[str] = UNTRAINED,
    picture: Tensor | Path | None = None,
    strength: float = 10.0,
    saliency: Sequence[str] | None = None,
    scalars: Sequence[str] = SCALARS_BY_DEFAULT,
    saved: Economy | None = None,
    target: str = "predicted",
    options: Mapping[str, Any] | None = None,
    folder: Path | None = None,
    seed: int = 0,
    batch_size: int = IMAGES_AT_ONCE,
    workers: int = 0,
    skip_impossible: bool = False,
    train: ImageData | None = None,
    lesson: Mapping[str, Any] | None = None,
    trained: Callable[[str], Path | None] = lambda trick: None,
    once: Callable[[Callable[[], Weights]], Weights] = lambda train: train(),
    **told: Unpack[Told],
) -> Iterator[Batch]:
    """Forge the model with each trick and measure every map before and after.

    Args:
        model: the classifier; its flags are restored, its weights never touched.
        data: the images.
        tricks: names in ``TRICKS``, optionally with their options.
        picture: ``(h, w)`` in [0, 1], a file, or None for the bundled one.
        strength: norm of the picture's part over the median norm of the true gradient.
        saliency: names in ``METHODS``; None means all that the model's format allows and that
            nothing must be trained for.
        scalars: names in ``SCALARS``.
        saved: what is not measured where nobody asked for it; None: everything is.
        target: "predicted" or "label", the explained class.
        options: of saliency methods, given to those that have them.
        folder: where manipulated models are saved; None means nowhere that lasts.
        seed: of every random draw.
        batch_size: most images the model sees at once; halved when memory runs out.
        workers: processes that read images.
            the manipulated models.
        skip_impossible: tell of a trick that this model does not allow and go on with the others.
        train: images that tricks that train are trained on; they need some.
        lesson: how: ``max_steps``, ``lr`` and ``batch_size`` of a step.
        trained: gives the weights that an interrupted run, in all the same as this one, trained
            for a trick; None where there are none.
        once: has weights trained; where several processes need them, by one for all.
        told: see `Told`; the passes are not told where weights are trained.

    Yields:
        One `Batch` of rows per at most 32 images.

    Raises:
        InputError: an unknown name, a method asked for by name that the model does not allow, or
            images that cannot be read at all.
    """
    tell, advance, begin, expect = listeners(told)
    shard = told.get("shard", (0, 1))
    saved, options = saved or Economy(), options or {}
    tricks = tricks if isinstance(tricks, Mapping) else {name: {} for name in tricks}
    asked = [name for name in dict.fromkeys(saliency or USUAL) if name not in saved.left_out]
    for name in asked:
        lookup("saliency method", METHODS, name)
    scalars = list(dict.fromkeys(scalars))
    for scalar in scalars:
        model.scalar(scalar)
    at_once = min(IMAGES_AT_ONCE, batch_size)
    device = model.mean.device

    with model.audited(), TemporaryDirectory() as scratch:
        wants = [variant_of(name, trick).images for name, trick in tricks.items()]
        known, labels, _ = first_images(
            data, max(wants, default=CALIBRATION), at_once, device=device, workers=workers
        )
        model.check(known[:2])
        classes = predict(model, known, batch_size=at_once).argmax(1)
        if target == "label":
            classes = labels.where(labels >= 0, classes)
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
        taught = (
            None
            if train is None
            else school(
                train,
                **(lesson or {}),
                at_once=at_once,
                seed=seed,
                options=options,
                workers=workers,
                tell=tell,
                advance=advance,
                once=once,
            )
        )
        forgeries: list[Forgery] = []
        for name, trick in tricks.items():
            weights = trained(name) if TRICKS[name].trains else None
            if weights is not None:
                tell(f"{name} is not trained again: {weights.name} is of the run that goes on")
            try:
                with refusing():
                    forgeries += forge(
                        model,
                        name,
                        wanted,
                        known,
                        classes,
                        folder=Path(scratch),
                        strength=strength,
                        batch_size=at_once,
                        options=trick,
                        school=taught,
                        trained=weights,
                    )
            except UnsupportedError as error:
                if not skip_impossible:
                    raise
                tell(f"{name} left out: {error}")
        if tricks and not forgeries:
            raise UnsupportedError("no trick can be played on this model; see the notes above")
        done = begin()
        if folder is not None and shard[0] == 0:
            for path in dict.fromkeys(forgery.path for forgery in forgeries):
                copy_whole(path, folder)
        pairs = [
            (name, scalar)
            for name in methods
            for scalar in (
                [""] if METHODS[name].control else scalars[:1] if name in saved.once else scalars
            )
        ]
        maps_per_image = len(pairs) * (1 + len(forgeries))
        made, warned = 0, set[tuple[str, str]]()
        mine = images_of(len(data), at_once, shard=shard, done=done)
        if train is None:
            each = passes_of_image(
                pairs,
                len(forgeries),
                options=options,
                sides=model.input_shape[1:],
                at_once=of_batches(mine, at_once),
            )
            expect(each * mine)

        for batch in batches(
            data, batch_size=at_once, workers=workers, device=device, skip=done, shard=shard
        ):
            rows = failure_rows(batch, model.name)
            examples: list[Example] = []
            if batch.names:
                images = batch.images
                logits = predict(model, images, batch_size=at_once)
                targets = logits.argmax(1) if target == "predicted" else batch.labels
                subject = Subject(batch.names, batch.labels, targets, model.name)
                seen = max(0, EXAMPLES - batch.index * at_once)
                if not batch.index:
                    examples.append(Example("", "", "", "", "picture", wanted.cpu().numpy()))
                examples += [
                    image_example(name, image)
                    for name, image in zip(batch.names[:seen], images, strict=False)
                ]

                maps = partial(
                    Maps,
                    names=batch.names,
                    seed=seed,
                    batch_size=batch_size,
                    options=options,
                    tell=tell,
                )
                classes = targets.clamp_min(0)
                clean = Look(images, maps(images, classes))
                at = {
                    forgery.setting: clean
                    if forgery.change is None
                    else Look(changed := forgery.change(images), maps(changed, classes))
                    for forgery in forgeries
                }
                # The likeliest class but the explained one.
                others = logits.scatter(1, classes[:, None], -torch.inf).argmax(1)
                looks = Looks(clean, at, maps(images, others))
                if not batch.index:
                    rows += rows_held_out(forgeries, model.name)
                examples += [
                    replace(image_example(name, image), setting=forgery.setting)
                    for forgery in forgeries
                    if forgery.change is not None
                    for name, image in zip(
                        batch.names[:seen], at[forgery.setting].images, strict=False
                    )
                ]
                rows += rows_of_model(subject, model, forgeries, logits, looks)
                for name, scalar in pairs:
                    if not batch.index and METHODS[name].why_zero is not None:
                        tell_zero(
                            name,
                            clean.map_of(model, name, scalar),
                            model,
                            images,
                            classes,
                            names=batch.names,
                            scalar=scalar,
                            tell=tell,
                        )
                    drawn = seen if (name, scalar) == pairs[0] else min(seen, 1)
                    more, pictures, problems = rows_of_maps(
                        subject, model, forgeries, name, scalar, wanted, looks, drawn=drawn
                    )
                    rows += more
                    examples += pictures
                    for where, problem in problems.items():
                        if (name, where) not in warned:
                            warned.add((name, where))
                            tell(f"{name} is undefined at {where}: {problem}")
                    made += len(batch.names) * (1 + len(forgeries))
                    advance(made, mine * maps_per_image)
                batch_size = min(look.map_of.batch_size for look in (clean, *at.values()))
            yield Batch(batch.index, rows, examples)
