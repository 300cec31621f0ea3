"""What the page and the folder of every command have in common."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from saliency_audit.report.html import Picture, Section, write_html
from saliency_audit.report.table import Table
from saliency_audit.report.tables import write_csv
from saliency_audit.report.wording import facts, facts_table, subtitle, summary_table


def write_tables(folder: Path, **tables: pd.DataFrame | None) -> list[Path]:
    """Write ``NAME.csv`` for each table that there is.

    Args:
        folder: the output folder.
        tables: by name; an underscore is a hyphen in the file's name.

    Returns:
        The files written.

    Raises:
        AuditError: a file cannot be written.
    """
    return [
        write_csv(folder / f"{name.replace('_', '-')}.csv", table)
        for name, table in tables.items()
        if table is not None
    ]


def write_page(
    folder: Path,
    *,
    title: str,
    sentence: str,
    run: Mapping[str, Any],
    introduction: Sequence[str],
    parts: Sequence[Section],
    limits: Sequence[str],
    numbers: Sequence[Table],
    folded: Sequence[Section] = (),
    about: str | None = None,
) -> list[Path]:
    """Write ``report.html``: the question, a command's own parts, and what all pages end with.

    Args:
        folder: the output folder.
        title: the question.
        sentence: the answer.
        run: facts about the run.
        introduction: to the question.
        parts: what was found; their pictures are already drawn.
        limits: of what was measured.
        numbers: all of them.
        folded: parts before the numbers.
        about: what was audited, in a line; by default from ``run``.

    Returns:
        The files of the pictures, then the page.

    Raises:
        AuditError: the file cannot be written.
    """
    known = facts(run)
    page = write_html(
        folder / "report.html",
        title=title,
        subtitle=subtitle(known) if about is None else about,
        verdict_sentence=sentence,
        sections=[
            Section("The question", introduction),
            *parts,
            Section("How this was measured, and its limits", limits),
            *folded,
            Section("All numbers", tables=numbers, folded=True),
            Section("This run", tables=[facts_table(known)]),
        ],
    )
    return [*(picture.path for part in parts for picture in part.pictures), page]


def filled(parts: Iterable[Section]) -> list[Section]:
    """The parts that have more to show than what they would show it of."""
    return [part for part in parts if part.terms or part.pictures or part.tables]


def captioned(paths: Iterable[Path | None], caption: str) -> list[Picture]:
    """The pictures that were drawn, with the same caption."""
    return [Picture(path, caption) for path in paths if path]


def numbers_by_model(summary: pd.DataFrame, *, named: bool) -> list[Table]:
    """All of `summarise`, a table for each model.

    Args:
        summary: of `summarise`.
        named: each has its model above it.
    """
    return [
        replace(summary_table(own), title=str(model) if named else "")
        for model, own in summary.groupby("model", sort=False)
    ]
