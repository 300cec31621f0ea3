"""Pictures of maps: grids of small panels, and tables of verdicts."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from saliency_audit.report.page import (
    BODY,
    MARGIN,
    NOTE,
    SIGNED,
    SMALL,
    TITLE,
    UNSIGNED,
    VERDICT_COLOURS,
    Page,
    leading,
    shorten,
    wrap,
)

Pixels = np.ndarray[Any, np.dtype[np.floating[Any]]]

_SIDE, _GAP = 1.3, 0.12  # inches
_NARROWEST = 5.6


@dataclass(frozen=True)
class Cell:
    """One small picture.

    Attributes:
        pixels: ``(h, w)``, or ``(h, w, 3)`` for a colour image.
        kind: an image in [0, 1] is shown as it is; a map relative to its own range.
        caption: a few words below it.
    """

    pixels: Pixels
    kind: Literal["image", "signed", "unsigned"]
    caption: str = ""


@dataclass(frozen=True)
class PanelRow:
    """Pictures side by side.

    Attributes:
        label: what the row shows; may have several lines.
        cells: one per column; None leaves a gap.
        verdict: a word in ``VERDICT_COLOURS``, written below the label.
    """

    label: str
    cells: Sequence[Cell | None]
    verdict: str = ""


def colours(cell: Cell) -> Pixels | None:
    """RGB of a cell, or None if it shows nothing: not finite, or a map the same everywhere.

    Signed maps are centred at zero; both kinds end at the 99.5th percentile of their own
    magnitude, so that single bright pixels do not darken the rest.

    >>> colours(Cell(np.zeros((2, 2)), "signed")) is None
    True
    >>> colours(Cell(np.array([[-1.0, 0.0, 1.0]]), "signed")).round(1).tolist()
    [[[0.0, 0.2, 0.4], [1.0, 1.0, 1.0], [0.4, 0.0, 0.1]]]
    """
    pixels = np.asarray(cell.pixels, dtype=np.float64)
    if not np.isfinite(pixels).all():
        return None
    if cell.kind == "image":
        return np.clip(pixels if pixels.ndim == 3 else np.dstack([pixels] * 3), 0, 1)
    if pixels.min() == pixels.max():
        return None
    # The percentile of a map that is zero nearly everywhere is zero: its maximum then.
    top = np.percentile(np.abs(pixels), 99.5) or np.abs(pixels).max()
    scaled = np.clip(pixels / top, -1, 1)
    shown = SIGNED((scaled + 1) / 2) if cell.kind == "signed" else UNSIGNED(np.abs(scaled))
    return np.asarray(shown)[..., :3]


def draw_maps(
    rows: Sequence[PanelRow],
    path: Path,
    *,
    title: str,
    columns: Sequence[str],
    footnote: str = "",
) -> Path:
    """Draw a grid of images and maps.

    Args:
        rows: at least one.
        path: the PNG.
        title: above it.
        columns: heading of each column.
        footnote: below it.

    Returns:
        ``path``.

    Raises:
        AuditError: the file cannot be written.
    """
    left = MARGIN + 1.75
    captioned = any(cell and cell.caption for row in rows for cell in row.cells)
    pitch = _SIDE + _GAP + (0.18 if captioned else 0)
    kinds = sorted({cell.kind for row in rows for cell in row.cells if cell} - {"image"})
    page, top = framed(
        width=left + len(columns) * (_SIDE + _GAP) + MARGIN,
        body=len(rows) * pitch + (0.6 if kinds else 0),
        title=title,
        heads=[wrap(name, _SIDE, BODY) for name in columns],
        middles=[left + j * (_SIDE + _GAP) + _SIDE / 2 for j in range(len(columns))],
        footnote=footnote,
    )
    for i, row in enumerate(rows):
        y = top + i * pitch
        label = [shorten(line, 21) for line in row.label.split("\n")]
        height = len(label) * leading(BODY) + (0.28 if row.verdict else 0)
        baseline = y + (_SIDE - height) / 2 + 0.12
        page.text(MARGIN, baseline, "\n".join(label))
        if row.verdict:
            baseline += len(label) * leading(BODY) + 0.08
            width = 0.16 + 0.088 * len(row.verdict)
            page.box(
                MARGIN, baseline - 0.15, width, 0.22, VERDICT_COLOURS.get(row.verdict, "white")
            )
            page.text(MARGIN + 0.08, baseline, row.verdict, bold=True)
        for j, cell in enumerate(row.cells):
            if cell:
                x = left + j * (_SIDE + _GAP)
                page.picture(x, y, _SIDE, _SIDE, colours(cell))
                caption = shorten(cell.caption, 24)
                page.text(x + _SIDE / 2, y + _SIDE + 0.14, caption, size=SMALL, align="center")
    x = left if left + 2.1 * len(kinds) < page.width else MARGIN
    for kind in kinds:
        _colour_bar(page, x, top + len(rows) * pitch + 0.1, kind)
        x += 2.1
    return page.save(path)


def draw_table(
    numbers: pd.DataFrame,
    verdicts: pd.DataFrame,
    path: Path,
    *,
    title: str,
    footnote: str = "",
) -> Path:
    """Draw a table of verdicts: each cell its word and its number, on the word's colour.

    Args:
        numbers: what to write, text; rows and columns are labelled by the index and the columns.
        verdicts: words in ``VERDICT_COLOURS`` of the same shape; empty where nothing was measured.
        path: the PNG.
        title: above it.
        footnote: below it.

    Returns:
        ``path``.

    Raises:
        AuditError: the file cannot be written.
    """
    width, height = 1.35, 0.46
    labels = [shorten(str(name), 40) for name in numbers.index]
    left = MARGIN + 0.25 + 0.085 * max(map(len, labels), default=0)
    page, top = framed(
        width=left + len(numbers.columns) * width + MARGIN,
        body=len(labels) * height,
        title=title,
        heads=[
            "\n".join(shorten(line, 17) for line in str(name).split("\n"))
            for name in numbers.columns
        ],
        middles=[left + (j + 0.5) * width for j in range(len(numbers.columns))],
        footnote=footnote,
    )
    for i, label in enumerate(labels):
        y = top + i * height
        page.text(MARGIN, y + height / 2 + 0.04, label)
        for j in range(len(numbers.columns)):
            x, word = left + j * width, str(verdicts.iat[i, j])
            page.box(x, y, width, height, VERDICT_COLOURS.get(word, "white"))
            page.text(x + width / 2, y + 0.2, word, bold=True, align="center")
            number = str(numbers.iat[i, j])
            page.text(x + width / 2, y + 0.36, number, size=SMALL, align="center")
    return page.save(path)


def framed(
    *,
    width: float,
    body: float,
    title: str,
    heads: Sequence[str],
    middles: Sequence[float],
    footnote: str,
) -> tuple[Page, float]:
    """A page with title, column headings and footnote, and where its body begins."""
    width = max(width, _NARROWEST)
    title = wrap(title, width - 2 * MARGIN, TITLE)
    footnote = wrap(footnote, width - 2 * MARGIN, NOTE)
    lines = max((head.count("\n") + 1 for head in heads), default=0)
    top = 0.36 + leading(TITLE) * (title.count("\n") + 1) + leading(BODY) * lines
    foot = leading(NOTE) * (footnote.count("\n") + 1) if footnote else 0
    page = Page(width, top + body + 0.25 + foot)
    page.text(MARGIN, 0.36, title, size=TITLE, bold=True)
    for middle, head in zip(middles, heads, strict=True):
        first = top - 0.09 - leading(BODY) * head.count("\n")
        page.text(middle, first, head, align="center")
    page.text(MARGIN, top + body + 0.24, footnote, size=NOTE, faint=True)
    return page, top


def _colour_bar(page: Page, x: float, y: float, kind: str) -> None:
    """What the colours of a kind of map mean."""
    scale, ends = {
        "signed": (SIGNED, {0.0: "negative", 0.5: "0", 1.0: "positive"}),
        "unsigned": (UNSIGNED, {0.0: "0", 1.0: "largest"}),
    }[kind]
    width = 1.6
    page.picture(x, y, width, 0.12, scale(np.linspace(0, 1, 256))[None, :, :3], stretch=True)
    for place, word in ends.items():
        align = {0.0: "left", 0.5: "center", 1.0: "right"}[place]
        page.text(x + place * width, y + 0.25, word, size=NOTE, align=align)
    page.text(x, y + 0.39, "relative to each map's own range", size=NOTE, faint=True)
