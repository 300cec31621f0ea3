"""The answer of ``saliency-audit finetune`` on the terminal."""

from typing import TYPE_CHECKING

from rich.console import RenderableType

from saliency_audit.commands.finetune.tables import change_table
from saliency_audit.report.table import terminal

if TYPE_CHECKING:
    import pandas as pd


def shown(verdicts: "pd.DataFrame") -> list[RenderableType]:
    """What changed, with the paired interval and the word for it."""
    return [terminal(change_table(verdicts, {}), wrap=True)] if len(verdicts) else []
