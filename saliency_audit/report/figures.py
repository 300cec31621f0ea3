"""Pictures of maps, in a grid of small panels, and of tables."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from saliency_audit.report.page import (
    BODY,
    CHARACTER,
    DPI,
    FAINT,
    FILLS,
    INK,
    NOTE,
    PAD,
    SIGNED,
    SMALL,
    UNSIGNED,
    below_title,
    figure_of,
    leading,
    numbered,
    of_pages,
    pages_of,
    save,
    shorten,
    wrap,
)
from saliency_audit.report.table import (
    Cell,
    Table,
    columns_of,
    narrow,
    pieces,
    plain,
    verdict,
    widths,
    wrapped,
)

Pixels = np.ndarray[Any, np.dtype[np.floating[Any]]]

_SIDE, _GAP = 1.3, 0.12  # inches, of a panel
_LEFT, _BAR = 1.9, 0.55  # inches, of the labels of rows and of a bar of colours
_LABEL = 21  # characters of a row's label in a line
_LINE = 0.2  # inches, of a line of a table
_CAPTION = 24  # characters of a line below a panel
_CELL = 50  # characters, of a cell of a table


View = Literal["", "percentile99", "minmax", "symmetric", "none"]


@dataclass(frozen=True)
class Tile:
    """One small picture.

    Attributes:
        pixels: ``(h, w)``, or ``(h, w, 3)`` for a colour image.
        kind: an image in [0, 1] is shown as it is; a map relative to its own range.
        caption: a few words below it; may have several lines.
        view: how a map is scaled, see `colours`; empty for "symmetric", magnitudes of a map
            without signs.
    """

    pixels: Pixels
    kind: Literal["image", "signed", "unsigned"]
    caption: str = ""
    view: View = ""

    @property
    def scale(self) -> str:
        """Of a map: what its colours mean, a key of ``_SCALES``."""
        if self.view in ("", "symmetric"):
            return self.kind
        return self.view


@dataclass(frozen=True)
class PanelRow:
    """Pictures side by side.

    Attributes:
        label: what the row shows; may have several lines.
        cells: one per column; None leaves a gap.
        verdict: a word of ``TONES``, written below the label.
    """

    label: str
    cells: Sequence[Tile | None]
    verdict: str = ""


def colours(cell: Tile) -> Pixels | None:
    """RGB of a cell, or None if it shows nothing: not finite, or a map the same everywhere.

    Maps end at the 99.5th percentile of their own magnitude, so that single bright pixels do not
    darken the rest, and signed ones are centred at zero. Views of the papers: "percentile99" and
    "minmax" show magnitudes from the least to the 99th percentile or to the largest (P2),
    "symmetric" keeps signs, each cut at its own end of the percentiles 0.5 to 99.5 (P3), and
    "none" shows a mask in [0, 1] as it is.

    >>> colours(Tile(np.zeros((2, 2)), "signed")) is None
    True
    >>> colours(Tile(np.array([[-1.0, 0.0, 1.0]]), "signed")).round(1).tolist()
    [[[0.0, 0.2, 0.4], [1.0, 1.0, 1.0], [0.4, 0.0, 0.1]]]
    """
    pixels = np.asarray(cell.pixels, dtype=np.float64)
    if not np.isfinite(pixels).all():
        return None
    if cell.kind == "image":
        return np.clip(pixels if pixels.ndim == 3 else np.dstack([pixels] * 3), 0, 1)
    if pixels.min() == pixels.max():
        return None
    scaled = _scaled(pixels, cell.view)
    signed = cell.scale == "signed"
    return np.asarray(SIGNED((scaled + 1) / 2) if signed else UNSIGNED(np.abs(scaled)))[..., :3]


def _scaled(pixels: Pixels, view: View) -> Pixels:
    """A map in [-1, 1], or its magnitudes in [0, 1]."""
    if view == "none":
        return np.clip(pixels, 0, 1)
    magnitudes = np.abs(pixels)
    low, high = np.zeros(()), magnitudes.max()
    if view in ("percentile99", "minmax"):
        pixels, low = magnitudes, magnitudes.min()
    if view == "symmetric":
        pixels = np.clip(pixels, *np.percentile(pixels, [0.5, 99.5]))
        cut = np.abs(pixels).max()
    else:
        share = {"percentile99": 99, "minmax": 100}.get(view, 99.5)
        cut = np.percentile(magnitudes, share)
    # The percentile of a map that is zero nearly everywhere is zero: its maximum then.
    top = cut if cut > low else high
    return np.asarray(np.clip((pixels - low) / ((top - low) or 1), -1, 1))


def draw_maps(
    rows: Sequence[PanelRow],
    folder: Path,
    name: str,
    *,
    title: str,
    columns: Sequence[str],
    footnote: str = "",
    first: PanelRow | None = None,
    most: int = 12,
    start: int = 0,
) -> list[Path]:
    """Draw a grid of images and maps.

    Args:
        rows: what is shown.
        folder: where to.
        name: of the file; further ones have a number.
        title: above it.
        columns: heading of each column; one without cells is left out.
        footnote: below it.
        first: a row above the others on each page.
        most: rows on a page.
        start: how many files of that name there are.

    Returns:
        The files; none without rows.

    Raises:
        AuditError: a file cannot be written.
    """
    shown = [j for j in range(len(columns)) if any(row.cells[j] for row in rows)]
    pages = pages_of(rows, most)
    return [
        save(
            _grid(
                [
                    replace(row, cells=[row.cells[j] for j in shown])
                    for row in ([first] if first else []) + page
                ],
                title=title + of_pages(i, len(pages)),
                columns=[columns[j] for j in shown],
                footnote=footnote,
            ),
            numbered(folder, name, start + i),
        )
        for i, page in enumerate(pages)
    ]


def _grid(rows: Sequence[PanelRow], *, title: str, columns: Sequence[str], footnote: str) -> Figure:
    heads = [wrap(name, _SIDE + 0.4, BODY) for name in columns]
    captions = ([cell.caption for cell in row.cells if cell and cell.caption] for row in rows)
    below = [max((text.count("\n") + 1 for text in own), default=0) for own in captions]
    maps = [cell for row in rows for cell in row.cells if cell and cell.kind != "image"]
    scales = sorted({cell.scale for cell in maps})
    lines = max(head.count("\n") + 1 for head in heads)
    # As high as the highest panel, and as the words beside it: wide images leave no gaps.
    shapes = [cell.pixels.shape for row in rows for cell in row.cells if cell]
    side = _SIDE * max([0.5, *(min(1.0, shape[0] / shape[1]) for shape in shapes)])
    across, down = _SIDE + _GAP, [side + _GAP + 0.18 * many for many in below]
    # Placed by hand: a layout engine measures every text of every panel, several times over.
    figure = figure_of(
        _LEFT + len(columns) * across,
        lines * leading(BODY) + sum(down) + _BAR * len(scales),
        title=title,
        footnote=footnote,
        layout=None,
    )
    width, height = figure.get_size_inches()
    top = below_title(figure) - PAD - lines * leading(BODY)
    for i, row in enumerate(rows):
        for j, cell in enumerate(row.cells):
            low = top - side - sum(down[:i])
            where = ((_LEFT + j * across) / width, low / height, _SIDE / width, side / height)
            axes = figure.add_axes(where)
            _panel(axes, cell)
            if not j:
                _row_label(axes, row)
            if not i:
                axes.set_title(heads[j], size=BODY, color=INK, pad=4)
    middle, long = _LEFT + (len(columns) * across - _GAP) / 2, min(2.4, len(columns) * across)
    for k, scale in enumerate(scales):
        low = top - sum(down) - k * _BAR - 0.14
        where = ((middle - long / 2) / width, low / height, long / width, 0.12 / height)
        _colour_bar(figure, figure.add_axes(where), *_SCALES[scale])
    return figure


def _panel(axes: Axes, cell: Tile | None) -> None:
    """Pixels, or grey with the word "undefined" and why; pixels fewer than the page's: squares."""
    axes.set(xticks=[], yticks=[])
    axes.set_box_aspect(cell.pixels.shape[0] / cell.pixels.shape[1] if cell else 1)
    for spine in axes.spines.values():
        spine.set(linewidth=0.5, edgecolor="#999999", visible=cell is not None)
    if cell is None:
        return
    caption = "\n".join(shorten(line, _CAPTION) for line in cell.caption.split("\n"))
    axes.set_xlabel(caption, size=SMALL, color=INK, labelpad=2)
    if (pixels := colours(cell)) is None:
        axes.set_facecolor(FILLS["none"])
        known = np.isfinite(cell.pixels).all()
        why = "NaN" if not known else "constant" if np.any(cell.pixels) else "zero"
        axes.text(0.5, 0.5, f"undefined\n({why})", ha="center", va="center", size=BODY, color=INK)
        return
    coarse = max(pixels.shape[:2]) < _SIDE * DPI
    axes.imshow(pixels, interpolation="nearest" if coarse else "antialiased", aspect="equal")


def _row_label(axes: Axes, row: PanelRow) -> None:
    """At the left of a row, its verdict below."""
    label = "\n".join(shorten(line, _LABEL) for line in row.label.split("\n"))
    # In points from the middle: a low panel moves no words over each other.
    beside: dict[str, Any] = {
        "xycoords": "axes fraction",
        "textcoords": "offset points",
        "ha": "right",
        "size": BODY,
        "color": INK,
    }
    high = 6 if row.verdict else 0
    axes.annotate(label, (0, 0.5), (-7, high), va="center", **beside)
    if row.verdict:
        low = high - 36 * leading(BODY) * (label.count("\n") + 1) - 8
        axes.annotate(
            row.verdict,
            (0, 0.5),
            (-10, low),
            va="top",
            weight="bold",
            bbox={"facecolor": fill(verdict(row.verdict)), "edgecolor": "none", "pad": 3},
            **beside,
        )


_OWN = "relative to each map's own range"
_SCALES: Mapping[str, tuple[Colormap, Mapping[float, str], str]] = {
    "signed": (SIGNED, {0.0: "negative", 0.5: "0", 1.0: "positive"}, _OWN),
    "unsigned": (UNSIGNED, {0.0: "0", 1.0: "largest"}, _OWN),
    "minmax": (UNSIGNED, {0.0: "least", 1.0: "largest"}, f"magnitude, {_OWN}"),
    "percentile99": (UNSIGNED, {0.0: "least", 1.0: "99th percentile"}, f"magnitude, {_OWN}"),
    "none": (UNSIGNED, {0.0: "0 or less", 1.0: "1 or more"}, "values as they are"),
}
"""Colours, what stands at which of them, and in what they are measured."""


def _colour_bar(
    figure: Figure, axes: Axes, scale: Colormap, ends: Mapping[float, str], unit: str
) -> None:
    """What the colours of maps mean."""
    bar = figure.colorbar(ScalarMappable(Normalize(0, 1), scale), axes, orientation="horizontal")
    bar.outline.set_visible(False)
    bar.set_ticks(list(ends), labels=list(ends.values()), size=NOTE)
    bar.ax.tick_params(length=0, pad=2)
    bar.set_label(unit, size=NOTE, color=FAINT, labelpad=1)


def draw_table(
    table: Table,
    folder: Path,
    name: str,
    *,
    title: str,
    footnote: str = "",
    across: int = 12,
    most: int = 40,
    start: int = 0,
    shade: Callable[[str], str] | None = None,
) -> list[Path]:
    """Draw a table, its extra columns left out, each word on its colour.

    Args:
        table: what is shown.
        folder: where to.
        name: of the file; further ones have a number.
        title: above it.
        footnote: below it.
        across: columns on a page, beside those of words.
        most: rows on a page.
        start: how many files of that name there are.
        shade: colour of a number by its text.

    Returns:
        The files; none without rows.

    Raises:
        AuditError: a file cannot be written.
    """
    table = narrow(table)
    cut = [[_cut(c) if isinstance(c, str) else c for c in row] for row in table.rows]
    words = list(range(min(table.labels, len(table.columns))))
    numbers = pages_of(range(len(words), len(table.columns)), across) or [[]]
    rows = _under_headings(_whole_groups(cut, most))
    pages = [columns_of(replace(table, rows=part), words + own) for part in rows for own in numbers]
    return [
        save(
            _picture(
                page,
                title=title + of_pages(i, len(pages)),
                footnote=footnote,
                shade=shade,
            ),
            numbered(folder, name, start + i),
        )
        for i, page in enumerate(pages)
    ]


def _picture(
    table: Table, *, title: str, footnote: str, shade: Callable[[str], str] | None
) -> Figure:
    """A table in a figure whose only axes count inches."""
    lines = [table.columns, *table.rows]
    labels = table.labels
    across = [0.2 + CHARACTER * own for own in widths(table)]
    lefts = np.cumsum([0.0, *across])
    tops = np.cumsum(
        [0.0, *(0.06 + _LINE * max(1 + _text(c).count("\n") for c in line) for line in lines)]
    )
    figure = figure_of(
        lefts[-1] + 0.4, tops[-1] + 0.2, title=title, footnote=footnote, layout="constrained"
    )
    axes = figure.add_subplot(
        xlim=(0, max(lefts[-1], figure.get_figwidth() - 0.4)), ylim=(tops[-1], 0)
    )
    axes.axis("off")
    for i, row in enumerate(lines):
        for j, cell in enumerate(row):
            left, top, high = lefts[j], tops[i], tops[i + 1] - tops[i]
            colour = fill(cell) if i else "none"
            if shade and i and j >= labels:
                colour = shade(_text(cell))
            if colour != "none":
                axes.add_patch(
                    Rectangle((left, top), across[j], high, fc=colour, ec="white", lw=1.5)
                )
            axes.text(
                left + (0.1 if j < labels else across[j] / 2),
                top + high / 2,
                _text(cell),
                ha="left" if j < labels else "center",
                va="center" if "\n" in _text(cell) else "center_baseline",
                size=BODY,
                color=FAINT if not i else INK,
                weight="bold" if i and any(tone == "strong" for _, tone in pieces(cell)) else None,
            )
    axes.axhline(tops[1], color=FAINT, linewidth=0.6)
    return figure


def fill(cell: Cell) -> str:
    """The colour behind a cell: that of its word.

    >>> fill(["0.5 ", verdict("forged")]), fill("0.5")
    ('#f2a49a', 'none')
    """
    return next((FILLS[tone] for _, tone in pieces(cell) if tone in FILLS), "none")


def _text(cell: Cell) -> str:
    """A cell without the spaces that put words below each other on a terminal."""
    return re.sub(r"(?<=\S) +", " ", plain(cell)).rstrip()


def _cut(text: str) -> str:
    """Text in lines that a cell has room for; what has no space is cut in its middle."""
    return "\n".join(shorten(line, _CELL) for line in wrapped(text, _CELL).split("\n"))


def _whole_groups(rows: Sequence[Sequence[Cell]], most: int) -> list[list[Sequence[Cell]]]:
    """The rows in pages that begin at a line between groups; one that fills a page is cut.

    >>> _whole_groups([["a"], ["b"], [], ["c"], ["d"], [], ["e"]], 3)
    [[['a'], ['b']], [['c'], ['d'], ['e']]]
    """
    groups: list[list[Sequence[Cell]]] = [[]]
    for row in rows:
        groups += [] if row else [[]]
        groups[-1] += [row] if row else []
    pages: list[list[Sequence[Cell]]] = []
    for group in filter(None, groups):
        if pages and len(pages[-1]) + len(group) <= most:
            pages[-1] += group
        else:
            pages += pages_of(group, most)
    return pages


def _under_headings(pages: Sequence[list[Sequence[Cell]]]) -> list[list[Sequence[Cell]]]:
    """The pages, each with the heading of the rows it begins with, which stand a little inwards."""
    told: list[list[Sequence[Cell]]] = []
    heading: list[Sequence[Cell]] = []
    for page in pages:
        told.append([*heading, *page] if plain(page[0][0]).startswith(" ") else page)
        heading = [row for row in told[-1] if len(row) == 1][-1:]
    return told
