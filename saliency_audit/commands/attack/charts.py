"""The charts of ``attack``: how far maps moved, and how the search went."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from saliency_audit.commands.attack.figures import pixels_compared
from saliency_audit.commands.attack.gallery import budget, size
from saliency_audit.report.charts import Style, bare, style
from saliency_audit.report.figures import framed
from saliency_audit.report.page import BODY, MARGIN, Page, leading
from saliency_audit.report.wording import is_number
from saliency_audit.setting import parts_of

_NOISE: Style = {"color": "#8c8c8c", "marker": "o", "markerfacecolor": "white"}
_WORST_NOISE: Style = {**_NOISE, "marker": "d"}
_CHANCE: Style = {"color": "#555555", "linestyle": "--", "linewidth": 1.0}
_PANELS, _BETWEEN, _LINE = 7.6, 0.25, 0.24  # inches
_WORST_CASE = "worst-case"
_TERMS = {
    "map-term": "distance to the wanted map",
    "prediction-term": "change of the probabilities",
}


def draw_similarity(verdicts: pd.DataFrame, path: Path) -> Path | None:
    """What is left of each map under each attack, beside noise: dots with their intervals.

    Args:
        verdicts: of all attacks; a panel for each budget, a row for each method and scalar.
        path: the PNG.

    Returns:
        ``path``; None where nothing is defined.

    Raises:
        AuditError: the file cannot be written.
    """
    if not verdicts["similarity"].map(is_number).any():
        return None
    several = verdicts["scalar"].nunique() > 1
    named = verdicts.assign(budget=verdicts["setting"].map(budget))
    budgets = sorted(
        dict.fromkeys(named["budget"]),
        key=lambda allowed: size(named.loc[named["budget"] == allowed, "setting"].iloc[0]),
    )
    maps = list(dict.fromkeys(zip(named["saliency"], named["scalar"], strict=True)))
    attacks = dict.fromkeys(named["attack"])
    styles = {attack: style(i) for i, attack in enumerate(attacks)}
    chance = next(filter(is_number, named["chance"]), None)
    legend = {**styles, "noise of the same size": _NOISE}
    if _WORST_CASE in styles:
        legend["worst draw of noise"] = _WORST_NOISE
    if chance is not None:
        legend[f"chance ({chance:.2g})"] = _CHANCE
    panel = float(np.clip(_PANELS / len(budgets), 1.9, 4.2))
    row = 0.2 + 0.13 * (len(styles) + 1)
    labels = [f"{saliency}\n{scalar}" if several else saliency for saliency, scalar in maps]
    left = MARGIN + 0.15 + 0.085 * max(len(line) for name in labels for line in name.split("\n"))
    width = left + len(budgets) * (panel + _BETWEEN) + MARGIN
    spots = _flow(list(legend), width)
    above = _LINE * (spots[-1][1] + 1) + 0.35
    page, top = framed(
        width=width,
        body=above + row * len(maps) + 0.62,
        title="How much of each map is left?",
        heads=[],
        middles=[],
        footnote="Means over images with 95 % intervals, of the method that the image was made "
        "against. 1: the attack moved nothing. Without a mark: undefined, or not tried.",
    )
    _legend(page, top, legend, spots)
    for i, label in enumerate(labels):
        lines_of = label.split("\n")
        y = top + above + row * (i + 0.5) + 0.04 - leading(BODY) * (len(lines_of) - 1) / 2
        page.text(MARGIN, y, label)
    for j, allowed in enumerate(budgets):
        x = left + j * (panel + _BETWEEN)
        page.text(x + panel / 2, top + above - 0.09, _within(allowed), align="center", bold=True)
        axes = page.axes(x, top + above, panel, row * len(maps))
        bare(axes)
        axes.set(xlim=(-0.03, 1.03), ylim=(len(maps), 0), xticks=np.linspace(0, 1, 6), yticks=[])
        own = named[named["budget"] == allowed]
        for i, (saliency, scalar) in enumerate(maps):
            if i % 2:
                axes.axhspan(i, i + 1, color="#f4f5f7", linewidth=0, zorder=0)
            mine = own[(own["saliency"] == saliency) & (own["scalar"] == scalar)]
            _dots(axes, mine, styles, row=i)
        if chance is not None:
            axes.axvline(chance, zorder=1, **_CHANCE)
    page.text(
        left + (len(budgets) * (panel + _BETWEEN) - _BETWEEN) / 2,
        top + above + row * len(maps) + 0.45,
        f"intersection of the {pixels_compared(verdicts)} with those of the clean map",
        align="center",
    )
    return page.save(path)


def draw_terms(summary: pd.DataFrame, path: Path) -> Path | None:
    """The two terms that the structured attack makes small, by step.

    Args:
        summary: of `summarise`.
        path: the PNG.

    Returns:
        ``path``; None without such terms.

    Raises:
        AuditError: the file cannot be written.
    """
    rows = summary[summary["check"].isin(list(_TERMS))]
    rows = rows.assign(
        step=[float(parts_of(setting).get("step", "nan")) for setting in rows["setting"]],
        series=_series(rows),
        mean=pd.to_numeric(rows["mean"]),
    )
    # A logarithm shows nothing of zero.
    rows = rows[(rows["mean"] > 0) & rows["step"].notna()].sort_values("step", kind="stable")
    if not len(rows):
        return None
    legend = {name: style(i) for i, name in enumerate(dict.fromkeys(rows["series"]))}
    wide, high, between = 3.3, 2.5, 0.75
    width = MARGIN + 0.5 + 2 * wide + between + MARGIN
    spots = _flow(list(legend), width)
    above = _LINE * (spots[-1][1] + 1) + 0.15
    page, top = framed(
        width=width,
        body=above + 0.3 + high + 0.5,
        title="What the structured attack made smaller, step by step",
        heads=[],
        middles=[],
        footnote="Means over images, logarithmic. The sum of both is what is made smaller.",
    )
    _legend(page, top, legend, spots)
    for j, (check, name) in enumerate(_TERMS.items()):
        x, y = MARGIN + 0.5 + j * (wide + between), top + above + 0.3
        page.text(x, y - 0.1, name, bold=True)
        axes = page.axes(x, y, wide, high, yscale="log")
        bare(axes)
        for series, own in rows[rows["check"] == check].groupby("series", sort=False):
            few = len(own) < 30
            line = {**legend[str(series)], **({} if few else {"marker": ""})}
            axes.plot(own["step"], own["mean"], linewidth=1.5, markersize=4, **line)
        page.text(x + wide / 2, y + high + 0.4, "step", align="center")
    return page.save(path)


def _series(rows: pd.DataFrame) -> list[str]:
    """What a line of the terms is of: method, and scalar and budget where there are several."""
    several = rows["scalar"].nunique() > 1
    budgets = rows["setting"].map(budget)
    return [
        parts_of(setting).get("attacked", "")
        + (f" of {scalar}" if several else "")
        + (f", {allowed}" if budgets.nunique() > 1 else "")
        for setting, scalar, allowed in zip(rows["setting"], rows["scalar"], budgets, strict=True)
    ]


def _dots(axes: Axes, own: pd.DataFrame, styles: Mapping[str, Style], *, row: int) -> None:
    """The means of one method under one budget, one below the other, noise last."""
    marks = [(styles[line["attack"]], line, "similarity") for line in own.to_dict("records")]
    for look, beside in (
        (_NOISE, own[own["attack"] != _WORST_CASE]),
        (_WORST_NOISE, own[own["attack"] == _WORST_CASE]),
    ):
        noise = beside[["control", "control_low", "control_high"]].drop_duplicates()
        marks += [(look, line, "control") for line in noise.to_dict("records")]
    for i, (look, line, name) in enumerate(marks, 1):
        mean, low, high = (line[name + end] for end in ("", "_low", "_high"))
        y = row + i / (len(marks) + 1)
        if is_number(low) and is_number(high):
            axes.hlines(y, low, high, color=look["color"], linewidth=1.5, zorder=2)
        if is_number(mean):
            axes.plot([mean], [y], markersize=5, clip_on=False, zorder=3, **look)


def _flow(labels: Sequence[str], width: float) -> list[tuple[float, int]]:
    """Where each entry of a legend begins, from the left margin, and on which line."""
    spots, x, line = [], 0.0, 0
    for label in labels:
        wide = 0.5 + 0.072 * len(label)
        if x and x + wide > width - 2 * MARGIN:
            x, line = 0.0, line + 1
        spots.append((x, line))
        x += wide
    return spots


def _legend(
    page: Page, top: float, styles: Mapping[str, Style], spots: Sequence[tuple[float, int]]
) -> None:
    """What the marks mean, in lines from the left margin."""
    high = _LINE * (spots[-1][1] + 1)
    axes = page.axes(0, top, page.width, high, xlim=(0, page.width), ylim=(high, 0))
    axes.axis("off")
    for (name, look), (x, line) in zip(styles.items(), spots, strict=True):
        x, y = MARGIN + x, (line + 0.5) * _LINE
        ends, marks = ([x, x + 0.22], {}) if "linestyle" in look else ([x + 0.11], {"ms": 5})
        axes.plot(ends, [y] * len(ends), **{**look, **marks})
        page.text(x + 0.28, top + y + 0.045, name)


def _within(allowed: str) -> str:
    return allowed if allowed == "no budget" else f"within {allowed}"
