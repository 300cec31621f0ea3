"""What training changed, in one picture: every check before and after, with its word."""

from collections.abc import Mapping
from math import isfinite
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.axes import Axes

from saliency_audit.catalogue.entries import Check
from saliency_audit.commands.evaluate.columns import BETTER
from saliency_audit.report.charts import Style, bare, draw_sample
from saliency_audit.report.figures import framed
from saliency_audit.report.page import MARGIN, SMALL, VERDICT_COLOURS, Page
from saliency_audit.report.wording import fitting_interval, is_number, number
from saliency_audit.setting import parts_of

_BEFORE: Style = {"color": "#8c8c8c", "marker": "o", "markerfacecolor": "white"}
_AFTER: Style = {"color": "#0072b2", "marker": "D"}
_HIGH, _STRIP = 0.5, 3.0  # inches, of a row and of its scale
_FIT = 24  # characters of a difference that fit
_ENDS = ("", "_low", "_high")


def draw_changes(verdicts: pd.DataFrame, path: Path, *, checks: Mapping[str, Check]) -> Path | None:
    """A row for each question: where it was and is, the paired difference and the word.

    Args:
        verdicts: ``check,saliency,setting,before,before_low,before_high,after,after_low,after_high,
            difference,difference_low,difference_high,n,n_undefined,word``.
        path: the PNG.
        checks: for directions and bounds.

    Returns:
        ``path``; None without rows.

    Raises:
        AuditError: the file cannot be written.
    """
    lines = verdicts.to_dict("records")
    if not lines:
        return None
    compared = any(is_number(line["before"]) for line in lines)
    notes = [_note(line, checks) for line in lines]
    left = MARGIN + 0.2 + 0.066 * max(24, *map(len, notes))
    columns = {
        left + _STRIP / 2: "",
        left + _STRIP + 0.85: "before → after" if compared else "after",
        left + _STRIP + 2.65: "difference [95 %]" if compared else "",
        left + _STRIP + 4.45: "",
    }
    page, top = framed(
        width=left + _STRIP + 5.35 + MARGIN,
        body=0.1 + len(lines) * _HIGH,
        title="What did training change?",
        heads=list(columns.values()),
        middles=list(columns),
        footnote="Means with 95 % intervals on scales that begin at 0 and, where a check has a "
        "largest value, end at it. The word is about the paired difference, after minus before on "
        "the same images, not about whether the two intervals meet.",
    )
    _legend(page, left, top - 0.14, compared)
    _, numbers, differences, words = columns
    for i, line in enumerate(lines):
        y = top + 0.1 + i * _HIGH
        check = checks.get(line["check"])
        page.text(MARGIN, y + 0.2, str(line["check"]))
        page.text(MARGIN, y + 0.34, notes[i], size=SMALL, faint=True)
        axes = page.axes(left, y + 0.06, _STRIP, 0.24)
        _strip(axes, line, check.bounds if check else (0.0, float("inf")))
        values = [line["before"], line["after"]] if compared else [line["after"]]
        text = " → ".join(number(value, ".3g") for value in values)
        page.text(numbers, y + 0.24, text, align="center")
        page.text(differences, y + 0.24, _difference(line), align="center", size=SMALL)
        word = str(line["word"])
        if word:
            colour = VERDICT_COLOURS.get(word, "white")
            page.box(words - 0.8, y + 0.05, 1.6, 0.28, colour)
            page.text(words, y + 0.24, word, bold=True, align="center")
        elif compared:
            page.text(words, y + 0.24, "not compared", faint=True, align="center")
    return page.save(path)


def _note(line: Mapping[Any, Any], checks: Mapping[str, Check]) -> str:
    """Of which method, at which budget, and which end is better."""
    check = checks.get(line["check"])
    eps = parts_of(line["setting"]).get("eps")
    better = BETTER[check.higher_is_better if check else None]
    told = [line["saliency"], eps and f"eps {eps}", better]
    return " · ".join(filter(None, told))


def _legend(page: Page, x: float, y: float, compared: bool) -> None:
    for name, look in {"before": _BEFORE, "after": _AFTER}.items():
        if name == "before" and not compared:
            continue
        draw_sample(page, x, y, look)
        page.text(x + 0.42, y + 0.045, name)
        x += 1.1


def _strip(axes: Axes, line: Mapping[Any, Any], bounds: tuple[float, float]) -> None:
    """Both means with their intervals on one scale."""
    bare(axes)
    values = [line[name + end] for name in ("before", "after") for end in _ENDS]
    known = [value for value in values if is_number(value)]
    low = min([0.0, *known])
    high = bounds[1] if isfinite(bounds[1]) else 1.08 * max([*known, 0.0]) or 1.0
    room = 0.02 * (high - low)
    axes.set(xlim=(low - room, high + room), ylim=(1, 0), yticks=[])
    axes.locator_params(axis="x", nbins=5)
    axes.tick_params(axis="x", pad=1, labelsize=6.5)
    for name, look, y in (("before", _BEFORE, 0.3), ("after", _AFTER, 0.7)):
        mean, least, most = (line[name + end] for end in _ENDS)
        if is_number(least) and is_number(most):
            axes.hlines(y, least, most, color=look["color"], linewidth=2, zorder=2)
        if is_number(mean):
            axes.plot([mean], [y], markersize=5, clip_on=False, zorder=3, **look)


def _difference(line: Mapping[Any, Any]) -> str:
    """The difference with its interval, in as many digits as fit."""
    return fitting_interval(*(line["difference" + end] for end in _ENDS), most=_FIT)
