"""How the training of ``finetune`` went: a panel for everything that was followed."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from saliency_audit.commands.finetune.training_log import FIRST, LAST
from saliency_audit.report.charts import Panel, Style, draw_panels, style
from saliency_audit.report.page import shorten
from saliency_audit.report.wording import is_number

COLUMNS = (*FIRST, *LAST)
"""Of ``training.csv``; then the terms of the loss, and what else was measured."""

_STRETCHES = 25  # of steps, that keep a middle of their own
_STEADY = ("val_accuracy", "lr")  # columns without noise from step to step
_FEW = 40  # values that are marked one by one
_TRAINING, _VALIDATION, _SEEN = style(0), style(1), style(2)
_ACCURACY = {
    "training": ("train_accuracy", _TRAINING),
    "validation": ("val_accuracy", _VALIDATION),
}
_WHOSE = {"training": "accuracy of the images trained on", "validation": "accuracy of others"}
_WORDS = {
    "cross-entropy": "nats, images trained on",
    "loss": "sum of the terms",
    "lr": "set by the schedule",
}


def draw_training(training: pd.DataFrame, terms: Sequence[str], path: Path) -> Path | None:
    """Accuracy, the terms of the loss each on its own scale, and what else was measured, by step.

    Args:
        training: ``COLUMNS`` and further ones; NaN where something was not measured at a step.
        terms: of the loss, names of columns.
        path: the PNG.

    Returns:
        ``path``; None where no step was recorded.

    Raises:
        AuditError: the file cannot be written.
    """
    training = training.apply(pd.to_numeric, errors="coerce")
    if not len(training):
        return None

    def draw(axes: Axes, lines: Sequence[tuple[str, Style]]) -> None:
        drawn = [
            _draw(axes, training["step"], training[column], look, smooth=column not in _STEADY)
            for column, look in lines
        ]
        axes.set_ylim(_limits([ends for ends in drawn if ends]))
        axes.yaxis.set_major_formatter(partial(_tick, axes))
        axes.margins(x=0.02)
        axes.locator_params(axis="x", nbins=5, integer=True)

    accuracy = {name: line for name, line in _ACCURACY.items() if training[line[0]].notna().any()}
    return draw_panels(
        [
            Panel(
                partial(
                    draw, lines=list(_ACCURACY.values()) if name == "accuracy" else [(name, look)]
                ),
                shorten(name, 34),
                "step",
                words,
            )
            for name, words, look in _panels(training, terms)
        ],
        path,
        title="How the training went",
        footnote=_footnote(training, terms),
        legend={name: look for name, (_, look) in accuracy.items()},
        words={name: _WHOSE[name] for name in accuracy},
    )


def _tick(axes: Axes, value: float, _: int) -> str:
    """A label with as many digits as tell the ticks of an axis apart."""
    ticks = axes.get_yticks()
    digits = next((d for d in range(3, 9) if len({f"{t:.{d}g}" for t in ticks}) == len(ticks)), 9)
    return f"{value + 0.0:.{digits}g}"


def _panels(training: pd.DataFrame, terms: Sequence[str]) -> list[tuple[str, str, Style]]:
    """Name, a few words and look of each panel."""
    found: list[tuple[str, str, Style]] = []
    if training[["train_accuracy", "val_accuracy"]].notna().any(axis=None):
        found.append(("accuracy", "share classified right", _TRAINING))
    # A loss of one term is that term.
    losses = [*terms, *(["loss"] if len(terms) != 1 else [])]
    for name in losses:
        found.append((name, _WORDS.get(name, "term, weight included"), _TRAINING))
    for name in training.columns:
        if name not in (*COLUMNS, *terms) and training[name].notna().any():
            found.append((name, "measured on the way", _SEEN))
    if training["lr"].nunique() > 1:
        found.append(("lr", _WORDS["lr"], _SEEN))
    return found


def _draw(
    axes: Axes, steps: pd.Series, values: pd.Series, look: Style, *, smooth: bool
) -> tuple[float, float] | None:
    """A line; of what changes at every step faint, with its running mean on it.

    Returns:
        The range to show, in which single steps far out do not leave the rest a flat line.
    """
    known = values.replace([np.inf, -np.inf], np.nan).notna()
    steps, values = steps[known], values[known]
    if not len(values):
        return None
    few = len(values) <= _FEW
    line = {"linewidth": 1.6, "markersize": 4, **look} | ({} if few else {"marker": ""})
    if few or not smooth:
        axes.plot(steps, values, zorder=4, **line)
        return float(values.min()), float(values.max())
    window = max(2, len(values) // _STRETCHES)
    # Values themselves, not between two: a single one far out must not reach the ends.
    low = float(np.quantile(values, 0.005, method="higher"))
    high = float(np.quantile(values, 0.995, method="lower"))
    middle = values.clip(low, high).rolling(window, center=True, min_periods=1).mean()
    axes.plot(steps, values, color=look["color"], linewidth=0.6, alpha=0.3, zorder=3)
    axes.plot(steps, middle, zorder=4, **line)
    return low, high


def _limits(ends: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """With a little room at both ends."""
    low, high = min((a for a, _ in ends), default=0.0), max((b for _, b in ends), default=1.0)
    room = 0.05 * ((high - low) or abs(high) or 1.0)
    return low - room, high + room


def _footnote(training: pd.DataFrame, terms: Sequence[str]) -> str:
    """How long it took, and what lines are."""
    last = training.iloc[-1]
    speed = training["images_per_second"].median()
    told = f"{last['step']:.0f} steps in {training['seconds'].sum():.0f} s"
    told += f", about {speed:.0f} images a second." if is_number(speed) else "."
    if len(training) > _FEW:
        told += (
            f" Faint: every step; line: running mean over 1/{_STRETCHES} of them. The 0.5 % "
            "largest and smallest values lie beyond the frame and count as its edge."
        )
    if len(terms) > 1:
        told += " Each panel has its own scale: what is minimised is the sum of the terms."
    return told
