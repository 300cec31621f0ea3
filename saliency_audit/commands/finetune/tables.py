"""The table of what training changed, for the terminal, the page and the picture."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from saliency_audit.catalogue.entries import Check
from saliency_audit.commands.evaluate.columns import BETTER
from saliency_audit.report.table import Cell, Column, Table, Toned, beside, table_of, verdict
from saliency_audit.report.wording import (
    images_in,
    interval_in,
    is_number,
    mean_in,
    number,
    number_in,
)
from saliency_audit.setting import parts_of
from saliency_audit.visible import flat


def change_table(verdicts: pd.DataFrame, checks: Mapping[str, Check]) -> Table:
    """Every question with both means, the paired difference and its word, methods below a check.

    Args:
        verdicts: of the run.
        checks: for the direction.
    """

    def direction(line: Mapping[Any, Any]) -> str:
        check = checks.get(line["check"])
        return BETTER[check.higher_is_better] if check else ""

    swapped = verdicts["swapped"].notna().any()
    between = [
        Column("softplus\nalone", number_in("swapped")),
        Column("softplus alone [95 %]", interval_in("swapped"), extra=True),
    ]

    def columns(first: str, indent: str = "") -> list[Column]:
        return [
            Column("", lambda line: indent + flat(str(line[first]))),
            Column("before", number_in("before")),
            Column("before [95 %]", interval_in("before"), extra=True),
            *(between if swapped else ()),
            Column("after", number_in("after")),
            Column("after [95 %]", interval_in("after"), extra=True),
            Column("difference [95 %]", mean_in("difference")),
            Column("", _word),
            Column("direction", direction, extra=True),
            Column("budget", budget_of, extra=True),
            Column("control\nbefore -> after", _control, extra=True),
            Column("images", images_in, extra=True),
        ]

    rows: list[Sequence[Cell]] = []
    for check, own in verdicts.groupby("check", sort=False):
        lines = own.to_dict("records")
        # A single method or budget goes without saying.
        if len(lines) > 1:
            rows.append((Toned(flat(str(check)), "strong"),))
            several = len({budget_of(line) for line in lines}) > 1
            lines = [line | {"of": _of(line, budget=several)} for line in lines]
        shown = columns("of", "  ") if len(lines) > 1 else columns("check")
        rows += table_of(lines, shown).rows
    heads = table_of([], columns("check"))
    return Table(heads.columns, rows, extra=heads.extra)


def budget_of(line: Mapping[Any, Any]) -> str:
    """The budget of an attack that a row is of, as people say it; empty for what has none.

    >>> budget_of({"setting": "eps=1;norm=l2"}), budget_of({"setting": "attack=topk;eps=2/255"})
    ('1 (l2)', '2/255')
    """
    parts = parts_of(line["setting"])
    return parts.get("eps", "") + (" (l2)" if parts.get("norm") == "l2" else "")


def _of(line: Mapping[Any, Any], *, budget: bool) -> str:
    """The method that a row is of, and the budget where there are several."""
    return " ".join(filter(None, (line["saliency"], f"at {budget_of(line)}" if budget else "")))


def _word(line: Mapping[Any, Any]) -> Cell:
    return verdict(word := line["word"], word or "not compared"), beside(line)


def _control(line: Mapping[Any, Any]) -> str:
    """Of the random map, or of noise of the attack's size."""
    values = (line["control_before"], line["control_after"])
    return " -> ".join(map(number, values)) if any(map(is_number, values)) else "-"
