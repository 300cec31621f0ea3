"""The answer of ``saliency-audit gate`` on the terminal."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from rich.console import RenderableType

from saliency_audit.commands.gate.tables import checks_table, wrapped
from saliency_audit.report.table import Cell, marked, narrow, plain, terminal, widths
from saliency_audit.visible import flat

if TYPE_CHECKING:
    import pandas as pd

_LIMIT, _BETWEEN = 20, 5  # characters of a limit in a line, and of the table's own


def shown(outcomes: "pd.DataFrame", sentence: str, *, width: int) -> list[RenderableType]:
    """What was measured beside the limits, and the answer.

    Args:
        outcomes: of the checks.
        sentence: the answer.
        width: of the screen, characters.
    """
    table = narrow(checks_table(outcomes))
    rows: list[Sequence[Cell]] = [
        (check, measured, wrapped(plain(limit), _LIMIT), status)
        for check, measured, limit, status in table.rows
    ]
    room = width - sum(widths(replace(table, rows=rows))[1:]) - _BETWEEN
    rows = [(wrapped(plain(check), room), *others) for check, *others in rows]
    word, _, rest = flat(sentence).partition(":")
    colour = "bold red" if sentence.startswith("refused") else "bold green"
    return [terminal(replace(table, rows=rows)), f"[{colour}]{word}[/]:{marked(rest)}"]
