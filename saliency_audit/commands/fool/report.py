"""The report of ``fool``."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from saliency_audit.catalogue.tricks import AIMS
from saliency_audit.commands.fool.figures import draw_examples, draw_trick, short_names
from saliency_audit.commands.fool.tables import (
    aims_in,
    detail_tables,
    model_tables,
    promise_tables,
    verdict_table,
)
from saliency_audit.commands.fool.verdict import FOOL_WORDS, why_not_forged
from saliency_audit.report.figures import View, draw_table
from saliency_audit.report.gallery import gallery_of
from saliency_audit.report.html import Picture, Section
from saliency_audit.report.sections import captioned, write_page, write_tables
from saliency_audit.report.table import Table
from saliency_audit.report.wording import described, summary_table
from saliency_audit.types import Example

_QUESTION = "Can these saliency maps be forged?"
_COSINE = (
    "Columns: the trick. Numbers: mean cosine of the map's magnitude with the picture, before -> "
    "after; 1 is the picture itself."
)
_AIMED = "Columns: the trick. Numbers: how much of what is wanted the map shows, before -> after."
_INTRODUCTION = (
    "A saliency map marks the pixels that a model is said to have decided by. Someone who owns the "
    "model's weights can add to it a part that changes no prediction and yet decides what such "
    "maps show, or train them until they show it. This audit built such models, saved them, loaded "
    "them again, and looked whether the usual maps now show what was chosen beforehand.",
    "A map that can be forged is no evidence of why a model decided, unless the weights are known "
    "to be honest. A map that stayed unmoved withstood these tricks, not every trick.",
)
_OF_MODEL = (
    "Against the given model: prediction-kept is the share of images with the same predicted "
    "class (of a multi-label model, the same outputs above one half), prob-change the largest "
    "change of a class probability, loss-change that of the cross-entropy. The smaller the "
    "changes, the harder the manipulation is to notice.",
    "scalar-agreement tells on a shifted model: it is the cosine of the logit's gradient with that "
    "of the centred logit, which no shift can move. Low means that something was added to all "
    "logits alike.",
    "accuracy-drop, of a trick that trains, is how much lower the accuracy on training images held "
    "out is than before; which weights are kept was decided on the same images.",
)
_LIMITS = (
    "Every number was measured on the manipulated models as loaded from the saved files, against "
    "the model that was given, on the same images and for the same class.",
    "Cosines with the picture are those of the map's magnitude, averaged over colour channels. "
    "Means come with 95 % intervals: a percentile bootstrap over images, and Wilson's score "
    "interval for shares such as prediction-kept. Undefined values are counted, never averaged.",
    "A map that resembles the picture by nature has a high cosine before already; compare before "
    "with after. The control is the same measurement on a map of random numbers.",
    "Maps are drawn each in its own range, but with --view none: their patterns can be compared, "
    "their strengths not.",
)


def write_fool_report(
    folder: Path,
    *,
    summary: pd.DataFrame,
    verdicts: pd.DataFrame,
    examples: Sequence[Example],
    sentence: str,
    run: Mapping[str, Any],
    results: pd.DataFrame | None = None,
    words: Mapping[str, str] | None = None,
    promises: pd.DataFrame | None = None,
    said: Mapping[str, str] | None = None,
    view: View = "",
) -> list[Path]:
    """Write everything ``fool`` shows but ``results.csv`` and ``run.json``.

    Args:
        folder: the output folder.
        summary: of `summarise`.
        verdicts: ``trick,saliency,scalar,before,before_low,before_high,after,after_low,
            after_high,cosine,n,verdict``; ``trick`` is a setting or a name, ``scalar`` is empty
            for controls.
        examples: images, maps before and after, and the picture.
        sentence: the answer.
        run: facts about the run; "model", "data" and "clean accuracy" also stand at the top.
        results: rows of ``results.csv``, for the numbers of single images.
        words: what the verdicts mean.
        promises: ``trick,check,n,n_undefined,worst,bound,kept``: the worst value of any image
            beside what the trick promises.
        said: by image, the class that its maps explain.
        view: how the pictures scale maps, see `colours`.

    Returns:
        The files written.

    Raises:
        AuditError: a file cannot be written.
    """
    written = write_tables(folder, summary=summary, verdicts=verdicts)
    judged = verdicts[verdicts["scalar"] != ""]
    gallery, values = gallery_of(examples, said, view), {} if results is None else _shown(results)
    figures: list[Picture] = []
    overview: list[Table] = []
    legend = _COSINE
    if len(judged):
        why = {} if promises is None else why_not_forged(promises)
        overview = [verdict_table(verdicts, why)]
        wanted = aims_in(judged["trick"])
        legend = " ".join([_AIMED, *(f"{each}." for each in wanted)]) if wanted else _COSINE
        written += draw_table(overview[0], folder, "verdicts", title=_QUESTION, footnote=legend)
        for trick, stem in short_names(judged["trick"]).items():
            own = judged[judged["trick"] == trick]
            figures += captioned(
                draw_trick(gallery, values, own, folder, stem),
                f"{described(trick, 'trick')}: each method's map on the given and on the "
                "manipulated model, for one image.",
            )
        figures += captioned(
            draw_examples(gallery, values, judged, folder), "The same method on several images."
        )
    return written + write_page(
        folder,
        title=_QUESTION,
        sentence=sentence,
        run=run,
        introduction=_INTRODUCTION,
        parts=[
            Section("Verdicts", (legend,), tables=overview),
            Section("What the words mean", terms=words or FOOL_WORDS),
            Section("The verdicts in numbers", tables=detail_tables(verdicts, results)),
            Section(
                "What the tricks did to the model itself",
                _OF_MODEL,
                tables=[*promise_tables(promises), *model_tables(summary)],
            ),
            Section("The maps", pictures=figures),
        ],
        limits=_LIMITS,
        numbers=[summary_table(summary)],
    )


def _shown(results: pd.DataFrame) -> dict[tuple[str, ...], float]:
    """How much of what is wanted, by check, image, saliency, scalar and setting."""
    checks = {aim.check for aim in AIMS.values()}
    rows = results[results["check"].isin(checks) & (results["status"] == "ok")]
    names = ["check", "image", "saliency", "scalar", "setting"]
    keys = zip(*(rows[name] for name in names), strict=True)
    return dict(zip(keys, rows["value"].astype(float), strict=True))
