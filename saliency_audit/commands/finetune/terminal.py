"""The answer of ``saliency-audit finetune`` on the terminal."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich.console import RenderableType

from saliency_audit.report.table import Cell, Table, Toned, terminal, verdict
from saliency_audit.visible import flat

if TYPE_CHECKING:
    import pandas as pd


def shown(verdicts: "pd.DataFrame") -> list[RenderableType]:
    """What changed, with the paired interval and the word for it."""
    return [terminal(_table(verdicts))] if len(verdicts) else []


def _table(verdicts: "pd.DataFrame") -> Table:
    rows: list[Sequence[Cell]] = []
    for check, own in verdicts.groupby("check", sort=False):
        lines = own.to_dict("records")
        # A single method goes without saying.
        if len(lines) > 1:
            rows.append((Toned(flat(str(check)), "strong"),))
        rows += [
            (
                f"  {line['saliency']}" if len(lines) > 1 else str(check),
                _number(line["before"]),
                _number(line["after"]),
                _difference(line),
                verdict(line["word"], line["word"] or "not compared"),
            )
            for line in lines
        ]
    return Table(("", "before", "after", "difference [95 %]", ""), rows)


def _difference(line: "dict[Any, Any]") -> str:
    low, high = line["difference_low"], line["difference_high"]
    mean = _number(line["difference"])
    return f"{mean} [{_number(low)}, {_number(high)}]" if low == low else mean


def _number(value: float) -> str:
    """Three decimals, or three digits where there are more before the point."""
    if value != value:
        return "-"
    return f"{value + 0.0:.3f}" if abs(value) < 1 else f"{value:.3g}"
