"""White pictures with a title, a note, and what matplotlib lays out between them."""

import textwrap
import warnings
from collections.abc import Sequence
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from PIL import Image

from saliency_audit.report.files import write_atomically
from saliency_audit.report.table import Tone

Item = TypeVar("Item")

FILLS: dict[Tone, str] = {
    "bad": "#f2a49a",
    "warn": "#f8d28b",
    "good": "#a5d6b4",
    "even": "#ececee",
    "none": "#dcdcdc",
}
"""Behind dark text; the word itself always stands on it."""

SIGNED, UNSIGNED = colormaps["RdBu_r"], colormaps["inferno"]

TITLE, BODY, SMALL, NOTE = 12.0, 9.0, 8.0, 7.5  # points
INK, FAINT = "#222222", "#666666"
DPI = 120
OVER_A_PICTURE = 17  # characters of a name
PAD = 0.06  # inches, around what is laid out
CHARACTER = 0.078  # inches, of a usual letter in a text of ``BODY`` points
_MARGIN, _NARROWEST = 0.2, 5.6  # inches
_LARGE = 3 << 20  # bytes


def figure_of(width: float, body: float, *, title: str, footnote: str, layout: Any) -> Figure:
    """An empty figure with its title above and its note below.

    Args:
        width: inches.
        body: inches of height between title and note.
        title: above.
        footnote: below.
        layout: of matplotlib, "constrained"; None where whoever fills it places everything.
    """
    width = max(width, _NARROWEST)
    title, footnote = wrap(title, width, TITLE), wrap(footnote, width, NOTE)
    height = body + 0.1 + leading(TITLE) * (title.count("\n") + 1)
    height += leading(NOTE) * (footnote.count("\n") + 1)
    figure = Figure(figsize=(width, height), dpi=DPI, facecolor="white", layout=layout)
    if (engine := figure.get_layout_engine()) is not None:
        engine.set(w_pad=PAD, h_pad=PAD, wspace=0, hspace=0)  # type: ignore[call-arg]
    left = _MARGIN / width
    # A layout engine leaves room only for what it places itself.
    top, bottom = (None, None) if layout else (1 - PAD / height, PAD / height)
    for text in (
        figure.suptitle(title, x=left, y=top, ha="left", size=TITLE, weight="bold", color=INK),
        figure.supxlabel(footnote, x=left, y=bottom, ha="left", size=NOTE, color=FAINT),
    ):
        text.set_parse_math(False)
    return figure


def below_title(figure: Figure) -> float:
    """Inches from the lower edge of a figure to below its title."""
    lines = figure.get_suptitle().count("\n") + 1
    return float(figure.get_figheight()) - PAD - lines * leading(TITLE)


def save(figure: Figure, path: Path) -> Path:
    """Write a figure as PNG, in 256 colours if it would be large.

    Raises:
        AuditError: the file cannot be written.
    """
    buffer = BytesIO()
    for axes in figure.axes:
        for text in (axes.title, axes.xaxis.label, axes.yaxis.label, *axes.texts):
            text.set_parse_math(False)  # names may hold dollar signs
    with warnings.catch_warnings():
        # A name in a script that the font lacks is drawn as boxes; no reason to stop.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure.savefig(buffer, format="png", dpi=DPI)
    if buffer.tell() > _LARGE:
        buffer = _in_256_colours(buffer)
    return write_atomically(path, buffer.getvalue())


def _in_256_colours(png: BytesIO) -> BytesIO:
    """The same picture at a third of the size; the colours that mean something stay."""
    ramps = [scale(np.linspace(0, 1, 64))[:, :3] for scale in (SIGNED, UNSIGNED)]
    words = [to_rgb(colour) for colour in ("white", INK, *FILLS.values())]
    kept = (np.concatenate([*ramps, words]) * 255).round().astype(int)
    with Image.open(png) as opened:
        image = opened.convert("RGB")
    others = image.quantize(256 - len(kept), Image.Quantize.MEDIANCUT).getpalette() or []
    palette = Image.new("P", (1, 1))
    palette.putpalette([*kept.ravel().tolist(), *others][: 3 * 256])
    small = BytesIO()
    image.quantize(palette=palette, dither=Image.Dither.NONE).save(small, "PNG", optimize=True)
    return small


def leading(size: float) -> float:
    """Inches from one baseline to the next."""
    return size * 1.3 / 72


def wrap(text: str, width: float, size: float) -> str:
    """Break text so that no line is wider than ``width`` inches, less margins, as letters go."""
    length = max(10, int((width - 2 * _MARGIN) * 118 / size))
    return "\n".join(textwrap.fill(line, length) for line in text.split("\n"))


def shorten(text: str, length: int) -> str:
    """Cut the middle out of a long name: its ends tell more.

    >>> shorten("photographs/2024/lion.png", 15)
    'photogr…ion.png'
    """
    if len(text) <= length:
        return text
    return f"{text[: length // 2]}…{text[-((length - 1) // 2) :]}"


def numbered(folder: Path, name: str, i: int) -> Path:
    """The i-th picture of a name, from 0: ``name.png``, ``name-2.png``.

    >>> str(numbered(Path("out"), "maps", 0)), str(numbered(Path("out"), "maps", 1))
    ('out/maps.png', 'out/maps-2.png')
    """
    return folder / (f"{name}-{i + 1}.png" if i else f"{name}.png")


def of_pages(i: int, count: int) -> str:
    r"""Which page of several, behind a title; its words stay on a line.

    >>> of_pages(0, 3).replace("\xa0", "~"), of_pages(0, 1)
    (' (1~of~3)', '')
    """
    return f" ({i + 1}\xa0of\xa0{count})" if count > 1 else ""


def pages_of(items: Sequence[Item], size: int) -> list[list[Item]]:
    """As few pages as hold all, about equally full.

    >>> pages_of("abcdefg", 3)
    [['a', 'b'], ['c', 'd', 'e'], ['f', 'g']]
    """
    count = -(-len(items) // size)
    ends = [round(i * len(items) / count) for i in range(count + 1)] if count else [0]
    return [list(items[a:b]) for a, b in pairwise(ends)]
