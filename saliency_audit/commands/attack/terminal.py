"""The answer of ``saliency-audit attack`` on the terminal."""

from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.console import RenderableType
from rich.table import Table

if TYPE_CHECKING:
    import pandas as pd

COLOURS = {"fragile": "bold red", "shifted": "yellow", "steady": "green", "undefined": "dim"}


def shown(verdicts: "pd.DataFrame", predictions: "pd.DataFrame") -> list[RenderableType]:
    """How many of its salient pixels each map keeps, and how near it is to the attack's aim."""
    lines: list[RenderableType] = []
    if len(verdicts):
        share = f"{verdicts['chance'].iloc[0]:.1%}"
        lines.append(
            f"kept: share of the {share} most salient pixels that stay [95 %], "
            "beside noise of the same size"
        )
        if verdicts["aim"].notna().any():
            lines.append(
                "aim: correlation with the wanted map, mass in the wanted region, or way of the "
                "centre of mass in pixels, beside noise"
            )
        lines.append(_maps(verdicts))
    if len(predictions):
        lines.append("changed: share of images whose predicted class is another one [95 %]")
        lines.append(_classes(predictions))
    return lines


def _maps(verdicts: "pd.DataFrame") -> Table:
    aimed = bool(verdicts["aim"].notna().any())
    several = verdicts["scalar"].nunique() > 1
    table = _table("", "kept", "noise", *["aim", "noise"] * aimed, "found")
    table.add_column("verdict", no_wrap=True)
    for (attack, eps), own in verdicts.groupby(["attack", "eps"], sort=False):
        table.add_section()
        table.add_row(f"[bold]{attack}[/] {eps if eps != 'none' else 'no budget'}")
        for line in own.to_dict("records"):
            word = str(line["verdict"])
            found = line["success"]
            table.add_row(
                f"  {line['saliency']}" + (f"\n    {line['scalar']}" if several else ""),
                _interval(line["similarity"], line["similarity_low"], line["similarity_high"]),
                _number(line["control"]),
                *[_number(line["aim"], 3), _number(line["aim_control"], 3)] * aimed,
                f"{found:.0%}" if found == found else "",
                f"[{COLOURS[word]}]{word}[/]",
            )
    return table


def _classes(predictions: "pd.DataFrame") -> Table:
    table = _table("", "changed", "noise", "mean L2", "images")
    for line in predictions.to_dict("records"):
        table.add_row(
            f"[bold]pgd[/] {line['eps']}",
            _interval(line["success"], line["success_low"], line["success_high"]),
            _number(line["control"]),
            f"{line['l2_mean']:.2f}",
            str(line["n"]),
        )
    return table


def _table(*columns: str) -> Table:
    table = Table(box=SIMPLE_HEAD, padding=0, collapse_padding=True)
    for name in columns:
        table.add_column(name, no_wrap=True)
    return table


def _interval(mean: float, low: float, high: float) -> str:
    return f"{mean:.2f} [dim]{low:.2f}-{high:.2f}[/]" if low == low else _number(mean)


def _number(value: float, digits: int = 2) -> str:
    """Two decimals, or as many digits as asked for where there are more before the point."""
    if value != value:
        return "-"
    return f"{value:.2f}" if abs(value) < 1 else f"{value:.{digits}g}"
