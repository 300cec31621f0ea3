"""The charts of ``evaluate``: curves with 95 % bands, beside those of the controls."""

from collections.abc import Collection, Mapping, Sequence
from math import inf
from pathlib import Path

import pandas as pd

from saliency_audit.catalogue.entries import Check
from saliency_audit.catalogue.methods import CONTROLS
from saliency_audit.commands.evaluate.columns import methods
from saliency_audit.report.charts import (
    CONTROL_STYLES,
    FAINT,
    Style,
    draw_legend,
    draw_lines,
    draw_sample,
    legend_height,
    style,
)
from saliency_audit.report.figures import framed
from saliency_audit.report.page import MARGIN, SMALL, shorten
from saliency_audit.report.wording import is_number, with_interval

TOGETHER = 6
"""Methods beyond which each gets a panel, or a page, of its own."""

_REPLACED = "share of pixels replaced"
_PROBABILITY = "probability of the explained class"
_RANKS = "rank correlation of magnitudes with the given model's map"
AXES = {
    "deletion": (_REPLACED, _PROBABILITY),
    "preservation": (_REPLACED, _PROBABILITY),
    "insertion": ("share of pixels returned", _PROBABILITY),
    "deletion-gap": (_REPLACED, "preservation minus deletion"),
    "discriminative": (_REPLACED, "accuracy"),
    "density-perturbation": (_REPLACED, "change of the class's logit"),
    "aopc": ("regions replaced", "drop of the class probability"),
    "density-profile": (
        "standard deviation of the noise, pixels in [0, 1]",
        "log-ratio of the density",
    ),
    "sanity-cascade": ("layers drawn at random, from the output on", _RANKS),
    "sanity-independent": ("the layer drawn at random, from the output on", _RANKS),
}
WIDE, HIGH = 5.4, 3.5  # inches, of one chart
_SMALL_WIDE, _SMALL_HIGH, _ACROSS = 1.9, 1.35, 4  # of one panel of many
LEFT, LEGEND = 0.62, 2.6
_INTERVAL = ("mean", "ci_low", "ci_high")
_ONE: Style = {"color": "#0072b2", "linewidth": 1.8, "marker": ""}
_UNBOUNDED = (-inf, inf)
_MOST_UNDEFINED = 0.05  # of the images


def draw_curves(
    curves: pd.DataFrame,
    verdicts: pd.DataFrame,
    path: Path,
    *,
    check: Check | None,
    model: str = "",
) -> Path:
    """The curves of one check: all methods in one chart, or a panel for each of many.

    Args:
        curves: ``saliency,check,x,mean,ci_low,ci_high`` of one check and model.
        verdicts: of this model, for the means in the legend.
        path: the PNG.
        check: for the direction.
        model: named in the title if there are several.

    Returns:
        ``path``.

    Raises:
        AuditError: the file cannot be written.
    """
    name = str(curves["check"].iloc[0])
    title = title_of(name, check, model)
    gone = undefined_of(verdicts, name)
    means = means_of(verdicts, name) | gone
    across, up = AXES.get(name, ("x", name))
    bounds = check.bounds if check else _UNBOUNDED
    # From 0 where that is the least there can be; never so that a mean is cut off.
    bottom = 0.0 if check and check.bounds[0] == 0 <= curves["mean"].min() else None
    judged = [method for method in methods(curves) if method not in CONTROLS]
    if len(judged) > TOGETHER:
        return _many(
            curves,
            judged,
            path,
            title=title,
            means=means,
            gone=gone,
            across=across,
            up=up,
            bottom=bottom,
            bounds=bounds,
        )
    styles = fainter(styles_of(curves, verdicts), gone)
    page, top = framed(
        width=MARGIN + LEFT + WIDE + 0.2 + LEGEND + MARGIN,
        body=max(0.3 + HIGH + 0.55, 0.3 + legend_height(styles)),
        title=title,
        heads=[],
        middles=[],
        footnote=footnote_of(styles, means, gone),
    )
    x, y = MARGIN + LEFT, top + 0.3
    axes = page.axes(x, y, WIDE, HIGH)
    draw_lines(axes, curves, styles, bounds=bounds)
    axes.set_ylim(_limits(curves, bottom, bounds))
    page.text(MARGIN, y - 0.12, up, bold=True)
    page.text(x + WIDE / 2, y + HIGH + 0.4, across, align="center")
    draw_legend(page, x + WIDE + 0.2, y, styles, means)
    return page.save(path)


def draw_models(curves: pd.DataFrame, path: Path, *, check: Check | None) -> Path:
    """A curve of the models alone, a line for each of them.

    Args:
        curves: of one check; a line for each ``model``.
        path: the PNG.
        check: for the direction.

    Returns:
        ``path``.

    Raises:
        AuditError: the file cannot be written.
    """
    by_model = curves.assign(saliency=curves["model"])
    return draw_curves(by_model, pd.DataFrame(columns=["check", "saliency"]), path, check=check)


def _many(
    curves: pd.DataFrame,
    judged: Sequence[str],
    path: Path,
    *,
    title: str,
    means: Mapping[str, str],
    gone: Mapping[str, str],
    across: str,
    up: str,
    bottom: float | None,
    bounds: tuple[float, float],
) -> Path:
    """A panel for each method, with the controls in each."""
    pitch, high = _SMALL_WIDE + 0.3, _SMALL_HIGH + 0.62
    rows = -(-len(judged) // _ACROSS)
    controls = fainter(
        {name: line for name, line in CONTROL_STYLES.items() if name in set(curves["saliency"])},
        gone,
    )
    page, top = framed(
        width=MARGIN + 0.45 + _ACROSS * pitch + MARGIN,
        body=0.55 + rows * high + 0.25,
        title=title,
        heads=[],
        middles=[],
        footnote=footnote_of([*judged, *controls], means, gone),
    )
    legend = {"the method": _ONE, **controls}
    page.text(MARGIN, top + 0.1, up, bold=True)
    x = MARGIN + 0.3 + 0.085 * len(up)
    for name, line in legend.items():
        mean = gone.get(name) or means.get(name, "").split(" ")[0]
        text = f"{name} {mean}".strip()
        draw_sample(page, x, top + 0.06, line)
        page.text(x + 0.42, top + 0.1, text)
        x += 0.75 + 0.075 * len(text)
    limits = _limits(curves, bottom, bounds)
    for i, method in enumerate(judged):
        x = MARGIN + 0.45 + (i % _ACROSS) * pitch
        y = top + 0.55 + (i // _ACROSS) * high + 0.18
        page.text(x, y - 0.2, shorten(method, 24), bold=True)
        page.text(x, y - 0.06, means.get(method, ""), size=SMALL)
        axes = page.axes(x, y, _SMALL_WIDE, _SMALL_HIGH)
        shown = curves[curves["saliency"].isin([method, *controls])]
        own = fainter({method: _ONE}, gone)
        draw_lines(axes, shown, own | controls, bounds=bounds)
        axes.set_ylim(limits)
        if i % _ACROSS:
            axes.set_yticklabels([])
        if i + _ACROSS < len(judged):
            axes.set_xticklabels([])
    page.text(page.width / 2, top + 0.55 + rows * high + 0.08, across, align="center")
    return page.save(path)


def _limits(
    curves: pd.DataFrame, bottom: float | None, bounds: tuple[float, float]
) -> tuple[float, float]:
    """The same for all panels, every band whole."""
    ends = curves[["ci_low", "ci_high"]].astype(float).clip(*bounds).join(curves["mean"])
    low = ends[["ci_low", "mean"]].min().min() if bottom is None else bottom
    high = ends[["ci_high", "mean"]].max().max()
    room = 0.03 * ((high - low) or 1.0)
    return low - room, high + room


def styles_of(curves: pd.DataFrame, verdicts: pd.DataFrame) -> dict[str, Style]:
    """A line for each method, controls in grey; few methods look the same in all charts of a run.

    Args:
        curves: what is drawn.
        verdicts: may hold methods that have no curve.
    """
    drawn = methods(curves)
    judged = [name for name in methods(verdicts) if name not in CONTROLS]
    if not set(drawn) - set(CONTROLS) <= set(judged) or len(judged) > TOGETHER:
        judged = [name for name in drawn if name not in CONTROLS]
    styles = {name: style(i) for i, name in enumerate(judged) if name in drawn}
    return styles | {name: line for name, line in CONTROL_STYLES.items() if name in drawn}


def means_of(verdicts: pd.DataFrame, check: str) -> dict[str, str]:
    """The mean that a verdict is of, by method; none where there are several settings."""
    own = verdicts[verdicts["check"] == check]
    return {
        str(saliency): with_interval(*(lines[name].iloc[0] for name in _INTERVAL))
        for saliency, lines in (own.groupby("saliency", sort=False) if len(own) else ())
        if len(lines) == 1 and is_number(lines["mean"].iloc[0])
    }


def undefined_of(verdicts: pd.DataFrame, check: str) -> dict[str, str]:
    """Of methods that too many images have no value of, on how many, in words; by method."""
    own = verdicts[verdicts["check"] == check]
    if not len(own):
        return {}
    most = own.groupby("saliency", sort=False)[["n", "n_undefined"]].agg(
        {"n": "min", "n_undefined": "max"}
    )
    return {
        str(saliency): f"undefined ({missing} of {n + missing} images)"
        for saliency, n, missing in most.astype(int).itertuples()
        if missing > _MOST_UNDEFINED * (n + missing)
    }


def fainter(styles: Mapping[str, Style], gone: Collection[str]) -> dict[str, Style]:
    """The styles, faint where the mean is of too few images."""
    return {name: {**line, **FAINT} if name in gone else line for name, line in styles.items()}


def footnote_of(drawn: Collection[str], means: Mapping[str, str], gone: Collection[str]) -> str:
    """What lines, bands and the words beside the names are.

    Args:
        drawn: names of lines.
        means: words by name, those of ``gone`` among them.
        gone: names of faint lines.
    """
    notes = ["Means over images on 95 % bands (± 1.96 standard errors)."]
    if set(CONTROLS) & set(drawn):
        notes.append("In grey the controls random and sobel, which see no model.")
    if set(drawn) & set(means) - set(gone):
        notes.append("Beside the names: mean [95 % interval].")
    if set(drawn) & set(gone):
        notes.append(
            "Dotted and faint: undefined on more than 5 % of the images; the line is the mean "
            "over the others, not comparable with the other lines."
        )
    return " ".join(notes)


def title_of(name: str, check: Check | None, model: str) -> str:
    """Name, what it is, which end is better, and the model if there are several."""
    question = {
        "sanity-cascade": ": what is left of the map as weights are drawn at random?",
        "sanity-independent": ": what is left of the map when one layer is drawn at random?",
    }.get(name, f": {check.summary}" if check else "")
    better = check.higher_is_better if check else None
    direction = {True: " Higher is better.", False: " Lower is better.", None: ""}[better]
    end = "" if question.endswith("?") or not direction else "."
    return f"{name}{question}{end}{direction}" + (f" · {shorten(model, 60)}" if model else "")
