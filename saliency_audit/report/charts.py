"""Charts: how lines look, their bands and dots, and panels of them with a legend."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from saliency_audit.catalogue.methods import CONTROLS
from saliency_audit.report.page import INK, SMALL, figure_of, save, shorten
from saliency_audit.report.wording import is_number

Style = Mapping[str, Any]

STYLES: tuple[Style, ...] = (
    {"color": "#0072b2", "marker": "o"},
    {"color": "#d55e00", "marker": "s"},
    {"color": "#009e73", "marker": "D"},
    {"color": "#cc79a7", "marker": "^"},
    {"color": "#222222", "marker": "v"},
    {"color": "#b58900", "marker": "P"},
    {"color": "#56b4e9", "marker": "X"},
)
"""Told apart by anyone, in grey too (Okabe and Ito's colours, a little darker)."""
_CONTROLS: tuple[Style, ...] = (
    {"color": "#666666", "linestyle": (0, (4, 2)), "linewidth": 1.4},
    {"color": "#999999", "linestyle": (0, (1, 1.3)), "linewidth": 1.6},
)
FAINT: Style = {"linestyle": (0, (1, 2.2)), "linewidth": 1.1, "alpha": 0.6}
"""Over a style: of a mean that too few images have. Has no band."""

_MARKS = 10  # about as many on a line


def style(i: int) -> Style:
    """Of the i-th series; where colours come again, it is with other marks."""
    again, first = divmod(i, len(STYLES))
    marker = STYLES[(first + again) % len(STYLES)]["marker"]
    return {"color": STYLES[first]["color"], "marker": marker}


def control_styles(names: Iterable[str]) -> dict[str, Style]:
    """Of the methods among these that see no model, by themselves or before a word: grey lines.

    >>> list(control_styles(["gradient before", "random before", "sobel"]))
    ['random before', 'sobel']
    """
    found = [name for name in names if name.partition(" ")[0] in CONTROLS]
    usual = dict(zip(CONTROLS, _CONTROLS, strict=True))
    return {name: usual.get(name, _CONTROLS[i % 2]) for i, name in enumerate(found)}


def bare(axes: Axes) -> None:
    """Faint lines to read values by, no frame."""
    axes.tick_params(which="both", labelsize=SMALL, length=2, color="#999999", labelcolor="#444444")
    axes.grid(color="#e4e4e6", linewidth=0.6)
    axes.set_axisbelow(True)
    for spine in axes.spines.values():
        spine.set(linewidth=0.5, edgecolor="#bbbbbb")


def draw_lines(
    axes: Axes,
    curves: pd.DataFrame,
    styles: Mapping[str, Style],
    *,
    bounds: tuple[float, float] = (-inf, inf),
    logarithmic: bool = False,
) -> None:
    """Lines on their bands.

    Args:
        axes: where to.
        curves: ``saliency,x,mean,ci_low,ci_high``.
        styles: by ``saliency``, the first on top; others are not drawn.
        bounds: of what was measured; bands end there.
        logarithmic: leave out the bands where they reach down to 0.
    """
    bare(axes)
    for depth, (name, line) in enumerate(reversed(list(styles.items())), 2):
        own = curves[curves["saliency"] == name].astype({"x": float})
        if not len(own):
            continue
        if "alpha" not in line:
            axes.fill_between(
                own["x"],
                own["ci_low"].astype(float).clip(*bounds),
                own["ci_high"].astype(float).clip(*bounds),
                where=own["ci_low"] > 0 if logarithmic else None,
                color=line["color"],
                alpha=0.1,
                linewidth=0,
                zorder=depth,
            )
        axes.plot(
            own["x"],
            own["mean"],
            markevery=max(1, len(own) // _MARKS),
            **{"linewidth": 1.5, "markersize": 4, "zorder": 10 + depth, **line},
        )


def draw_dots(axes: Axes, marks: Iterable[tuple[Style, float, Sequence[Any]]]) -> None:
    """Means with their intervals, lying.

    Args:
        axes: where to.
        marks: look, height, and mean, low and high; what is undefined is left out.
    """
    for look, y, (mean, low, high) in marks:
        if is_number(low) and is_number(high):
            axes.hlines(y, low, high, color=look["color"], linewidth=1.5, zorder=2)
        if is_number(mean):
            axes.plot([mean], [y], markersize=5, clip_on=False, zorder=3, **look)


@dataclass(frozen=True)
class Panel:
    """A chart among others.

    Attributes:
        draw: puts lines into its axes.
        title: above it.
        x: name of what goes across.
        y: name of what goes up.
    """

    draw: Callable[[Axes], None]
    title: str = ""
    x: str = ""
    y: str = ""


def draw_panels(
    panels: Sequence[Panel],
    path: Path,
    *,
    title: str,
    footnote: str,
    legend: Mapping[str, Style],
    words: Mapping[str, str] | None = None,
    across: int = 3,
    large: bool = False,
    width: float = 3.4,
    height: float = 2.2,
) -> Path:
    """Draw charts beside and below each other, and what their lines are.

    Args:
        panels: at least one.
        path: the PNG.
        title: above them.
        footnote: below them.
        legend: looks by name, each with a few ``words``.
        words: by name.
        across: panels beside each other.
        large: the first panel has a line of its own, the legend beside it; else that comes last.
        width: of a panel, inches.
        height: of a panel, inches.

    Returns:
        ``path``.

    Raises:
        AuditError: the file cannot be written.
    """
    words = words or {}
    first = 0.3 + sum(0.37 if words.get(name) else 0.2 for name in legend)
    heights = [max(3.9, first)] * large
    cells = len(panels) + (-1 if large else bool(legend))
    heights += [height] * -(-cells // across)
    if not large and legend:
        alone = cells % across == 1 or across == 1
        heights[-1] = first if alone else max(height, first)
    figure = figure_of(
        width * across, sum(heights), title=title, footnote=footnote, layout="constrained"
    )
    grid = figure.add_gridspec(len(heights), across, height_ratios=heights)
    spots = [grid[i // across, i % across] for i in range(across * large, len(heights) * across)]
    if large:
        spots = [grid[0, : across - 1], *spots]
    for panel, spot in zip(panels, spots, strict=False):
        axes = figure.add_subplot(spot)
        bare(axes)
        axes.set_title(panel.title, size=SMALL, loc="left", weight="bold", color=INK)
        axes.set_xlabel(panel.x, size=SMALL, color=INK)
        axes.set_ylabel(panel.y, size=SMALL, color=INK)
        panel.draw(axes)
    if legend:
        spot = grid[0, across - 1] if large else spots[len(panels)]
        _legend(figure.add_subplot(spot), legend, words)
    return save(figure, path)


def _legend(axes: Axes, styles: Mapping[str, Style], words: Mapping[str, str]) -> None:
    """Names one below the other, in axes of their own."""
    axes.axis("off")
    known = axes.legend(
        [Line2D([], [], **{"linewidth": 1.5, "markersize": 4, **look}) for look in styles.values()],
        ["\n".join(filter(None, (shorten(name, 34), words.get(name)))) for name in styles],
        loc="upper left",
        bbox_to_anchor=(0, 1),
        borderaxespad=0,
        frameon=False,
        fontsize=SMALL,
    )
    for text in known.get_texts():
        text.set_parse_math(False)
