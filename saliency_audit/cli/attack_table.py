"""The answer of ``saliency-audit attack`` on the terminal."""

from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.table import Table

from saliency_audit.cli.console import results

if TYPE_CHECKING:
    import pandas as pd

COLOURS = {"fragile": "bold red", "shifted": "yellow", "steady": "green", "undefined": "dim"}


def show_attack(verdicts: "pd.DataFrame", predictions: "pd.DataFrame", sentence: str) -> None:
    """How many of its salient pixels each map keeps, and how near it is to what was wanted."""
    if len(verdicts):
        chance = verdicts["chance"].iloc[0]
        table = Table(
            title=f"share of the {chance:.1%} most salient pixels that stay, beside noise of the "
            "same size",
            title_justify="left",
            box=SIMPLE_HEAD,
            padding=0,
            collapse_padding=True,
        )
        wanted = bool(verdicts["aim"].notna().any())
        for name in ("attack", "eps", "saliency", "scalar", "attacked [95 %]", "noise"):
            table.add_column(name, no_wrap=True)
        for name in ["aim", "noise"] * wanted + ["found"]:
            table.add_column(name, no_wrap=True)
        table.add_column("verdict")
        previous = None
        for line in verdicts.to_dict("records"):
            group = (line["attack"], line["eps"])
            if previous not in (None, group):
                table.add_section()
            new = group != previous
            word = str(line["verdict"])
            found = line["success"]
            table.add_row(
                line["attack"] if new else "",
                line["eps"] if new else "",
                line["saliency"],
                line["scalar"],
                _interval(line["similarity"], line["similarity_low"], line["similarity_high"]),
                _number(line["control"]),
                *([_number(line["aim"]), _number(line["aim_control"])] if wanted else []),
                f"{found:4.0%}" if found == found else "",
                f"[{COLOURS[word]}]{word}[/]",
            )
            previous = group
        results.print(table)
        if wanted:
            results.print(
                "aim: correlation with the wanted map, mass in the wanted region, or way of the "
                "centre of mass in pixels\n",
                soft_wrap=True,
            )
    if len(predictions):
        table = Table(
            title="images whose predicted class changed",
            title_justify="left",
            box=SIMPLE_HEAD,
            padding=0,
            collapse_padding=True,
        )
        for name in ("attack", "eps", "changed [95 %]", "noise", "mean L2", "images"):
            table.add_column(name, no_wrap=True)
        for line in predictions.to_dict("records"):
            table.add_row(
                "pgd",
                line["eps"],
                _interval(line["success"], line["success_low"], line["success_high"]),
                _number(line["control"]),
                f"{line['l2_mean']:.2f}",
                str(line["n"]),
            )
        results.print(table)
    results.print(sentence, soft_wrap=True)


def _interval(mean: float, low: float, high: float) -> str:
    if low != low:
        return _number(mean)
    return f"{mean:4.2f} [dim]{low:4.2f} to {high:4.2f}[/]"


def _number(value: float) -> str:
    return f"{value:4.2f}" if value == value else "   -"
