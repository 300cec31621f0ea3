"""The report of ``fool``."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from saliency_audit.commands.fool.figures import (
    Gallery,
    draw_examples,
    draw_trick,
    draw_verdicts,
    short_names,
)
from saliency_audit.report.html import Picture, Section
from saliency_audit.report.sections import write_page, write_tables
from saliency_audit.report.table import Table
from saliency_audit.report.tables import cell
from saliency_audit.report.wording import (
    described,
    images,
    number,
    summary_table,
    with_interval,
)
from saliency_audit.types import Example

WORDS = {
    "forged": "the map now shows the picture (mean cosine at least 0.9, its interval above that of "
    "the untouched model), while every prediction and every probability stayed as it was.",
    "disturbed": "the map changed (mean cosine of the map before with the map after below 0.9), "
    "but it does not show the picture, or predictions changed with it.",
    "unmoved": "the map stayed as it was.",
    "undefined": "there is no number to judge by: the maps are constant, zero or not finite, or "
    "the method failed. Not a pass.",
}
_INTRODUCTION = (
    "A saliency map marks the pixels that a model is said to have decided by. Someone who owns the "
    "model's weights can add to it a part that changes no prediction and yet decides what such "
    "maps show. This audit built such models, saved them, loaded them again, and looked whether "
    "the usual maps now show a picture chosen beforehand.",
    "A map that can be forged is no evidence of why a model decided, unless the weights are known "
    "to be honest. A map that stayed unmoved withstood these tricks, not every trick.",
)
_OF_MODEL = (
    "Against the given model: prediction-kept is the share of images with the same predicted "
    "class, prob-change the largest change of a class probability, loss-change that of the "
    "cross-entropy. The smaller the changes, the harder the manipulation is to notice.",
    "scalar-agreement tells on a shifted model: it is the cosine of the logit's gradient with that "
    "of the centred logit, which no shift can move. Low means that something was added to all "
    "logits alike.",
)
_LIMITS = (
    "Every number was measured on the manipulated models as loaded from the saved files, against "
    "the model that was given, on the same images and for the same class.",
    "Cosines with the picture are those of the map's magnitude, averaged over colour channels. "
    "Means come with 95 % intervals: a percentile bootstrap over images, and Wilson's score "
    "interval for shares such as prediction-kept. Undefined values are counted, never averaged.",
    "A map that resembles the picture by nature has a high cosine before already; compare before "
    "with after. The control is the same measurement on a map of random numbers.",
    "Maps are drawn each in its own range: their patterns can be compared, their strengths not.",
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

    Returns:
        The files written.

    Raises:
        AuditError: a file cannot be written.
    """
    written = write_tables(folder, summary=summary, verdicts=verdicts)
    judged = verdicts[verdicts["scalar"] != ""]
    cosines = {} if results is None else _cosines(results)
    gallery = Gallery(examples, cosines)
    figures: list[Picture] = []
    overview: list[Picture] = []
    if len(judged):
        overview.append(
            Picture(
                draw_verdicts(judged, folder / "verdicts.png"),
                "The verdicts at a glance. Numbers: mean cosine with the picture, before → after.",
            )
        )
        for trick, stem in short_names(judged["trick"]).items():
            own = judged[judged["trick"] == trick]
            figures += [
                Picture(
                    path,
                    f"{_described(trick)}: each method's map on the given and on the manipulated "
                    "model, for one image.",
                )
                for path in draw_trick(gallery, own, trick, folder, stem)
            ]
        if several := draw_examples(gallery, judged, folder / "examples.png"):
            figures.append(Picture(several, "The same method on several images."))
    return written + write_page(
        folder,
        title="Can these saliency maps be forged?",
        sentence=sentence,
        run=run,
        introduction=_INTRODUCTION,
        parts=[
            Section("Verdicts", pictures=overview, tables=_verdict_tables(verdicts, cosines)),
            Section("What the words mean", terms=words or WORDS),
            Section(
                "What the tricks did to the model itself",
                _OF_MODEL,
                tables=[*_promise_tables(promises), *_model_tables(summary)],
            ),
            Section("The maps", pictures=figures),
        ],
        limits=_LIMITS,
        numbers=[summary_table(summary)],
    )


def _cosines(results: pd.DataFrame) -> dict[tuple[str, str, str, str], float]:
    """Cosine with the picture by image, saliency, scalar and setting."""
    rows = results[(results["check"] == "cosine-to-picture") & (results["status"] == "ok")]
    keys = zip(rows["image"], rows["saliency"], rows["scalar"], rows["setting"], strict=True)
    return dict(zip(keys, rows["value"].astype(float), strict=True))


def _verdict_tables(
    verdicts: pd.DataFrame, cosines: Mapping[tuple[str, str, str, str], float]
) -> list[Table]:
    """A table for each trick."""
    shown: dict[tuple[str, str, str], list[bool]] = {}
    for (_, saliency, scalar, setting), cosine in cosines.items():
        shown.setdefault((setting, saliency, scalar), []).append(cosine >= 0.9)
    tables = []
    for trick, own in verdicts.groupby("trick", sort=False):
        rows = []
        for row in own.itertuples():
            per_image = shown.get((str(trick), str(row.saliency), str(row.scalar)), ())
            rows.append(
                (
                    str(row.saliency),
                    str(row.scalar) or "none (control)",
                    str(row.verdict),
                    with_interval(row.before, row.before_low, row.before_high, digits=".3f"),
                    with_interval(row.after, row.after_low, row.after_high, digits=".3f"),
                    number(row.cosine, ".3f"),
                    images(
                        f"{sum(per_image)} of {len(per_image)}" if per_image else row.n,
                        getattr(row, "n_undefined", 0),
                    ),
                )
            )
        columns = (
            "method",
            "explained scalar",
            "verdict",
            "cosine with picture,\nbefore [95 % CI]",
            "cosine with picture,\nafter [95 % CI]",
            "cosine of before\nwith after",
            "images with\nafter ≥ 0.9" if shown else "images",
        )
        tables.append(Table(columns, rows, labels=3, title=_described(str(trick))))
    return tables


def _promise_tables(promises: pd.DataFrame | None) -> list[Table]:
    """The worst value of any image beside the largest that theory, or fp32, allows."""
    if promises is None or not len(promises):
        return []
    rows = [
        (
            _described(str(row.trick)),
            str(row.check),
            number(row.worst, ".2g"),
            number(row.bound, ".2g"),
            str(row.kept),
            images(row.n, row.n_undefined),
        )
        for row in promises.itertuples()
    ]
    columns = ("trick", "check", "worst image", "promised", "kept", "images")
    return [Table(columns, rows, labels=2, title="Measured beside what the trick promises")]


def _model_tables(summary: pd.DataFrame) -> list[Table]:
    """What was measured of the models alone, a table for each of them."""
    of_model = summary[(summary["saliency"] == "") | (summary["check"] == "scalar-agreement")]
    return [
        Table(
            ("check", "mean", "images"),
            [
                (str(row.check), with_interval(row.mean, row.ci_low, row.ci_high), cell(row.n))
                for row in own.itertuples()
            ],
            title=_described(str(setting)),
        )
        for setting, own in of_model.groupby("setting", sort=False)
    ]


def _described(setting: str) -> str:
    return described(setting, "trick", "stage")
