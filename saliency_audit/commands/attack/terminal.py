"""The answer of ``saliency-audit attack`` on the terminal."""

from typing import TYPE_CHECKING

from rich.console import RenderableType

from saliency_audit.commands.attack.tables import (
    attack_within,
    largest,
    prediction_table,
    told,
    transfer_table,
    verdict_table,
)
from saliency_audit.report.table import parts, terminal

if TYPE_CHECKING:
    import pandas as pd


def shown(
    verdicts: "pd.DataFrame",
    predictions: "pd.DataFrame",
    summary: "pd.DataFrame | None" = None,
    *,
    width: int,
) -> list[RenderableType]:
    """How many of its salient pixels each map keeps, and how near it is to the attack's aim.

    Args:
        verdicts: of the run.
        predictions: of attacks on the prediction.
        summary: of `summarise`, to show the maps that were measured and not attacked; None leaves
            them out.
        width: of the screen, characters.
    """
    lines: list[RenderableType] = [*told(verdicts)]
    if len(verdicts):
        lines.append(terminal(verdict_table(verdicts), width=width))
    for own in largest(verdicts).values():
        setting = str(own["setting"].iloc[0])
        if summary is not None and (table := transfer_table(summary, setting)):
            lines.append(
                f"{attack_within(setting)}: kept of the map in the column, of images made against "
                "the map in the row"
            )
            lines += [terminal(part, width=width, apart=2) for part in parts(table, width)]
    if len(predictions):
        lines.append("changed: share of images whose prediction is another one [95 %]")
        lines.append(terminal(prediction_table(predictions), width=width))
    return lines
