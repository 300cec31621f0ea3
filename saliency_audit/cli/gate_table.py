"""The answer of ``saliency-audit gate`` on the terminal."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from saliency_audit.cli.console import results

if TYPE_CHECKING:
    import pandas as pd

COLOURS = {
    "passed": "green",
    "failed": "bold red",
    "inconclusive": "yellow",
    "undefined": "bold red",
    "not run": "bold red",
    "error": "bold red",
}


def show_gate(outcomes: "pd.DataFrame", sentence: str) -> None:
    """What was measured beside the limits, and the answer."""
    table = Table(box=SIMPLE_HEAD, padding=0, collapse_padding=True)
    table.add_column("check", overflow="fold")
    for name in ("measured [95 %]", "limit", "status"):
        table.add_column(name, no_wrap=True)
    for line in outcomes.to_dict("records"):
        word = str(line["status"])
        colour = "yellow" if line["effect"] == "warn" else COLOURS[word]
        only = " (warns)" if line["effect"] == "warn" else ""
        table.add_row(
            escape(str(line["check"])),
            escape(_measured(line)),
            escape(str(line["limit"])),
            f"[{colour}]{word}{only}[/]",
        )
    results.print(table)
    colour = "bold red" if sentence.startswith("refused") else "bold green"
    word, _, rest = sentence.partition(":")
    results.print(f"[{colour}]{word}[/]:{escape(rest)}", soft_wrap=True)


def _measured(line: Mapping[Any, Any]) -> str:
    """A number with its interval; of a trick or attack, the verdict."""
    if line["kind"] != "metric" and line["n"]:
        return str(line["message"]).partition(":")[0]
    mean, low, high = line["measured"], line["ci_low"], line["ci_high"]
    if mean != mean:
        return "-"
    return f"{mean:.3g} [{low:.3g}, {high:.3g}]" if low == low else f"{mean:.3g}"
