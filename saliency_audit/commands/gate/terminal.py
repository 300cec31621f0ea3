"""The answer of ``saliency-audit gate`` on the terminal."""

from typing import TYPE_CHECKING

from rich.console import RenderableType

from saliency_audit.commands.gate.tables import checks_table
from saliency_audit.report.table import marked, terminal
from saliency_audit.visible import flat

if TYPE_CHECKING:
    import pandas as pd


def shown(outcomes: "pd.DataFrame", sentence: str, *, width: int) -> list[RenderableType]:
    """What was measured beside the limits, and the answer.

    Args:
        outcomes: of the checks.
        sentence: the answer.
        width: of the screen, characters.
    """
    word, _, rest = flat(sentence).partition(":")
    colour = "bold red" if sentence.startswith("refused") else "bold green"
    return [terminal(checks_table(outcomes), width=width), f"[{colour}]{word}[/]:{marked(rest)}"]
