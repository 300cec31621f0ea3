"""The answer of ``saliency-audit attack`` on the terminal."""

from typing import TYPE_CHECKING

from rich.console import RenderableType

from saliency_audit.commands.attack.tables import prediction_table, told, verdict_table
from saliency_audit.report.table import terminal

if TYPE_CHECKING:
    import pandas as pd


def shown(
    verdicts: "pd.DataFrame", predictions: "pd.DataFrame", *, width: int
) -> list[RenderableType]:
    """How many of its salient pixels each map keeps, and how near it is to the attack's aim."""
    lines: list[RenderableType] = [*told(verdicts)]
    if len(verdicts):
        lines.append(terminal(verdict_table(verdicts), width=width))
    if len(predictions):
        lines.append("changed: share of images whose predicted class is another one [95 %]")
        lines.append(terminal(prediction_table(predictions), width=width))
    return lines
