"""The answer of ``saliency-audit fool`` on the terminal."""

from typing import TYPE_CHECKING

from rich.console import RenderableType

from saliency_audit.commands.fool.tables import short_name, verdict_table
from saliency_audit.report.table import terminal

if TYPE_CHECKING:
    import pandas as pd


def shown(verdicts: "pd.DataFrame", promises: "pd.DataFrame") -> list[RenderableType]:
    """What each trick did to the model, and the verdicts as a table."""
    lines: list[RenderableType] = []
    for trick, group in promises.groupby("trick", sort=False):
        worst = {line["check"]: (line["worst"], line["bound"]) for _, line in group.iterrows()}
        lines.append(
            f"{short_name(str(trick))}: predictions kept on "
            f"{'every' if worst['prediction-kept'][0] == 1 else 'not every'} image; "
            + ", ".join(
                f"{check} at most {value:.1e} (bound {bound:.1e})"
                for check, (value, bound) in worst.items()
                if check != "prediction-kept"
            )
        )
    return [*lines, "", terminal(verdict_table(verdicts), wrap=True)]
