"""The answer of ``saliency-audit fool`` on the terminal."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import RenderableType

from saliency_audit.report.table import RULE, Cell, Table, terminal, verdict

if TYPE_CHECKING:
    import pandas as pd


def shown(verdicts: "pd.DataFrame", promises: "pd.DataFrame") -> list[RenderableType]:
    """The answer as a table: how much each map looks like the picture, before and after."""
    lines: list[RenderableType] = []
    for trick, group in promises.groupby("trick", sort=False):
        worst = {line["check"]: (line["worst"], line["bound"]) for _, line in group.iterrows()}
        lines.append(
            f"{_short(str(trick))}: predictions kept on "
            f"{'every' if worst['prediction-kept'][0] == 1 else 'not every'} image; "
            + ", ".join(
                f"{check} at most {value:.1e} (bound {bound:.1e})"
                for check, (value, bound) in worst.items()
                if check != "prediction-kept"
            )
        )
    lines.append("")
    judged = verdicts[verdicts["scalar"] != ""]
    tricks = list(dict.fromkeys(judged["trick"]))
    rows: list[Sequence[Cell]] = []
    previous = None
    for (saliency, scalar), group in judged.groupby(["saliency", "scalar"], sort=False):
        if previous not in (None, saliency):
            rows.append(RULE)
        cells: list[Cell] = []
        for trick in tricks:
            line = group[group["trick"] == trick].iloc[0]
            word = str(line["verdict"])
            numbers = f"{_number(line['before'])} -> {_number(line['after'])} "
            cells.append((numbers, verdict(word, f"{word:<9}")))
        rows.append(("" if saliency == previous else str(saliency), str(scalar), *cells))
        previous = saliency
    heads = ["saliency", "scalar", *(_short(trick).replace(" ", "\n") for trick in tricks)]
    title = "cosine of the map with the wanted picture, before -> after"
    return [*lines, terminal(Table(heads, rows, title=title), wrap=True)]


def _short(setting: str) -> str:
    """``trick=logit-shift;shift=linear`` as ``logit-shift linear``."""
    return " ".join(part.split("=")[1] for part in setting.split(";")[:2])


def _number(value: float) -> str:
    return f"{value:4.2f}" if value == value else "   -"
