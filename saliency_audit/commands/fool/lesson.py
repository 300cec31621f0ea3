"""Weights trained to forge maps, by the loop that trains for everything else (Heo et al. 2019)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from inspect import signature
from typing import Any

import torch
from torch import Tensor, nn

from saliency_audit.catalogue.entries import Objective
from saliency_audit.data import ImageBatch, ImageData, batches, held_out
from saliency_audit.errors import AuditError, InputError, UnsupportedError, lookup
from saliency_audit.maps import is_defined
from saliency_audit.methods import METHODS
from saliency_audit.models import Classifier, copied, trainable
from saliency_audit.seeding import generators
from saliency_audit.stats.undefined import MOST_UNDEFINED
from saliency_audit.training.loop import Alone, train
from saliency_audit.training.recipe import Recipe
from saliency_audit.training.step import Loss, Step, steady
from saliency_audit.tricks.lesson import Change, Lesson, Terms

LOOKS = 20
"""How often accuracy and maps are looked at in a training."""
WATCHED = 32
"""Images held out whose maps are looked at."""
HELD_OUT = 0.1
"""Share of the training images that is not trained on."""
PART = 8 * 224 * 224
"""Most pixels of the images that second derivatives are taken of at once, about 3 GiB."""

Weights = dict[str, Tensor]


@dataclass(frozen=True)
class School:
    """What weights are trained by, whatever for.

    Attributes:
        images: to train on; labels are not looked at.
        held_out: others, on which the accuracy must be kept.
        at_once: most images the model sees at once.
        seed: of all draws.
        max_steps: of the training.
        lr: of Adam.
        batch_size: images of a step.
        options: of saliency methods.
        workers: processes that read images.
        tell: called with lines the user should read.
        advance: called with (steps done, steps to do).
        once: has weights trained; where several processes need them, by one for all.
    """

    images: ImageData
    held_out: ImageData
    at_once: int
    seed: int
    max_steps: int = 300
    lr: float = 1e-3
    batch_size: int = 64
    options: Mapping[str, Any] = field(default_factory=dict)
    workers: int = 0
    tell: Callable[[str], None] = lambda line: None
    advance: Callable[[int, int], None] = lambda done, total: None
    once: Callable[[Callable[[], Weights]], Weights] = lambda train: train()


def school(data: ImageData, *, seed: int, **same: Any) -> School:
    """Split training images into those trained on and those held out.

    Args:
        data: images to train on.
        seed: of all draws.
        **same: the other attributes of `School`.

    Raises:
        InputError: too few images.
    """
    images, others = held_out(data, HELD_OUT, seed)
    return School(images=images, held_out=others, seed=seed, **same)


def fitted(
    model: Classifier,
    school: School,
    loss: Callable[[Lesson], Terms],
    *,
    forge: str,
    max_accuracy_drop: float,
    changes: tuple[Change, ...] = (),
) -> nn.Module:
    """A copy of the network, trained (see `saliency_audit.tricks.lesson.Fit`).

    Raises:
        UnsupportedError: the model cannot be trained, or the method's maps cannot be followed.
    """
    trainable(model)
    method = lookup("saliency method", METHODS, forge)
    if not method.differentiable or method.control:
        able = ", ".join(n for n, m in METHODS.items() if m.differentiable and not m.control)
        raise UnsupportedError(f"--forge {forge} cannot be followed by a training; give {able}")
    student = model.replaced(copied(model)).requires_grad_(True)
    known = signature(method.function).parameters
    own = {key: value for key, value in school.options.items() if key in known}

    def lesson(images: Tensor, drawn: list[torch.Generator]) -> Lesson:
        def explain(asked: Classifier, pixels: Tensor, classes: Tensor) -> Tensor:
            # Both models are shown the same draws.
            states = [generator.get_state() for generator in drawn]
            maps: Tensor = method.function(
                asked, pixels, classes, scalar="logit", graph=True, generators=drawn, **own
            )
            for generator, state in zip(drawn, states, strict=True):
                generator.set_state(state)
            return maps

        return Lesson(student, model, images, explain)

    def objective(step: Step) -> Loss:
        with steady(step.model):
            terms = loss(lesson(step.images, step.generators(forge)))
            with torch.no_grad():
                logits = step.model(step.images)
        return Loss(terms, logits)

    def accuracy(asked: Classifier) -> list[float]:
        seen = [right(asked, model, school, change) for change in (None, *changes)]
        return [float(each.values.mean()) for each in seen]

    def looked_at(batch: ImageBatch) -> tuple[float, float]:
        """How far the student's maps are from what is wanted, and how many there are."""
        drawn = generators(school.seed, batch.names, forge, batch.images.device)
        asked, there = lesson(batch.images, drawn), []

        def explain(model: Classifier, pixels: Tensor, classes: Tensor) -> Tensor:
            maps = asked.explain(model, pixels, classes)
            if model is student:
                there.append(is_defined(maps).double())
            return maps

        with student.audited():
            terms = loss(replace(asked, explain=explain))
        moved = [value for name, value in terms.items() if name != "cross-entropy"]
        return float(torch.stack(moved).sum().detach()), float(torch.cat(there).mean())

    def learned() -> Weights:
        watched = next(
            batches(
                school.held_out, batch_size=min(WATCHED, school.at_once), device=model.mean.device
            )
        )
        before = accuracy(model)[0]
        (best, least), weights, at = looked_at(watched), _weights(student), 0
        step = min(school.batch_size, len(school.images))
        most = min(school.at_once, max(1, PART // (model.input_shape[1] * model.input_shape[2])))
        # The fewest parts of equal size.
        parts = next(n for n in range(-(-step // most), step + 1) if step % n == 0)
        recipe = Recipe(
            epochs=10**6,
            max_steps=school.max_steps,
            batch_size=step,
            accumulate=parts,
            lr=school.lr,
            optimizer="adam",
            schedule="cosine",
            freeze_bn=True,
        )
        every = max(1, school.max_steps // LOOKS)
        done = 0
        try:
            for trained in train(
                student,
                school.images,
                Objective(objective, "", ""),
                recipe=recipe,
                seed=school.seed,
                workers=school.workers,
                together=Alone(parts),
            ):
                school.advance(trained.step, trained.steps)
                done = trained.step
                if trained.step % every and trained.step != trained.steps:
                    continue
                far, there = looked_at(watched)
                # A map of nothing is off what was salient, too, but shows nothing.
                shows = far < best and there >= least - MOST_UNDEFINED
                if shows and min(accuracy(student)) >= before - max_accuracy_drop:
                    best, weights, at = far, _weights(student), trained.step
        except AuditError as error:
            school.tell(f"WARNING: {error}")
        if at:
            school.tell(f"trained {done} steps; kept are the weights of step {at}")
        else:
            school.tell(
                f"WARNING: trained {done} steps, but none moved the maps and kept the accuracy "
                f"within {max_accuracy_drop:g}, so the weights are as given; change --lr (now "
                f"{school.lr:g}), --max-steps or --max-accuracy-drop"
            )
        return weights

    student.network.load_state_dict(school.once(learned))
    return student.network.requires_grad_(False).eval()


@dataclass(frozen=True)
class Right:
    """Which images held out are classified right.

    Attributes:
        names: of those that can be read.
        labels: theirs, ``(n,)``; the given model's prediction where there is none.
        values: 0 or 1, ``(n,)`` float64.
    """

    names: list[str]
    labels: Tensor
    values: Tensor


def right(
    model: Classifier, given: Classifier, school: School, change: Change | None = None
) -> Right:
    """Whether each image held out is classified right, after a change.

    Args:
        model: who is asked.
        given: the classifier as it was; says what is right of an image without a label.
        school: with the images.
        change: to the images; none leaves them.
    """
    names: list[str] = []
    labels: list[Tensor] = []
    predicted: list[Tensor] = []
    with model.audited(), given.audited(), torch.no_grad():
        for batch in batches(
            school.held_out,
            batch_size=school.at_once,
            workers=school.workers,
            device=model.mean.device,
        ):
            if not batch.names:
                continue
            known = batch.labels
            if (known < 0).any():
                known = known.where(known >= 0, given(batch.images).argmax(1))
            images = batch.images if change is None else change(batch.images)
            names += batch.names
            labels.append(known)
            predicted.append(model(images).argmax(1))
    if not names:
        raise InputError(f"no image of {school.held_out.name} that was held out can be read")
    whole = torch.cat(labels)
    return Right(names, whole, (torch.cat(predicted) == whole).double())


def _weights(student: Classifier) -> Weights:
    """A copy in main memory, where other processes, with GPUs of their own, can take it."""
    state = student.network.state_dict()
    return {name: value.detach().to("cpu", copy=True) for name, value in state.items()}
