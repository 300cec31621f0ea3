"""What all charts have in common: how lines look, bands, legends, axes without ornament."""

from collections.abc import Mapping
from math import inf
from typing import Any

import pandas as pd
from matplotlib.axes import Axes

from saliency_audit.catalogue.methods import CONTROLS
from saliency_audit.report.page import SMALL, Page, shorten

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
CONTROL_STYLES: Mapping[str, Style] = dict(zip(CONTROLS, _CONTROLS, strict=True))
"""Of the methods that see no model: grey, without marks."""
FAINT: Style = {"linestyle": (0, (1, 2.2)), "linewidth": 1.1, "alpha": 0.6}
"""Over a style: of a mean that too few images have. Has no band."""

_ENTRY = 0.37  # inches of a legend
_MARKS = 10  # about as many on a line


def style(i: int) -> Style:
    """Of the i-th series; where colours come again, it is with other marks."""
    again, first = divmod(i, len(STYLES))
    marker = STYLES[(first + again) % len(STYLES)]["marker"]
    return {"color": STYLES[first]["color"], "marker": marker}


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


def legend_height(styles: Mapping[str, Style]) -> float:
    """Inches that `draw_legend` needs."""
    return _ENTRY * len(styles) + 0.1


def draw_legend(
    page: Page, x: float, y: float, styles: Mapping[str, Style], words: Mapping[str, str]
) -> None:
    """Names one below the other, each with a few faint words if it has some."""
    for i, (name, line) in enumerate(styles.items()):
        baseline = y + 0.14 + i * _ENTRY
        draw_sample(page, x, baseline - 0.045, line)
        page.text(x + 0.42, baseline, shorten(name, 30))
        page.text(x + 0.42, baseline + 0.15, words.get(name, ""), size=SMALL, faint=True)


def draw_sample(page: Page, x: float, y: float, line: Style) -> None:
    """A piece of a line, its middle on ``y``."""
    axes = page.axes(x, y - 0.08, 0.34, 0.16, xlim=(0, 1), ylim=(0, 1))
    axes.axis("off")
    axes.plot(
        [0.02, 0.5, 0.98],
        [0.5] * 3,
        markevery=[1],
        **{"linewidth": 1.5, "markersize": 4, **line},
    )
