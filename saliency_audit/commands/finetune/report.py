"""The report of ``finetune``."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from saliency_audit.catalogue.entries import Check
from saliency_audit.commands.evaluate.tables import failure_tables, metric_table
from saliency_audit.commands.finetune.maps import draw_before_after, draw_both
from saliency_audit.commands.finetune.tables import change_table
from saliency_audit.commands.finetune.training import draw_training
from saliency_audit.report.figures import draw_table
from saliency_audit.report.html import Picture, Section
from saliency_audit.report.sections import (
    captioned,
    filled,
    numbers_by_model,
    write_page,
    write_tables,
)
from saliency_audit.types import Example

PICTURES = ("changes", "training", "before-after")
"""How the names of pictures begin that are not named after a check."""

_CHANGES = "What did training change?"
_NOTE = (
    "Means over images, and the mean of the paired differences, after minus before on the same "
    "images, with its 95 % interval. The word is about that difference."
)
_INTRODUCTION = (
    "A gradient tells how the answer would change with each pixel. Trained for answers alone, a "
    "network has no reason to keep its gradients meaningful. This training was to change that, or "
    "is the control of one that was. The question is what it gained and what it cost: the same "
    "images were measured with the model before, or the one it is compared with, and after.",
    "Losses stand beside gains. How a map looks is no measurement: a cleaner map may only come "
    "from a smoother network.",
)
_CHANGED = (
    "control: the same number of a random map, or of noise as large as the attack's budget. Where "
    "the control moved as much as the map, it is the model that changed, not the map: a model that "
    "is less sure has a smaller area under its probabilities whatever is deleted.",
    "topk-intersection compares the map of an image with that of the same image attacked to move "
    "it, the prediction unchanged; each model faces an attack of its own.",
    "Stability compares maps with those of another model: where none was given, with those of the "
    "model before. It then tells how much of the old map is kept, and is not compared.",
)
_ALONE = (
    "softplus alone: the model before, not trained, with the softplus that was trained in place of "
    "its own activation. What differs there already is not the training's."
)
_MAPS = (
    "Each map in its own range: patterns can be compared, strengths cannot. Both models are "
    "asked for the class that they predict themselves, unless the label was asked for.",
)
_CURVES = (
    "Pixels are replaced step by step, and the model is asked at every step. Compare each line "
    "with that of the random map on the same model, then the two distances with each other.",
)


def _limits(n: int) -> tuple[str, ...]:
    """What the numbers do not tell, of ``n`` images."""
    return (
        "Better gradient-based numbers may only mean smaller or smoother gradients: a network "
        "whose slopes are short everywhere is harder to attack by its slopes, and its maps move "
        "less, without telling more of what it decides by. That is why the norms stand beside.",
        "This is one training. Another seed gives another model, and the intervals do not hold "
        "that: they are about images. Train with several seeds before calling a small difference "
        "one of the objective, and compare with cross-entropy over the same steps, since longer "
        "training alone changes these numbers too.",
        "Robust accuracy is an upper bound: a stronger attack would find more images that fool the "
        "model. So is a map's steadiness under attack: it withstood this search, not every one.",
        f"All but the accuracy was measured on {n} images. Differences are paired, image by image, "
        "with 95 % percentile bootstrap intervals, not corrected for the number of comparisons: of "
        "twenty words one may be chance. What lies in an interval is not thereby equal.",
        "The training never saw these images only if they are not among those it was given. On "
        "training images all of this looks better than it is.",
        "Deletion and discriminative replace pixels: such images are unlike all that a model was "
        "trained on. An objective that trains on changed images makes a model steadier there.",
        "Undefined values are counted, never averaged.",
    )


def write_finetune_report(
    folder: Path,
    *,
    training: pd.DataFrame,
    terms: Sequence[str],
    summary: pd.DataFrame,
    verdicts: pd.DataFrame,
    curves: pd.DataFrame,
    examples: Sequence[Example],
    sentence: str,
    run: Mapping[str, Any],
    words: Mapping[str, str],
    checks: Mapping[str, Check],
    compared: pd.DataFrame | None = None,
) -> list[Path]:
    """Write everything ``finetune`` shows but the model, ``training.csv``, results and run.

    Args:
        folder: the output folder.
        training: rows of ``training.csv``, see `finetune_training.COLUMNS`.
        terms: of the loss, names of columns in it.
        summary: of `summarise`; the model before comes first, the one after last.
        verdicts: ``check,saliency,setting,before,before_low,before_high,swapped,swapped_low,
            swapped_high,after,after_low,after_high,difference,difference_low,difference_high,control_before,control_after,n,
            n_undefined,word``.
        curves: ``model,saliency,check,x,mean,ci_low,ci_high,n``; may be empty.
        examples: roles "image", "before", "swapped" and "after".
        sentence: the answer.
        run: facts about the run; "model", "data" and "clean accuracy" also stand at the top.
        words: what the verdicts mean.
        checks: what is known of each check, by name.
        compared: of `between_models`; None where there is no model before.

    Returns:
        The files written.

    Raises:
        AuditError: a file cannot be written.
    """
    written = write_tables(
        folder, summary=summary, verdicts=verdicts, curves=curves, compare=compared
    )
    overview = [change_table(verdicts, checks)] if len(verdicts) else []
    for table in overview:
        written += draw_table(table, folder, "changes", title=_CHANGES, footnote=_NOTE)
    course = captioned(
        [draw_training(training, terms, folder / "training.png")],
        "Accuracy, the terms of the loss, and what else was followed, by step.",
    )
    maps = captioned(
        draw_before_after(examples, folder), "The first images, and their maps before and after."
    )
    charts = [
        Picture(path, f"{name}, before and after, beside the random map.")
        for name, path in draw_both(curves, summary, folder, checks=checks).items()
    ]
    swapped = bool(verdicts["swapped"].notna().any())
    audited = verdicts[verdicts["check"] != "accuracy"][["n", "n_undefined"]].sum(axis=1)
    sections = [
        Section("What changed", (*_CHANGED, *([_ALONE] * swapped)), tables=overview),
        Section("How the training went", pictures=course),
        Section("The maps", _MAPS, pictures=maps),
        Section("What happens as pixels are replaced", _CURVES, pictures=charts),
        Section("What the words mean", terms=words),
        Section("What was measured", tables=metric_table(summary, checks)),
        Section("What failed", tables=failure_tables(summary)),
    ]
    return written + write_page(
        folder,
        title="What did this training gain, and what did it cost?",
        sentence=sentence,
        run=run,
        introduction=_INTRODUCTION,
        parts=filled(sections),
        limits=_limits(int(audited.max()) if len(audited) else 0),
        numbers=numbers_by_model(summary, named=True),
    )
