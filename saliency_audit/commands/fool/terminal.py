"""The answer of ``saliency-audit fool`` on the terminal."""

from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.console import RenderableType
from rich.table import Table

if TYPE_CHECKING:
    import pandas as pd

COLOURS = {"forged": "bold red", "disturbed": "yellow", "unmoved": "green", "undefined": "dim"}


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
    table = Table(
        title="cosine of the map with the wanted picture, before -> after",
        title_justify="left",
        box=SIMPLE_HEAD,
        padding=0,
        collapse_padding=True,
    )
    table.add_column("saliency")
    table.add_column("scalar")
    for trick in tricks:
        table.add_column(_short(trick).replace(" ", "\n"), justify="left")
    previous = None
    for (saliency, scalar), group in judged.groupby(["saliency", "scalar"], sort=False):
        if previous not in (None, saliency):
            table.add_section()
        cells = []
        for trick in tricks:
            line = group[group["trick"] == trick].iloc[0]
            word = str(line["verdict"])
            cells.append(
                f"{_number(line['before'])} -> {_number(line['after'])} "
                f"[{COLOURS[word]}]{word:<9}[/]"
            )
        table.add_row("" if saliency == previous else str(saliency), str(scalar), *cells)
        previous = saliency
    return [*lines, table]


def _short(setting: str) -> str:
    """``trick=logit-shift;shift=linear`` as ``logit-shift linear``."""
    return " ".join(part.split("=")[1] for part in setting.split(";")[:2])


def _number(value: float) -> str:
    return f"{value:4.2f}" if value == value else "   -"
