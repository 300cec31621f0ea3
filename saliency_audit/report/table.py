"""A table, wherever it is shown: what it holds, and how a terminal and Markdown show it."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from saliency_audit.visible import flat

if TYPE_CHECKING:
    from rich.table import Table as RichTable

Tone = Literal["bad", "warn", "good", "even", "none", "strong", ""]
"""How good a word is; even: neither way; none: there is no answer; strong: a heading."""

TONES: dict[str, Tone] = {
    "forged": "bad",
    "fragile": "bad",
    "worse": "bad",
    "disturbed": "warn",
    "shifted": "warn",
    "not distinguishable": "warn",
    "unmoved": "good",
    "steady": "good",
    "better than random": "good",
    "better": "good",
    "changed": "warn",
    "no difference shown": "even",
    "undefined": "none",
    "failed": "bad",
    "inconclusive": "warn",
    "passed": "good",
    "not run": "none",
    "error": "none",
}
"""Of every verdict of every command."""

_STYLES = {
    "bad": "bold red",
    "warn": "yellow",
    "good": "green",
    "even": "dim",
    "none": "dim",
    "strong": "bold",
}


@dataclass(frozen=True)
class Toned:
    """A word in the colour of its tone.

    Attributes:
        text: the word.
        tone: by default what ``TONES`` says.
    """

    text: str
    tone: Tone


def verdict(word: str, text: str | None = None) -> Toned:
    """A verdict in its colour.

    Args:
        word: one of ``TONES``; any other has no answer to give.
        text: instead of the word itself.

    >>> verdict("forged"), verdict("", "not compared")
    (Toned(text='forged', tone='bad'), Toned(text='not compared', tone='none'))
    """
    return Toned(word if text is None else text, TONES.get(word, "none"))


Cell = str | Toned | Sequence[str | Toned]
"""Text, or pieces of it."""
RULE: Sequence[Cell] = ()
"""A row that is a line between others."""


@dataclass(frozen=True)
class Table:
    """A table of text; on a page, cells that are a word of ``TONES`` are coloured.

    Attributes:
        columns: headings.
        rows: one cell per column; of a heading fewer.
        labels: how many columns from the left are words; the others are numbers.
        title: above it.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    labels: int = 1
    title: str = ""


def terminal(table: Table, *, wrap: bool = False, apart: int = 0) -> "RichTable":
    """The table for a terminal.

    Args:
        table: what is shown.
        wrap: cells may go on in another line where there is no room.
        apart: spaces at each side of a column, but not at the table's.
    """
    from rich.box import SIMPLE_HEAD
    from rich.markup import escape
    from rich.table import Table as RichTable

    shown = RichTable(
        title=table.title or None,
        title_justify="left",
        box=SIMPLE_HEAD,
        padding=(0, apart),
        collapse_padding=True,
        pad_edge=not apart,
    )
    for name in table.columns:
        shown.add_column(escape(name), no_wrap=not wrap)
    for row in table.rows:
        if row:
            shown.add_row(*map(marked, row))
        else:
            shown.add_section()
    return shown


def marked(cell: Cell) -> str:
    r"""A cell, or a line, in the markup of Rich.

    >>> marked(["0.5 [a] ", verdict("forged")])
    '0.5 \\[a] [bold red]forged[/]'
    """
    from rich.markup import escape

    if isinstance(cell, str):
        return escape(cell)
    if isinstance(cell, Toned):
        style = _STYLES.get(cell.tone)
        return f"[{style}]{escape(cell.text)}[/]" if style else escape(cell.text)
    return "".join(map(marked, cell))


def markdown(table: Table) -> str:
    r"""The table for Markdown, its title left out.

    >>> print(markdown(Table(["a", "b"], [["x|y", "1"]])))
    | a | b |
    |---|---|
    | x\|y | 1 |
    """
    rows = [[escaped(plain(cell)) for cell in row] for row in table.rows if row]
    lines = [f"| {' | '.join(row)} |" for row in (table.columns, *rows)]
    lines.insert(1, "|---" * len(table.columns) + "|")
    return "\n".join(lines)


def plain(cell: Cell) -> str:
    """A cell without its colours.

    >>> plain(["0.5 ", verdict("forged")])
    '0.5 forged'
    """
    if isinstance(cell, str):
        return cell
    return cell.text if isinstance(cell, Toned) else "".join(map(plain, cell))


_MARKDOWN = re.compile(r"[\\`*~$|]|(?<!\w)_|_(?!\w)|\](?=[(\[:])")
"""What Markdown would obey, also in a cell of a table; intervals such as [0, 1] stay."""


def escaped(text: str) -> str:
    r"""Text that a table of Markdown can hold, and shows as it is.

    >>> print(escaped("a|b`c` ![](http://x) conv_1 <b>"))
    a\|b\`c\` ![\](http://x) conv_1 &lt;b&gt;
    """
    text = _MARKDOWN.sub(r"\\\g<0>", flat(text))
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
