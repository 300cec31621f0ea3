"""The answer of ``saliency-audit finetune`` on the terminal."""

from math import nan
from typing import TYPE_CHECKING

from rich.console import RenderableType

from saliency_audit.commands.finetune.tables import change_table
from saliency_audit.report.table import terminal

if TYPE_CHECKING:
    import pandas as pd


def shown(verdicts: "pd.DataFrame", *, width: int) -> list[RenderableType]:
    """What changed, with the paired interval and the word for it."""
    # No room for what softplus does alone: the sentence says it.
    narrow = verdicts.assign(swapped=nan)
    return [terminal(change_table(narrow, {}), width=width)] if len(verdicts) else []
