"""The answer and the report of ``finetune --sweep``: scatters, heat tables and the page."""

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from math import nan
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, to_hex

from saliency_audit.commands.finetune.grid import Grid, as_text
from saliency_audit.commands.finetune.options import QUESTIONS, TRAINED_ANEW
from saliency_audit.commands.finetune.sweep_tables import (
    FEWEST,
    KEY,
    called,
    correlation_table,
    correlations,
    every_table,
    heat_table,
    measured,
    points_table,
    sentence,
    shared,
)
from saliency_audit.commands.life import Answer, Done
from saliency_audit.errors import AuditError
from saliency_audit.report.charts import STYLES, Panel, Style, draw_panels, style
from saliency_audit.report.figures import draw_table
from saliency_audit.report.html import Picture, Section
from saliency_audit.report.page import FILLS, shorten
from saliency_audit.report.sections import filled, write_page, write_tables
from saliency_audit.report.table import Table, parts, terminal
from saliency_audit.report.wording import is_number, number

FILES = ("sweep.csv", "correlations.csv")
_WIDE = 100
"""Times the smallest value from which on an axis is logarithmic."""
_BEFORE: Style = {"color": "#888888", "linestyle": (0, (4, 2)), "linewidth": 1.2}
_GIVEN: Style = {"color": "#666666", "marker": "*", "linestyle": "", "markersize": 9}
_GAIN = LinearSegmentedColormap.from_list("gain", ["#f6b8ae", "#ffffff", "#a5d6b4"])
_MORE = LinearSegmentedColormap.from_list("more", ["#ffffff", "#9cc3e0"])
_INTRODUCTION = (
    "How strong should a training for better gradients be? Each option changes what is gained and "
    "what it costs. The same network was trained from the same start at every point of a grid, and "
    "with one seed the same images were measured each time.",
)
_LIMITS = (
    "Correlations are over trainings, each with its mean: a point with several seeds counts as "
    "often. Pearson's tells how near to a straight line they lie, Spearman's how near to one "
    "order. Intervals are Fisher's (of Spearman's with Bonett and Wright's variance); they need "
    "four trainings, and where all trainings lie on a line or in one order there is none.",
    f"A trend counts as shown where, of at least {FEWEST} trainings, the interval of Spearman's "
    "correlation excludes 0 or all are in one order. What rises and falls again has no "
    "correlation: look at the pictures. Intervals are not corrected for their number.",
    "Where several options were swept, each correlation is over all values of the others, which "
    "hides what holds for some of them alone.",
    "Two checks that both follow the option are correlated with each other; neither need cause "
    "the other.",
    "Intervals of single means are over images (or trainings anew), not over seeds; with a single "
    "seed, one training stands for a point. Another seed also draws other images to audit, so "
    "differences between seeds hold both.",
)


def pictures(wanted: Grid) -> list[str]:
    """How the names of the pictures begin."""
    names = [f"against-{name}" for name in (*wanted.numeric, "accuracy")]
    checks = (*QUESTIONS, *TRAINED_ANEW)
    return names + [f"heat-{check}" for check in checks if len(wanted.numeric) == 2]


def answer(folder: Path, done: Done, *, wanted: Grid, objective: str) -> Answer:
    """What the strength of a training costs and brings.

    Args:
        folder: of all points.
        done: the run.
        wanted: the trainings.
        objective: that was trained for.

    Raises:
        AuditError: no training went to its end.
    """
    rows = done.rows
    lost = rows[(rows["status"] == "error") & (rows["image"] == "") & (rows["check"] == "")]
    failed = {
        line["model"]: line["setting"].removeprefix("reason=") for line in lost.to_dict("records")
    }
    if len(failed) == len(wanted.points):
        name, why = next(iter(failed.items()))
        raise AuditError(f"all {len(failed)} trainings failed, the first ({name}): {why}")
    table = measured(folder, wanted, failed)
    found = correlations(table, wanted.numeric)
    runs = [folder / point.name / "run.json" for point in wanted.points if point.name not in failed]
    if wanted.anew:
        runs += [run.parent / "evaluate" / run.name for run in runs]
    passes = sum(json.loads(run.read_text("utf-8"))["model_passes"] for run in runs)
    return Answer(
        sentence(table, found, wanted, objective=objective, failed=failed),
        {},
        [
            terminal(part, width=done.width)
            for part in parts(points_table(table, wanted), done.width - 1)
        ],
        facts={
            "trainings": len(wanted.points),
            "trainings_failed": failed,
            "model_passes": passes,
        },
        beside={
            "sweep": table,
            "correlations": found,
            "failed": pd.DataFrame(failed.items(), columns=["training", "why"]),
        },
    )


def report(
    done: Done,
    answer: Answer,
    about: Mapping[str, Any],
    *,
    path: Path,
    wanted: Grid,
    objective: str,
) -> None:
    """Write tables, pictures and page."""
    del done
    write_sweep_report(
        path,
        table=answer.beside["sweep"],
        found=answer.beside["correlations"],
        failed=answer.beside["failed"],
        wanted=wanted,
        objective=objective,
        sentence=answer.sentence,
        run=about,
    )


def write_sweep_report(
    folder: Path,
    *,
    table: pd.DataFrame,
    found: pd.DataFrame,
    failed: pd.DataFrame,
    wanted: Grid,
    objective: str,
    sentence: str,
    run: Mapping[str, Any],
) -> list[Path]:
    """Write everything ``finetune --sweep`` shows but results and run.

    Args:
        folder: the output folder.
        table: of `measured`.
        found: of `correlations`.
        failed: ``training,why``.
        wanted: the trainings.
        objective: that was trained for.
        sentence: the answer.
        run: facts about the run.

    Returns:
        The files written.

    Raises:
        AuditError: a file cannot be written.
    """
    written = write_tables(folder, sweep=table, correlations=found)
    same = shared(table)
    scatters = [
        Picture(
            _draw_scatter(same, name, wanted, folder / f"against-{name}.png", objective=objective),
            f"Each check against {name}: a dot a training, lines through the means over seeds.",
        )
        for name in wanted.numeric
    ]
    if set(same["check"]) - {"accuracy"}:
        scatters.append(
            Picture(
                _draw_scatter(
                    same, "accuracy", wanted, folder / "against-accuracy.png", objective=objective
                ),
                "Each check against the accuracy: a dot a training.",
            )
        )
    heats = _heats(same, wanted, folder)
    lost = Table(["training", "why"], failed.to_numpy().tolist(), labels=2)
    sections = [
        Section(
            "What each training gave",
            ("Means over seeds; before: the model that was trained, where there is one.",),
            tables=[points_table(table, wanted)],
        ),
        Section("Checks over what was swept", pictures=scatters),
        Section(
            "Over both options",
            ("Rows: the first option, columns: the second. Green is better, red worse.",),
            pictures=heats,
        ),
        Section(
            "What goes with what",
            ("Correlations over trainings, with 95 % intervals.",),
            tables=[correlation_table(found, table)] if len(found) else [],
        ),
        Section("What failed", tables=[lost] if len(failed) else []),
    ]
    return written + write_page(
        folder,
        title="What does the strength of this training cost, and what does it bring?",
        sentence=sentence,
        run=run,
        introduction=_INTRODUCTION,
        parts=filled(sections),
        limits=_LIMITS,
        numbers=[every_table(table, wanted)],
    )


def _draw_scatter(table: pd.DataFrame, x: str, wanted: Grid, path: Path, *, objective: str) -> Path:
    """A panel for each check: a dot a training, and against an option lines through the means."""
    over_accuracy, given = x == "accuracy", nan
    others = [name for name in wanted.options if name != x]
    if over_accuracy:
        own = [*wanted.options, "seed"]
        accuracy = table[table["check"] == x].set_index(own)["mean"]
        index = pd.MultiIndex.from_frame(table[own])
        table = table.assign(**{x: accuracy.reindex(index).to_numpy(float)})
        given = table[table["check"] == x]["before"].mean()
        table = table[table["check"] != x]
    methods = [name for name in table["saliency"].unique() if name]
    # More colours than anyone can tell apart are fewer: of the first options alone.
    for count in range(len(others), -1, -1):
        named = partial(_series, others=others[:count], several=len(methods) > 1)
        table = table.assign(series=table.apply(named, axis=1))
        if table["series"].nunique() <= len(STYLES):
            break
    dots = {"linestyle": ""} if over_accuracy else {}
    styles = {name: {**style(i), **dots} for i, name in enumerate(table["series"].unique())}
    panels = []
    for (check, setting), lines in table.groupby(["check", "setting"], sort=False):
        key = (str(check), lines["saliency"].iloc[0], str(setting))
        name = called(key, table) if len(methods) < 2 else str(check)
        draw = partial(_draw_panel, lines=lines, x=x, styles=styles, given=given)
        panels.append(Panel(draw, shorten(name, 34), x, "mean"))
    before = (
        {"before": _GIVEN if over_accuracy else _BEFORE} if table["before"].notna().any() else {}
    )
    legend = {name or objective: look for name, look in styles.items()}
    return draw_panels(
        panels,
        path,
        title=f"{objective}: what each training gave, by {x}",
        footnote="Dots: the mean of one training over its images."
        + (" Lines: the mean over the seeds of a point." if not over_accuracy else ""),
        legend=legend | before,
        words={"before": "the model that was trained"},
    )


def _series(line: pd.Series, *, others: Sequence[str], several: bool) -> str:
    """What a dot's colour stands for: its method, and the other options' values."""
    method = [line["saliency"]] if several and line["saliency"] else []
    return " ".join([*method, *(f"{name}={as_text(line[name])}" for name in others)])


def _draw_panel(
    axes: Axes, *, lines: pd.DataFrame, x: str, styles: Mapping[str, Style], given: float
) -> None:
    """Dots, lines through their means, and the model before: of an accuracy, where there is one."""
    joined = x != "accuracy"
    for name, own in lines.groupby("series", sort=False):
        look = styles[str(name)]
        dots = {**look, "linestyle": "", "markersize": 4, "alpha": 0.75, "zorder": 4}
        axes.plot(own[x].astype(float), own["mean"], **dots)
        if joined:
            means = own.groupby(x)["mean"].mean().sort_index()
            axes.plot(
                means.index.to_numpy(float), means, color=look["color"], linewidth=1.4, zorder=3
            )
    before = float(lines["before"].mean())
    if is_number(before) and joined:
        axes.axhline(before, zorder=2, **_BEFORE)
    elif is_number(before) and is_number(given):
        axes.plot([given], [before], zorder=3, **_GIVEN)
    values = lines[x].astype(float)
    positive = values[values > 0]
    if joined and len(positive) and (values >= 0).all() and values.max() >= _WIDE * positive.min():
        if (values > 0).all():
            axes.set_xscale("log")
        else:
            axes.set_xscale("symlog", linthresh=positive.min())
    else:
        axes.locator_params(axis="x", nbins=5)
    axes.margins(x=0.06, y=0.1)


def _heats(table: pd.DataFrame, wanted: Grid, folder: Path) -> list[Picture]:
    """A table of each check over exactly two numeric options, as a picture."""
    from saliency_audit.metrics import CHECKS

    if len(wanted.numeric) != 2:
        return []
    drawn: list[Picture] = []
    count: dict[str, int] = {}
    beyond = set(wanted.options) - set(wanted.numeric)
    for key in table[KEY].drop_duplicates().itertuples(index=False):
        check, name = key[0], called(key, table)
        heat = heat_table(table, key, wanted.numeric)
        better = CHECKS[check].higher_is_better if check in CHECKS else None
        files = draw_table(
            heat,
            folder,
            f"heat-{check}",
            title=f"{name}: {' × '.join(wanted.numeric)}",
            footnote="Means over seeds"
            + (f" and {', '.join(sorted(beyond))}. " if beyond else ". ")
            + (
                "Deeper: more; neither end is better."
                if better is None
                else "Green: better, red: worse, within this table."
            ),
            start=count.get(check, 0),
            shade=_shades(heat, better),
        )
        count[check] = count.get(check, 0) + len(files)
        drawn += [Picture(file, f"{name} over both options.") for file in files]
    return drawn


def _shades(table: Table, better: bool | None) -> Callable[[str], str]:
    """The colour of a number of a table, by where it lies between the least and the most."""
    values = [float(str(cell)) for row in table.rows for cell in row[1:] if cell != number(None)]
    low, high = min(values, default=0.0), max(values, default=0.0)
    scale = _MORE if better is None else _GAIN

    def shade(text: str) -> str:
        if text == number(None):
            return FILLS["none"]
        place = (float(text) - low) / (high - low) if is_number(high - low) and high > low else 0.5
        return to_hex(scale(1 - place if better is False else place))

    return shade
