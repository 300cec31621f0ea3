"""The verdicts of ``evaluate`` in one picture, and how its pictures are numbered."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd

from saliency_audit.catalogue.entries import Check
from saliency_audit.catalogue.methods import CONTROLS
from saliency_audit.commands.evaluate.columns import BETTER, Column, columns, methods
from saliency_audit.report.figures import framed
from saliency_audit.report.page import MARGIN, SMALL, VERDICT_COLOURS, shorten
from saliency_audit.report.wording import fitting_interval

Item = TypeVar("Item")

_HALF = "sanity-cascade"  # the check that is compared with one half
_ACROSS = 6  # metrics of a page that is still readable
_HEAD, _CELL = 20, 26  # characters of a line that fit


def numbered(folder: Path, name: str, i: int) -> Path:
    """The i-th picture of a name, from 0: ``name.png``, ``name-2.png``.

    >>> str(numbered(Path("out"), "maps", 0)), str(numbered(Path("out"), "maps", 1))
    ('out/maps.png', 'out/maps-2.png')
    """
    return folder / (f"{name}-{i + 1}.png" if i else f"{name}.png")


def of_pages(i: int, count: int) -> str:
    """Which page of several, behind a title.

    >>> of_pages(0, 3), of_pages(0, 1)
    (' (1 of 3)', '')
    """
    return f" ({i + 1} of {count})" if count > 1 else ""


def draw_verdicts(
    verdicts: pd.DataFrame, folder: Path, *, checks: Mapping[str, Check]
) -> list[Path]:
    """Tables of verdicts: methods down and the controls last, metrics across.

    Args:
        verdicts: ``model,saliency,check,setting,mean,ci_low,ci_high,verdict`` and more.
        folder: where to.
        checks: for the direction.

    Returns:
        ``verdicts.png``, and further ones for further models and where metrics are too many.

    Raises:
        AuditError: a file cannot be written.
    """
    pages = [
        (str(model), own, part, of_pages(i, len(parts)))
        for model, own in verdicts.groupby("model", sort=False)
        for parts in [pages_of(columns(own), _ACROSS)]
        for i, part in enumerate(parts)
    ]
    several = verdicts["model"].nunique() > 1
    return [
        _draw_table(
            methods(own),
            part,
            numbered(folder, "verdicts", i),
            heads=[_head(column, checks) for column in part],
            title="Which maps tell what the model uses?"
            + (f" · {shorten(model, 60)}" if several else "")
            + of,
        )
        for i, (model, own, part, of) in enumerate(pages)
    ]


def _draw_table(
    names: Sequence[str], part: Sequence[Column], path: Path, *, heads: Sequence[str], title: str
) -> Path:
    """Each cell its word and its number, on the word's colour; of the controls the number alone."""
    width, height = 1.62, 0.46
    labels = [shorten(name, 40) for name in names]
    left = MARGIN + 0.25 + 0.085 * max(map(len, labels))
    notes = [
        "Numbers: mean over images [95 % interval]. Words: compared with the random map on the "
        "same images"
        + ("; sanity-cascade with one half." if _HALF in {c.check for c in part} else ".")
    ]
    if set(CONTROLS) & set(names):
        notes.append("The last rows are the controls, which see no model and have no word.")
    if any(name not in column.lines for name in names for column in part):
        notes.append("Empty: not measured.")
    page, top = framed(
        width=left + len(part) * width + MARGIN,
        body=len(names) * height,
        title=title,
        heads=heads,
        middles=[left + (j + 0.5) * width for j in range(len(part))],
        footnote=" ".join(notes),
    )
    for i, (name, label) in enumerate(zip(names, labels, strict=True)):
        y = top + i * height
        page.text(MARGIN, y + height / 2 + 0.04, label, faint=name in CONTROLS)
        for j, column in enumerate(part):
            if not (line := column.lines.get(name)):
                continue
            x, word = left + (j + 0.5) * width, str(line["verdict"])
            page.box(x - width / 2, y, width, height, VERDICT_COLOURS.get(word, "#f4f5f7"))
            page.text(x, y + 0.2, word, bold=True, align="center")
            baseline = y + (0.36 if word else height / 2 + 0.04)
            page.text(x, baseline, _mean(line), size=SMALL, align="center")
    return page.save(path)


def pages_of(items: Sequence[Item], size: int) -> list[list[Item]]:
    """As few pages as hold all, about equally full.

    >>> pages_of("abcdefg", 3)
    [['a', 'b'], ['c', 'd', 'e'], ['f', 'g']]
    """
    count = -(-len(items) // size)
    ends = [round(i * len(items) / count) for i in range(count + 1)] if count else [0]
    return [list(items[a:b]) for a, b in pairwise(ends)]


def _mean(line: Mapping[Any, Any]) -> str:
    """The mean with its interval, in as many digits as fit."""
    return fitting_interval(line["mean"], line["ci_low"], line["ci_high"], most=_CELL)


def _head(column: Column, checks: Mapping[str, Check]) -> str:
    """Name, option and direction, in lines that fit."""
    lines = [""]
    for word in column.check.replace("-", "-\n").split("\n"):
        if len(lines[-1]) + len(word) > _HEAD:
            lines.append("")
        lines[-1] += word
    direction = checks[column.check].higher_is_better if column.check in checks else None
    return "\n".join([*lines, *([column.option] if column.option else []), BETTER[direction]])
