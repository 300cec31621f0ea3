"""The charts of ``evaluate``: curves with 95 % bands, beside those of the controls."""

from collections.abc import Collection, Mapping
from functools import partial
from math import inf, isfinite
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from saliency_audit.catalogue.entries import Check
from saliency_audit.catalogue.methods import CONTROLS
from saliency_audit.catalogue.metrics import OF_TRAININGS
from saliency_audit.commands.evaluate.columns import methods
from saliency_audit.report.charts import (
    FAINT,
    Panel,
    Style,
    control_styles,
    draw_lines,
    draw_panels,
    style,
)
from saliency_audit.report.page import shorten
from saliency_audit.report.wording import MEAN, is_number
from saliency_audit.stats.undefined import undefined

TOGETHER = 6
"""Methods in a chart; more get further ones."""
SANITY = (_CASCADE, _INDEPENDENT) = ("sanity-cascade", "sanity-independent")

_OTHERS = {
    suffix: (words, "layers drawn at random")
    for suffix, words in {
        "signed": "rank correlation of signed maps",
        "ssim": "structural similarity",
        "hog": "correlation of gradient histograms",
        "map-norm": "norm of the map, relative",
        "logit-spread": "spread of the logits, relative",
    }.items()
}
"""Title of a sanity check's further panels, and what goes across."""
_EVIDENCE = ("map-norm", "logit-spread")
_QUESTIONS = {
    _CASCADE: ": what is left of the map as weights are drawn at random?",
    _INDEPENDENT: ": what is left of the map when one layer is drawn at random?",
}
_HALF = "Line at 0.5: the verdict's limit for the mean over the stages; the controls stay at 1."
_VANISHED = (
    "A norm or a spread near 0 means that the randomised model says nothing: alike or not, its "
    "maps are no evidence then. Both are cut off at a millionth."
)
_LEAST = 1e-6  # of a logarithmic axis


def draw_curves(
    curves: pd.DataFrame,
    verdicts: pd.DataFrame,
    path: Path,
    *,
    name: str,
    check: Check | None,
    model: str = "",
    page: str = "",
) -> Path:
    """The curves of one check; of a sanity check below it other ways to compare, and evidence.

    Args:
        curves: ``saliency,check,x,mean,ci_low,ci_high`` of one model and few methods, see
            `few_at_once`.
        verdicts: of this model, for the means in the legend.
        path: the PNG.
        name: of the check.
        check: for direction and bounds.
        model: named in the title if there are several.
        page: which of several, behind the title.

    Returns:
        ``path``.

    Raises:
        AuditError: the file cannot be written.
    """
    gone = undefined_of(verdicts, name)
    means = means_of(verdicts, name) | gone
    styles = fainter(styles_of(curves, verdicts), gone)
    bounds = check.bounds if check else (-inf, inf)

    def draw(axes: Axes, own: pd.DataFrame, *, logarithmic: bool = False) -> None:
        lines = styles | {"": {"color": "#222222"}}
        ends = (0, inf) if logarithmic else bounds
        draw_lines(axes, own, lines, bounds=ends, logarithmic=logarithmic)
        if name in SANITY:
            axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        if logarithmic:
            _logarithmic(axes, own)

    def draw_main(axes: Axes) -> None:
        draw(axes, curves[curves["check"] == name])
        if isfinite(bounds[0]):
            axes.set_ylim(bottom=min(axes.get_ylim()[0], -0.03))
        if name == _CASCADE:
            axes.axhline(0.5, color="#888888", linewidth=0.8, zorder=1)

    others = {
        suffix: own
        for suffix in (_OTHERS if name in SANITY else ())
        if len(own := _drawn(curves[curves["check"] == f"{name}-{suffix}"], suffix))
    }
    over = "trainings" if name in OF_TRAININGS else "images"
    notes = [footnote_of(styles, means, gone, over=over), *([_HALF] if name == _CASCADE else [])]
    return draw_panels(
        [
            Panel(draw_main, "", *(check.axes if check and check.axes else ("x", name))),
            *(
                Panel(partial(draw, own=own, logarithmic=suffix in _EVIDENCE), *_OTHERS[suffix])
                for suffix, own in others.items()
            ),
        ],
        path,
        title=title_of(name, check, model) + page,
        footnote=" ".join([*notes, *([_VANISHED] if set(_EVIDENCE) & set(others) else [])]),
        legend=styles,
        words=means,
        large=True,
    )


def few_at_once(curves: pd.DataFrame) -> list[pd.DataFrame]:
    """Curves of at most ``TOGETHER`` methods each, the controls in every one."""
    judged = [method for method in methods(curves) if method not in CONTROLS]
    count = max(1, -(-len(judged) // TOGETHER))
    always = {"", *CONTROLS}
    return [curves[curves["saliency"].isin(always | set(judged[i::count]))] for i in range(count)]


def styles_of(curves: pd.DataFrame, verdicts: pd.DataFrame) -> dict[str, Style]:
    """A line for each method, controls in grey; few methods look the same in all charts of a run.

    Args:
        curves: what is drawn.
        verdicts: may hold methods that have no curve.
    """
    drawn, everyone = methods(curves), methods(verdicts)
    controls = control_styles(drawn)
    judged = [name for name in everyone if name not in control_styles(everyone)]
    if not set(drawn) - set(controls) <= set(judged) or len(judged) > TOGETHER:
        judged = [name for name in drawn if name not in controls]
    return {name: style(i) for i, name in enumerate(judged) if name in drawn} | controls


def means_of(verdicts: pd.DataFrame, check: str) -> dict[str, str]:
    """The mean that a verdict is of, by method; none where there are several settings."""
    own = verdicts[verdicts["check"] == check]
    return {
        str(saliency): MEAN(dict(lines.iloc[0]))
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
        if undefined(n, missing, n + missing, fewest=0)[0]
    }


def fainter(styles: Mapping[str, Style], gone: Collection[str]) -> dict[str, Style]:
    """The styles, faint where the mean is of too few images."""
    return {name: {**line, **FAINT} if name in gone else line for name, line in styles.items()}


def footnote_of(
    drawn: Collection[str],
    means: Mapping[str, str],
    gone: Collection[str],
    *,
    over: str = "images",
) -> str:
    """What lines, bands and the words beside the names are.

    Args:
        drawn: names of lines.
        means: words by name, those of ``gone`` among them.
        gone: names of faint lines.
        over: what the means are over.
    """
    band = "± 1.96 standard errors" if over == "images" else "Student's interval"
    notes = [f"Means over {over} on 95 % bands ({band})."]
    if controls := dict.fromkeys(name.partition(" ")[0] for name in control_styles(drawn)):
        several = len(controls) > 1
        notes.append(
            f"In grey the control{'s' * several} {' and '.join(controls)}, which "
            f"{'see' if several else 'sees'} no model."
        )
    if set(drawn) & set(means) - set(gone):
        notes.append("Below the names: mean [95 % interval].")
    if set(drawn) & set(gone):
        notes.append(
            "Dotted and faint: undefined on more than 5 % of the images; the line is the mean "
            "over the others, not comparable with the other lines."
        )
    return " ".join(notes)


def title_of(name: str, check: Check | None, model: str) -> str:
    """Name, what it is, which end is better, and the model if there are several."""
    question = _QUESTIONS.get(name, f": {check.summary}" if check else "")
    better = check.higher_is_better if check else None
    direction = {True: " Higher is better.", False: " Lower is better.", None: ""}[better]
    end = "" if question.endswith("?") or not direction else "."
    return f"{name}{question}{end}{direction}" + (f" · {shorten(model, 60)}" if model else "")


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
