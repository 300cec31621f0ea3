"""What `fool` measures on one batch of images: the model, then each map."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from saliency_audit.catalogue.entries import function_of
from saliency_audit.catalogue.tricks import AIMS
from saliency_audit.commands.explain import Maps, predict
from saliency_audit.commands.fool.forgery import Forgery, with_fallback
from saliency_audit.commands.rows import Subject, map_example
from saliency_audit.errors import UnsupportedError
from saliency_audit.maps import magnitude
from saliency_audit.metrics import CHECKS
from saliency_audit.models import Classifier
from saliency_audit.types import Example, Row

BEFORE = "stage=before"


@dataclass(frozen=True)
class Look:
    """The images that a model is measured on, and what makes its maps of them.

    Attributes:
        images: ``(n, c, h, w)`` in [0, 1].
        map_of: makes the maps of the explained classes.
    """

    images: Tensor
    map_of: Maps


@dataclass(frozen=True)
class Looks:
    """What one batch of images is looked at as.

    Attributes:
        clean: as it is.
        of: by setting of a forgery, what that is measured on.
        second: maps of the given model of the second likeliest classes.
    """

    clean: Look
    of: Mapping[str, Look]
    second: Maps


def rows_of_model(
    subject: Subject,
    model: Classifier,
    forgeries: Sequence[Forgery],
    logits: Tensor,
    looks: Looks,
) -> list[Row]:
    """Predictions, probabilities, loss and its gradient, and what gives a shift away."""
    missing = subject.targets < 0
    explained = subject.targets.clamp_min(0)
    map_of = looks.clean.map_of
    loss = model.explained("loss", logits, explained)
    gradient = map_of(model, "gradient", "loss")
    rows = []
    if model.outputs.exclusive:
        accuracy = CHECKS["accuracy"].function(logits, subject.labels)
        rows += subject.rows("accuracy", accuracy, setting=BEFORE)
        rows += _rows_of_agreement(subject, model, looks.clean, BEFORE)
    for forgery in forgeries:
        saved, setting, look = forgery.saved, forgery.setting, looks.of[forgery.setting]
        after = predict(saved, look.images, batch_size=len(logits))
        values = {
            "logit-change": (after, logits),
            "loss-change": (saved.explained("loss", after, explained), loss),
            "loss-gradient-change": (look.map_of(saved, "gradient", "loss"), gradient),
        }
        for check in ("prediction-kept", "prob-change"):
            numbers = CHECKS[check].function(after, logits, outputs=model.outputs)
            rows += subject.rows(check, numbers, setting=setting)
        for check, (value, reference) in values.items():
            numbers = CHECKS[check].function(value, reference)
            if check.startswith("loss"):
                numbers = numbers.masked_fill(missing, torch.nan)
            rows += subject.rows(check, numbers, setting=setting)
        if forgery.gradient_bound is not None:
            share = CHECKS["gradient-bound-share"].function(
                *values["loss-gradient-change"], bound=forgery.gradient_bound
            )
            share = share.masked_fill(missing, torch.nan)
            rows += subject.rows("gradient-bound-share", share, setting=setting)
        if model.outputs.exclusive:
            rows += _rows_of_agreement(subject, saved, look, setting)
    return rows


def _rows_of_agreement(subject: Subject, model: Classifier, look: Look, setting: str) -> list[Row]:
    """Whether the logit's gradient is that of the centred logit, which no shift moves."""
    maps = (look.map_of(model, "gradient", scalar) for scalar in ("logit", "centred-logit"))
    agreement = CHECKS["scalar-agreement"].function(*maps)
    return subject.rows(
        "scalar-agreement",
        agreement.masked_fill(subject.targets < 0, torch.nan),
        setting=setting,
        saliency="gradient",
    )


def rows_held_out(forgeries: Sequence[Forgery], model: str) -> list[Row]:
    """Accuracy on images held out, before and after, of forgeries that were trained.

    Args:
        forgeries: all of a run.
        model: name of the given model.
    """
    rows: list[Row] = []
    seen = set()
    for forgery in forgeries:
        if forgery.held_out is None:
            continue
        for setting, held_out in zip((BEFORE, forgery.setting), forgery.held_out, strict=True):
            if setting not in seen:
                seen.add(setting)
                unexplained = torch.full_like(held_out.labels, -1)
                subject = Subject(held_out.names, held_out.labels, unexplained, model)
                rows += subject.rows("held-out-accuracy", held_out.values, setting=setting)
    return rows


def rows_of_maps(
    subject: Subject,
    model: Classifier,
    forgeries: Sequence[Forgery],
    name: str,
    scalar: str,
    picture: Tensor,
    looks: Looks,
    *,
    drawn: int,
) -> tuple[list[Row], list[Example], dict[str, UnsupportedError]]:
    """One method under one scalar: its maps against what is wanted, and before against after.

    Returns:
        Rows, the first ``drawn`` maps to draw, and by setting why maps are undefined.
    """
    rows: list[Row] = []
    examples: list[Example] = []
    problems: dict[str, UnsupportedError] = {}
    missing = subject.targets < 0

    def blank() -> Tensor:
        return torch.full((len(missing), 1, *picture.shape), torch.nan, device=picture.device)

    def add(check: str, value: Tensor, reference: Tensor, setting: str) -> None:
        numbers = CHECKS[check].function(value, reference).masked_fill(missing, torch.nan)
        rows.extend(subject.rows(check, numbers, setting=setting, saliency=name, scalar=scalar))

    def without_map(maps: Tensor, look: Look, of: Classifier, setting: str) -> list[Row]:
        problem = problems.get(setting or BEFORE)
        refused: Mapping[str, str] = (
            look.map_of.refused(of, scalar)
            if problem is None
            else dict.fromkeys(subject.names, f"failed: {problem}")
        )
        return subject.without_map(
            maps, saliency=name, scalar=scalar, setting=setting, refused=refused
        )

    try:
        before = looks.clean.map_of(model, name, scalar)
    except UnsupportedError as error:
        problems[BEFORE], before = error, blank()
    rows += without_map(before, looks.clean, model, "")
    was = magnitude(before)
    wanted: dict[str, Tensor] = {}
    for aim in dict.fromkeys(["picture", *(forgery.aim for forgery in forgeries)]):
        entry = AIMS[aim]
        other = magnitude(looks.second(model, name, scalar)) if entry.swaps else was
        wanted[aim] = function_of(entry.wanted)(picture, was, other)
        add(entry.check, was, wanted[aim], BEFORE)
    add("spearman-to-picture", was, wanted["picture"], BEFORE)
    examples += _drawn(subject, before, drawn, name, scalar, BEFORE, "before")

    for forgery in forgeries:
        setting, map_of = forgery.setting, looks.of[forgery.setting].map_of
        try:
            after = with_fallback(forgery, partial(map_of, name=name, scalar=scalar))
        except UnsupportedError as error:
            problems[setting], after = error, torch.full_like(before, torch.nan)
        rows += without_map(after, looks.of[setting], forgery.saved, setting)
        shown = magnitude(after)
        add(AIMS[forgery.aim].check, shown, wanted[forgery.aim], setting)
        if forgery.aim == "picture":
            add("spearman-to-picture", shown, wanted["picture"], setting)
        add("cosine", after, before, setting)
        add("spearman", after.mean(1), before.mean(1), setting)
        add("spearman-abs", shown, was, setting)
        examples += _drawn(subject, after, drawn, name, scalar, setting, "after")
        if forgery.aim != "picture" and AIMS[forgery.aim].drawn:
            aimed = wanted[forgery.aim].unsqueeze(1)
            examples += _drawn(subject, aimed, drawn, name, scalar, setting, "wanted")
    return rows, examples, problems


def _drawn(
    subject: Subject,
    maps: Tensor,
    drawn: int,
    saliency: str,
    scalar: str,
    setting: str,
    role: str,
) -> list[Example]:
    return [
        map_example(image, maps[i], saliency=saliency, scalar=scalar, setting=setting, role=role)
        for i, image in enumerate(subject.names[:drawn])
    ]
