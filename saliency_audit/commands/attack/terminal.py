"""The answer of ``saliency-audit attack`` on the terminal."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import RenderableType

from saliency_audit.report.table import RULE, Cell, Table, Toned, terminal, verdict

if TYPE_CHECKING:
    import pandas as pd


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
        lines.append(terminal(_maps(verdicts)))
    if len(predictions):
        lines.append("changed: share of images whose predicted class is another one [95 %]")
        lines.append(terminal(_classes(predictions)))
    return lines


def _maps(verdicts: "pd.DataFrame") -> Table:
    aimed = bool(verdicts["aim"].notna().any())
    several = verdicts["scalar"].nunique() > 1
    heads = ["", "kept", "noise", *["aim", "noise"] * aimed, "found", "verdict"]
    rows: list[Sequence[Cell]] = []
    for (attack, eps), own in verdicts.groupby(["attack", "eps"], sort=False):
        budget = eps if eps != "none" else "no budget"
        rows += [RULE, ((Toned(str(attack), "strong"), f" {budget}"),)]
        rows += [
            (
                f"  {line['saliency']}" + (f"\n    {line['scalar']}" if several else ""),
                _interval(line["similarity"], line["similarity_low"], line["similarity_high"]),
                _number(line["control"]),
                *[_number(line["aim"], 3), _number(line["aim_control"], 3)] * aimed,
                f"{found:.0%}" if (found := line["success"]) == found else "",
                verdict(str(line["verdict"])),
            )
            for line in own.to_dict("records")
        ]
    return Table(heads, rows)


def _classes(predictions: "pd.DataFrame") -> Table:
    rows = [
        (
            (Toned("pgd", "strong"), f" {line['eps']}"),
            _interval(line["success"], line["success_low"], line["success_high"]),
            _number(line["control"]),
            f"{line['l2_mean']:.2f}",
            str(line["n"]),
        )
        for line in predictions.to_dict("records")
    ]
    return Table(["", "changed", "noise", "mean L2", "images"], rows)


def _interval(mean: float, low: float, high: float) -> Cell:
    if low != low:
        return _number(mean)
    return (f"{mean:.2f} ", Toned(f"{low:.2f}-{high:.2f}", "none"))


def _number(value: float, digits: int = 2) -> str:
    """Two decimals, or as many digits as asked for where there are more before the point."""
    if value != value:
        return "-"
    return f"{value:.2f}" if abs(value) < 1 else f"{value:.{digits}g}"
