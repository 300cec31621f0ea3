"""``saliency-audit list``: what can be named."""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Column, Table

from saliency_audit.catalogue.attack_presets import PRESETS
from saliency_audit.catalogue.attacks import ATTACKS
from saliency_audit.catalogue.entries import Check
from saliency_audit.catalogue.methods import METHODS
from saliency_audit.catalogue.metric_presets import PRESETS as METRIC_PRESETS
from saliency_audit.catalogue.metrics import CHECKS, METRICS
from saliency_audit.catalogue.needs import NEEDS
from saliency_audit.catalogue.objectives import OBJECTIVES
from saliency_audit.catalogue.training_presets import PRESETS as TRAINING_PRESETS
from saliency_audit.catalogue.tricks import TRICKS
from saliency_audit.cli.console import results
from saliency_audit.commands.options import Taker


class Kind(StrEnum):
    """What there are names of."""

    SALIENCY = "saliency"
    TRICKS = "tricks"
    ATTACKS = "attacks"
    PRESETS = "presets"
    METRICS = "metrics"
    OBJECTIVES = "objectives"


def catalog(
    kind: Annotated[
        Kind | None, typer.Argument(help="What to list; everything without it.")
    ] = None,
) -> None:
    """List saliency methods, tricks, attacks, metrics, objectives and presets by name.

    Example: saliency-audit list saliency
    """
    if kind in (None, Kind.SALIENCY):
        _show(
            "saliency",
            ("differentiable", "control"),
            {
                name: (
                    _with_options(entry, beside=_needed(entry.needs)),
                    _yes(entry.differentiable),
                    _yes(entry.control),
                )
                for name, entry in METHODS.items()
            },
        )
    if kind in (None, Kind.TRICKS):
        _show("tricks", ("source",), {n: (_with_options(e), e.source) for n, e in TRICKS.items()})
    if kind in (None, Kind.ATTACKS):
        _show("attacks", ("source",), {n: (_with_options(e), e.source) for n, e in ATTACKS.items()})
    if kind in (None, Kind.ATTACKS, Kind.PRESETS):
        _show(
            "presets of attack",
            ("what deviates from it here",),
            {n: (e.summary, e.deviations) for n, e in PRESETS.items()},
        )
    if kind in (None, Kind.METRICS, Kind.PRESETS):
        _show(
            "presets of evaluate",
            ("what deviates from it here",),
            {n: (e.summary, e.deviations) for n, e in METRIC_PRESETS.items()},
        )
    if kind in (None, Kind.METRICS):
        asked = {name: METRICS[name].checks[name] for name in METRICS}
        others = {name: check for name, check in CHECKS.items() if name not in asked}
        for title, checks in (
            ("metrics of evaluate (--metric NAME)", asked),
            ("what else is measured", others),
        ):
            _show(
                title,
                (),
                {
                    name: (
                        f"{entry.summary}\n[dim]{_details(entry)}{_flags(METRICS.get(name))}[/]",
                    )
                    for name, entry in checks.items()
                },
            )
    if kind in (None, Kind.OBJECTIVES):
        _show(
            "objectives",
            ("source",),
            {n: (_with_options(e), e.source) for n, e in OBJECTIVES.items()},
        )
    if kind in (None, Kind.OBJECTIVES, Kind.PRESETS):
        _show(
            "presets of finetune",
            ("objective",),
            {
                n: (f"{e.summary}\n[dim]{escape(e.deviations)}[/]", e.objective)
                for n, e in TRAINING_PRESETS.items()
            },
        )
    if kind is not Kind.SALIENCY:
        results.print("P0 to P4 are the papers cited at the end of the README.")


def _show(title: str, columns: tuple[str, ...], rows: Mapping[str, Any]) -> None:
    names = Column("name", min_width=max(map(len, rows)), no_wrap=True)
    table = Table(names, "what it is", *columns, title=title, title_justify="left", box=None)
    for name, cells in rows.items():
        table.add_row(name, *cells)
    results.print(table)
    results.print()


def _details(check: Check) -> str:
    """Direction, range, chance level and source in a line."""
    better = {True: "higher is better", False: "lower is better", None: "neither end is better"}
    low, high = check.bounds
    chance = f"; chance {check.chance}" if check.chance else ""
    return escape(f"{better[check.higher_is_better]}; {low:g} to {high:g}{chance}; {check.source}")


def _needed(needs: Sequence[str]) -> str:
    """How what is needed is given, or how it is trained."""
    options = [o for name in needs for o in (NEEDS[name].option, *NEEDS[name].options)]
    return "".join(f", {option.flag}" for option in options)


def _with_options(entry: Any, *, beside: str = "") -> str:
    """What it is, and below that what can be set of it."""
    flags = (_flags(entry) + beside).removeprefix("; ").removeprefix(", ")
    return f"{entry.summary}\n[dim]{flags}[/]" if flags else str(entry.summary)


def _flags(entry: Taker | None) -> str:
    flags = [option.flag for option in entry.options] if entry else []
    return f"; {', '.join(flags)}" if flags else ""


def _yes(value: bool) -> str:
    return "yes" if value else "no"
