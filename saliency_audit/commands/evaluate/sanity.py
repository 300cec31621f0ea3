"""The chart of a sanity check of ``evaluate``: what is left of maps as weights become random."""

from math import inf
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from saliency_audit.catalogue.entries import Check
from saliency_audit.catalogue.methods import CONTROLS
from saliency_audit.commands.evaluate.charts import (
    AXES,
    HIGH,
    LEFT,
    LEGEND,
    TOGETHER,
    WIDE,
    fainter,
    footnote_of,
    means_of,
    styles_of,
    title_of,
    undefined_of,
)
from saliency_audit.commands.evaluate.columns import methods
from saliency_audit.report.charts import draw_legend, draw_lines, legend_height
from saliency_audit.report.figures import framed
from saliency_audit.report.page import MARGIN, SMALL

SANITY = ("sanity-cascade", "sanity-independent")

_ACROSS = {
    "sanity-cascade": "layers drawn at random",
    "sanity-independent": "the layer drawn at random",
}
_VERSIONS = {
    "signed": "rank correlation of signed maps",
    "ssim": "structural similarity",
    "hog": "correlation of gradient histograms",
}
_EVIDENCE = {
    "map-norm": "norm of the map, relative",
    "logit-spread": "spread of the logits, relative",
}
_HALF = " Line at 0.5: the verdict's limit for the mean over the stages."
_VANISHED = (
    " A norm or a spread near 0 means that the randomised model says nothing: alike or not, its "
    "maps are no evidence then. Both are cut off at a millionth."
)
_SAME = 0.005  # from 1, drawn on the line at 1
_LEAST = 1e-6  # of a logarithmic axis


def draw_sanity(
    curves: pd.DataFrame,
    verdicts: pd.DataFrame,
    path: Path,
    *,
    name: str,
    check: Check | None,
    model: str = "",
) -> Path:
    """A sanity check: how alike maps stay, below it other ways to compare them, and evidence.

    Args:
        curves: of one model and few methods, see `few_at_once`.
        verdicts: of this model, for the means in the legend.
        path: the PNG.
        name: one of ``SANITY``.
        check: for the direction.
        model: named in the title if there are several.

    Returns:
        ``path``.

    Raises:
        AuditError: the file cannot be written.
    """
    panels = [
        (own, words, suffix in _EVIDENCE)
        for suffix, words in (_VERSIONS | _EVIDENCE).items()
        if len(own := _drawn(curves[curves["check"] == f"{name}-{suffix}"], suffix))
    ]
    main = curves[curves["check"] == name]
    gone = undefined_of(verdicts, name)
    means = means_of(verdicts, name) | gone
    styles = fainter(styles_of(curves, verdicts), gone)
    same = _all_one(main, list(styles))
    bounds = check.bounds if check else (-inf, inf)
    width = MARGIN + LEFT + WIDE + 0.2 + LEGEND + MARGIN
    pitch = (width - 2 * MARGIN + 0.2) / 3
    small, high = pitch - LEFT - 0.1, 1.5
    first = max(0.3 + HIGH + 0.6, 0.3 + legend_height(styles))
    page, top = framed(
        width=width,
        body=first + -(-len(panels) // 3) * (high + 0.75),
        title=title_of(name, check, model),
        heads=[],
        middles=[],
        footnote=footnote_of(styles, means, gone)
        + (f" On each other: {', '.join(same)}, 1 throughout." if len(same) > 1 else "")
        + (_HALF if name == "sanity-cascade" else "")
        + (_VANISHED if any(logarithmic for *_, logarithmic in panels) else ""),
    )
    x, y = MARGIN + LEFT, top + 0.3
    across, up = AXES[name]
    axes = page.axes(x, y, WIDE, HIGH)
    draw_lines(axes, main, styles, bounds=bounds)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.set_ylim(min(-0.05, *axes.get_ylim()), max(1.05, *axes.get_ylim()))
    if name == "sanity-cascade":
        axes.axhline(0.5, color="#888888", linewidth=0.8, zorder=1)
    page.text(MARGIN, y - 0.12, up, bold=True)
    page.text(x + WIDE / 2, y + HIGH + 0.4, across, align="center")
    words = {name: f"1 throughout{f'; {gone[name]}' if name in gone else ''}" for name in same}
    draw_legend(page, x + WIDE + 0.2, y, styles, means | words)
    for i, (own, title, logarithmic) in enumerate(panels):
        x = MARGIN + LEFT + (i % 3) * pitch
        y = top + first + (i // 3) * (high + 0.75) + 0.3
        axes = page.axes(x, y, small, high)
        draw_lines(
            axes,
            own,
            styles | {"": {"color": "#222222"}},
            bounds=(0, inf) if logarithmic else bounds,
            logarithmic=logarithmic,
        )
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        if logarithmic:
            _logarithmic(axes, own)
        page.text(x - 0.4, y - 0.1, title, size=SMALL, bold=True)
        page.text(x + small / 2, y + high + 0.34, _ACROSS[name], size=SMALL, align="center")
    return page.save(path)


def few_at_once(curves: pd.DataFrame) -> list[pd.DataFrame]:
    """Curves of at most ``TOGETHER`` methods each, the controls in every one."""
    judged = [method for method in methods(curves) if method not in CONTROLS]
    count = max(1, -(-len(judged) // TOGETHER))
    always = {"", *CONTROLS}
    return [curves[curves["saliency"].isin(always | set(judged[i::count]))] for i in range(count)]


def _all_one(curves: pd.DataFrame, names: list[str]) -> list[str]:
    """Methods whose maps stay the same at every stage."""
    apart = (curves["mean"].astype(float) - 1).abs().groupby(curves["saliency"]).max()
    return [name for name in names if apart.get(name, inf) <= _SAME]


def _drawn(curves: pd.DataFrame, suffix: str) -> pd.DataFrame:
    """What can be drawn of one check; of the logits one line, for they are of no method."""
    found = curves[np.isfinite(curves["mean"].astype(float))]
    if suffix == "logit-spread" and len(found):
        found = found[found["saliency"] == found["saliency"].iloc[0]].assign(saliency="")
    return found


def _logarithmic(axes: Axes, curves: pd.DataFrame) -> None:
    """A logarithmic axis, if anything is above 0; what is 0 drops out of it below."""
    means = curves.loc[curves["mean"] > 0, "mean"]
    if len(means):
        axes.set_yscale("log")
        axes.set_ylim(max(means.min() / 3, _LEAST), max(means.max(), 1.0) * 3)
