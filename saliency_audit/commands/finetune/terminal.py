"""The answer of ``saliency-audit finetune`` on the terminal."""

from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE_HEAD
from rich.console import RenderableType
from rich.markup import escape
from rich.table import Table

from saliency_audit.visible import flat

if TYPE_CHECKING:
    import pandas as pd

COLOURS = {
    "better": "green",
    "worse": "bold red",
    "changed": "yellow",
    "no difference shown": "dim",
    "undefined": "dim",
    "": "dim",
}


def shown(verdicts: "pd.DataFrame") -> list[RenderableType]:
    """What changed, with the paired interval and the word for it."""
    return [_table(verdicts)] if len(verdicts) else []


def _table(verdicts: "pd.DataFrame") -> Table:
    table = Table(box=SIMPLE_HEAD, padding=0, collapse_padding=True)
    for name in ("", "before", "after", "difference [95 %]", ""):
        table.add_column(escape(name), no_wrap=True)
    for check, own in verdicts.groupby("check", sort=False):
        lines = own.to_dict("records")
        # A single method goes without saying.
        if len(lines) > 1:
            table.add_row(f"[bold]{escape(flat(str(check)))}[/]")
        for line in lines:
            word = str(line["word"])
            table.add_row(
                escape(f"  {line['saliency']}" if len(lines) > 1 else str(check)),
                _number(line["before"]),
                _number(line["after"]),
                escape(_difference(line)),
                f"[{COLOURS[word]}]{word or 'not compared'}[/]",
            )
    return table


def _difference(line: "dict[Any, Any]") -> str:
    low, high = line["difference_low"], line["difference_high"]
    mean = _number(line["difference"])
    return f"{mean} [{_number(low)}, {_number(high)}]" if low == low else mean


def _number(value: float) -> str:
    """Three decimals, or three digits where there are more before the point."""
    if value != value:
        return "-"
    return f"{value + 0.0:.3f}" if abs(value) < 1 else f"{value:.3g}"
