"""The report of ``check``."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from saliency_audit.commands.check.tables import (
    accuracy_table,
    assumed_table,
    costs_table,
    methods_table,
    says_table,
)
from saliency_audit.report.figures import PanelRow, draw_maps, draw_table
from saliency_audit.report.gallery import Gallery, gallery_of, images_with, tile
from saliency_audit.report.html import Section
from saliency_audit.report.page import OVER_A_PICTURE, shorten
from saliency_audit.report.sections import captioned, filled, write_page, write_tables
from saliency_audit.report.wording import summary_table
from saliency_audit.types import Example

_QUESTION = "What was loaded, and what will work?"
_INTRODUCTION = (
    "An audit of the wrong network, or of the right one behind the wrong preprocessing, gives "
    "numbers that look like any others. Look here first: are these the images as the network is "
    "used to them, does it say what it should, and has each saliency method a map at all?",
)
_ACCURACY = (
    "The same network behind the preprocessing that others are usually trained with. If one of "
    "them is right on many more images, it was probably trained with those.",
)
_METHODS = (
    "Whether there is a map was looked at with few samples and steps; passes are those of a map as "
    "it will be made, seconds those of as many forward and backward passes here and now.",
)
_COSTS = (
    "With their defaults, and as a first look with --quick. Passes are counted from the plan, "
    "seconds by one timed batch, here and now; what sets up a run and the report come on top.",
)
_LIMITS = (
    "A few images tell whether something works, not how well. A method that has a map is not "
    "thereby right; that is what the other commands measure.",
    "Each map is drawn in its own range.",
)


def write_check_report(
    folder: Path,
    *,
    accuracies: pd.DataFrame,
    methods: pd.DataFrame,
    costs: pd.DataFrame,
    says: pd.DataFrame,
    assumed: Mapping[str, Any],
    examples: Sequence[Example],
    sentence: str,
    run: Mapping[str, Any],
    summary: pd.DataFrame,
    said: Mapping[str, str] | None = None,
) -> list[Path]:
    """Write everything ``check`` shows but ``results.csv`` and ``run.json``.

    Args:
        folder: the output folder.
        accuracies: under each preprocessing.
        methods: which have a map, what one takes, why not.
        costs: what each command would take.
        says: of the first images.
        assumed: what was loaded and assumed.
        examples: images and their maps.
        sentence: the answer.
        run: facts about the run.
        summary: of `summarise`.
        said: by image, the class that its maps explain.

    Returns:
        The files written.

    Raises:
        AuditError: a file cannot be written.
    """
    written = write_tables(
        folder,
        summary=summary,
        accuracies=accuracies,
        methods=methods,
        says=says,
        costs=costs,
    )
    drawn = _draw_maps(gallery_of(examples, said), methods, folder)
    table = methods_table(methods)
    written += draw_table(table, folder, "methods", title="Which saliency methods have a map?")
    return written + write_page(
        folder,
        title=_QUESTION,
        sentence=sentence,
        run=run,
        introduction=_INTRODUCTION,
        parts=filled(
            [
                Section("What was loaded and assumed", tables=[assumed_table(assumed)]),
                Section("What the model says", tables=[says_table(says)]),
                Section(
                    "Accuracy, and what it would be", _ACCURACY, tables=[accuracy_table(accuracies)]
                ),
                Section("Which methods have a map", _METHODS, tables=[table]),
                Section("What the commands would take", _COSTS, tables=[costs_table(costs)]),
                Section("The maps", pictures=captioned(drawn, "The first images and their maps.")),
            ]
        ),
        limits=_LIMITS,
        numbers=[summary_table(summary)],
    )


def _draw_maps(gallery: Gallery, methods: pd.DataFrame, folder: Path) -> list[Path]:
    """The first images and every method's map of them, a column for each image."""
    made = {(e.saliency, e.scalar) for e in gallery.found.values() if e.role == "map"}
    names = list(dict.fromkeys(e.image for e in gallery.found.values() if e.role == "image"))
    rows = [
        PanelRow(name, [tile(gallery, "map", image, name, scalar) for image in names])
        for name in methods["saliency"]
        for saliency, scalar in sorted(made)
        if saliency == name and images_with(gallery, "map", name, scalar, "")
    ]
    return draw_maps(
        rows,
        folder,
        "maps",
        title="What each method shows",
        columns=[shorten(name, OVER_A_PICTURE) for name in names],
        footnote="Each map in its own range; made with few samples and steps." + gallery.legend,
        first=PanelRow("image", [tile(gallery, "image", name) for name in names]),
    )
