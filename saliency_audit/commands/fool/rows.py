"""What `fool` measures on one batch of images: the model, then each map."""

from collections.abc import Sequence

import torch
from torch import Tensor

from saliency_audit.commands.explain import Maps, predict
from saliency_audit.commands.fool.forgery import Forgery, with_fallback
from saliency_audit.commands.rows import Subject, map_example
from saliency_audit.errors import UnsupportedError
from saliency_audit.maps import magnitude
from saliency_audit.metrics import CHECKS
from saliency_audit.models import Classifier
from saliency_audit.types import Example, Row

BEFORE = "stage=before"


def rows_of_model(
    subject: Subject,
    model: Classifier,
    forgeries: Sequence[Forgery],
    images: Tensor,
    logits: Tensor,
    map_of: Maps,
) -> list[Row]:
    """Predictions, probabilities, loss and its gradient, and what gives a shift away."""
    missing = subject.targets < 0
    explained = subject.targets.clamp_min(0)
    at_once = len(images)
    loss = model.explained("loss", logits, explained)
    gradient = map_of(model, "gradient", "loss")
    accuracy = CHECKS["accuracy"].function(logits, subject.labels)
    rows = subject.rows("accuracy", accuracy, setting=BEFORE)
    rows += subject.rows(
        "scalar-agreement",
        CHECKS["scalar-agreement"]
        .function(map_of(model, "gradient", "logit"), map_of(model, "gradient", "centred-logit"))
        .masked_fill(missing, torch.nan),
        setting=BEFORE,
        saliency="gradient",
    )
    for forgery in forgeries:
        saved, setting = forgery.saved, forgery.setting
        shifted = map_of(saved, "gradient", "logit"), map_of(saved, "gradient", "centred-logit")
        after = predict(saved, images, batch_size=at_once)
        values = {
            "prediction-kept": (after, logits),
            "prob-change": (after, logits),
            "logit-change": (after, logits),
            "loss-change": (saved.explained("loss", after, explained), loss),
            "loss-gradient-change": (
                map_of(saved, "gradient", "loss"),
                gradient,
            ),
        }
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
        rows += subject.rows(
            "scalar-agreement",
            CHECKS["scalar-agreement"].function(*shifted).masked_fill(missing, torch.nan),
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
    wanted: Tensor,
    map_of: Maps,
    *,
    drawn: int,
) -> tuple[list[Row], list[Example], dict[str, UnsupportedError]]:
    """One method under one scalar: its maps against the picture, and before against after.

    Returns:
        Rows, the first ``drawn`` maps to draw, and by setting why maps are undefined.
    """
    rows: list[Row] = []
    examples: list[Example] = []
    problems: dict[str, UnsupportedError] = {}
    before, missing = None, subject.targets < 0
    for forgery in (None, *forgeries):
        setting, role = (forgery.setting, "after") if forgery else (BEFORE, "before")
        try:
            if forgery is None:
                saliency = before = map_of(model, name, scalar)
            else:
                saliency = with_fallback(forgery, lambda saved: map_of(saved, name, scalar))
        except UnsupportedError as error:
            problems[setting] = error
            blank = wanted.expand(len(missing), 1, *wanted.shape) if before is None else before
            saliency = torch.full_like(blank, torch.nan)
            before = saliency if before is None else before
        shown = magnitude(saliency)
        picture = wanted.expand_as(shown)
        values = {"cosine-to-picture": (shown, picture), "spearman-to-picture": (shown, picture)}
        if forgery is not None:
            assert before is not None
            values["cosine"] = (saliency, before)
            values["spearman"] = (saliency.mean(1), before.mean(1))
            values["spearman-abs"] = (shown, magnitude(before))
        for check, (value, reference) in values.items():
            numbers = CHECKS[check].function(value, reference).masked_fill(missing, torch.nan)
            rows += subject.rows(check, numbers, setting=setting, saliency=name, scalar=scalar)
        examples += [
            map_example(
                image, saliency[i], saliency=name, scalar=scalar, setting=setting, role=role
            )
            for i, image in enumerate(subject.names[:drawn])
        ]
    return rows, examples, problems
