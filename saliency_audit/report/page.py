"""A white page to put small pictures, boxes and words on, measured in inches."""

import textwrap
import warnings
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image

from saliency_audit.report.files import write_atomically
from saliency_audit.report.table import TONES, Tone

_FILLS: dict[Tone, str] = {
    "bad": "#f2a49a",
    "warn": "#f8d28b",
    "good": "#a5d6b4",
    "even": "#ececee",
    "none": "#dcdcdc",
}
VERDICT_COLOURS = {word: _FILLS[tone] for word, tone in TONES.items()}
"""Fill behind dark text; the word itself always stands on it."""

SIGNED, UNSIGNED = colormaps["RdBu_r"], colormaps["inferno"]

MARGIN = 0.2
TITLE, BODY, SMALL, NOTE = 12.0, 9.0, 8.0, 7.5  # points
_INK, _FAINT = "#222222", "#666666"
_DPI = 120
_LARGE = 3 << 20  # bytes


class Page:
    """Measured from the top left corner; the y of a text is its (first) baseline.

    Args:
        width: inches.
        height: inches.
    """

    def __init__(self, width: float, height: float) -> None:
        self.width, self.height = width, height
        self._figure = Figure(figsize=(width, height), dpi=_DPI, facecolor="white")

    def text(
        self,
        x: float,
        y: float,
        text: str,
        *,
        size: float = BODY,
        align: str = "left",
        bold: bool = False,
        faint: bool = False,
    ) -> None:
        """Write one or several lines."""
        for number, line in enumerate(text.split("\n")):
            self._figure.text(
                x / self.width,
                1 - (y + number * leading(size)) / self.height,
                line,
                size=size,
                ha=align,
                va="baseline",
                weight="bold" if bold else "normal",
                color=_FAINT if faint else _INK,
                parse_math=False,  # names may hold dollar signs
            )

    def box(self, x: float, y: float, width: float, height: float, colour: str) -> None:
        """Fill a rectangle."""
        self._figure.add_artist(
            Rectangle(
                (x / self.width, 1 - (y + height) / self.height),
                width / self.width,
                height / self.height,
                facecolor=colour,
                edgecolor="white",
                linewidth=1.5,
            )
        )

    def axes(self, x: float, y: float, width: float, height: float, **properties: Any) -> Axes:
        """A rectangle to draw a chart in."""
        return self._figure.add_axes(
            (
                x / self.width,
                1 - (y + height) / self.height,
                width / self.width,
                height / self.height,
            ),
            **properties,
        )

    def picture(
        self,
        x: float,
        y: float,
        width: float,
        height: float,
        pixels: np.ndarray[Any, Any] | None,
        *,
        stretch: bool = False,
    ) -> None:
        """Show RGB pixels in [0, 1]; without pixels, grey with the word "undefined".

        Pixels fewer than the page's are shown as squares, not smoothed.
        """
        axes = self.axes(x, y, width, height, xticks=[], yticks=[])
        for spine in axes.spines.values():
            spine.set(linewidth=0.5, edgecolor="#999999")
        if pixels is None:
            axes.set_facecolor(VERDICT_COLOURS["undefined"])
            axes.text(0.5, 0.5, "undefined", ha="center", va="center", size=BODY, color=_INK)
            return
        coarse = max(pixels.shape[:2]) < height * _DPI
        axes.imshow(
            pixels,
            interpolation="nearest" if coarse else "antialiased",
            aspect="auto" if stretch else "equal",
        )

    def save(self, path: Path) -> Path:
        """Write the page as PNG, in 256 colours if it would be large.

        Raises:
            AuditError: the file cannot be written.
        """
        buffer = BytesIO()
        with warnings.catch_warnings():
            # A name in a script that the font lacks is drawn as boxes; no reason to stop.
            warnings.filterwarnings("ignore", message="Glyph .* missing from font")
            self._figure.savefig(buffer, format="png", dpi=_DPI)
        if buffer.tell() > _LARGE:
            buffer = _in_256_colours(buffer)
        return write_atomically(path, buffer.getvalue())


def _in_256_colours(png: BytesIO) -> BytesIO:
    """The same picture at a third of the size; the colours that mean something stay."""
    ramps = [scale(np.linspace(0, 1, 64))[:, :3] for scale in (SIGNED, UNSIGNED)]
    words = [to_rgb(colour) for colour in ("white", _INK, *VERDICT_COLOURS.values())]
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
    """Break text so that no line is wider than ``width`` inches, at the font's usual widths."""
    length = max(10, int(width * 118 / size))
    return "\n".join(textwrap.fill(line, length) for line in text.split("\n"))


def shorten(text: str, length: int) -> str:
    """Cut the middle out of a long name: its ends tell more.

    >>> shorten("photographs/2024/lion.png", 15)
    'photogr…ion.png'
    """
    if len(text) <= length:
        return text
    return f"{text[: length // 2]}…{text[-((length - 1) // 2) :]}"
