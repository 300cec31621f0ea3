"""The answer of ``saliency-audit gate`` on the terminal."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from rich.console import RenderableType

from saliency_audit.commands.gate.tables import checks_table, wrapped
from saliency_audit.report.table import Cell, Toned, marked, narrow, pieces, plain, terminal, widths
from saliency_audit.visible import flat

if TYPE_CHECKING:
    import pandas as pd

_LIMIT, _BETWEEN = 20, 5  # characters of a limit in a line, and of the table's own
_CHECK, _WORD = 24, 9  # characters of a check in a line, and of "undefined"


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
    # Below a status, its reason has what others leave; no line of it is narrower than the word.
    _, measures, limits, _ = widths(replace(table, rows=rows))
    left = max(_WORD, width - _CHECK - measures - limits - _BETWEEN)
    rows = [(*others, _narrower(status, left)) for *others, status in rows]
    room = width - sum(widths(replace(table, rows=rows))[1:]) - _BETWEEN
    rows = [(wrapped(plain(check), room), *others) for check, *others in rows]
    word, _, rest = flat(sentence).partition(":")
    colour = "bold red" if sentence.startswith("refused") else "bold green"
    return [terminal(replace(table, rows=rows)), f"[{colour}]{word}[/]:{marked(rest)}"]


def _narrower(status: Cell, width: int) -> Cell:
    """A status with what stands below it in lines of so many characters."""
    (word, tone), *below = pieces(status)
    text = wrapped("".join(text for text, _ in below).strip(), width)
    return [Toned(word, tone), f"\n{text}" if text else ""]
