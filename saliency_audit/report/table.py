"""A table, wherever it is shown: what it holds, and how a terminal and Markdown show it.

A page shows it in `html`, a picture in `figures`.
"""

import re
import textwrap
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from textwrap import wrap
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

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
}
"""Of every verdict of every command."""

TONE_STYLES: dict[Tone, str] = {
    "bad": "bold red",
    "warn": "yellow",
    "good": "green",
    "even": "dim",
    "none": "dim",
    "strong": "bold",
}
"""Of Rich."""
_REASON = 22  # characters of a line of a reason
_MARKS: dict[Tone, str] = {"bad": "❌ ", "warn": "⚠️ ", "good": "✅ "}


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


def beside(line: Mapping[Any, Any]) -> str:
    r"""What stands below a verdict: why there is none, or of how many images its numbers are.

    Args:
        line: a row of verdicts, with ``reason``, ``n`` and ``n_undefined`` where it has them.

    >>> beside({"reason": "zero on 3 of 8", "n": 5, "n_undefined": 3})
    '\n(zero on 3 of 8)'
    >>> beside({"reason": "", "n": 95, "n_undefined": 5}), beside({"reason": "", "n": 8})
    ('\n(95 of 100 images)', '')
    """
    n, missing = (
        0 if (count := line.get(key)) is None or count != count else int(count)  # or NaN
        for key in ("n", "n_undefined")
    )
    reason = flat(str(line.get("reason") or ""))
    if not reason and not missing:
        return ""
    text = f"({reason})" if reason else f"({n} of {n + missing} images)"
    return "\n" + "\n".join(textwrap.wrap(text, _REASON, max_lines=4, placeholder=" …)"))


RULE: Sequence[Cell] = ()
"""A row that is a line between others."""


@dataclass(frozen=True)
class Table:
    """A table of text.

    Attributes:
        columns: headings.
        rows: one cell per column; of a heading one; ``RULE`` for a line.
        labels: how many columns from the left are words; the others are numbers.
        title: above it.
        extra: headings of columns that a terminal and a picture have no room for.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    labels: int = 1
    title: str = ""
    extra: Collection[str] = ()


class Column(NamedTuple):
    """A column of a table that has a row for each line of a frame.

    Attributes:
        head: its heading.
        cell: what it shows of a line.
        extra: a terminal and a picture leave it out.
    """

    head: str
    cell: Callable[[Mapping[Any, Any]], Cell]
    extra: bool = False


def table_of(
    lines: Iterable[Mapping[Any, Any]],
    columns: Sequence[Column],
    *,
    labels: int = 1,
    title: str = "",
) -> Table:
    """A table with a row for each line.

    >>> table_of([{"n": 3}], [Column("images", lambda line: str(line["n"]))]).rows
    [['3']]
    """
    return Table(
        [column.head for column in columns],
        [[column.cell(line) for column in columns] for line in lines],
        labels,
        title,
        {column.head for column in columns if column.extra},
    )


def narrow(table: Table) -> Table:
    """The table without its extra columns.

    >>> narrow(Table(["a", "b"], [["1", "2"], RULE], extra=["a"])).rows
    [['2'], []]
    """
    kept = [j for j, name in enumerate(table.columns) if name not in table.extra]
    return replace(columns_of(table, kept), extra=())


def parts(table: Table, width: float, *, columns: Sequence[float] | None = None) -> list[Table]:
    """The table in as many as it takes for none to be wider than asked for.

    The columns of words stand in each; a table of one further column may be wider.

    Args:
        table: what is shown.
        width: characters, or what ``columns`` are in.
        columns: how wide each of them is; by default as many characters as it has, and 2 between.

    >>> both = Table(["", "first", "second"], [["a", "1", "2"]])
    >>> [part.columns for part in parts(both, 12)], len(parts(both, 20))
    ([['', 'first'], ['', 'second']], 1)
    """
    words, numbers = range(table.labels), range(table.labels, len(table.columns))
    wide = columns or [own + 2 for own in widths(table)]
    found: list[list[int]] = []
    left = 0.0
    for j in numbers:
        if not found or wide[j] > left:
            found.append([])
            left = width - sum(wide[i] for i in words)
        found[-1].append(j)
        left -= wide[j]
    return [columns_of(table, [*words, *own]) for own in found]


def columns_of(table: Table, kept: Sequence[int]) -> Table:
    """Some columns of a table.

    >>> columns_of(Table(["a", "b"], [["1", "2"], RULE, ["3"]]), [1]).rows
    [['2'], [], []]
    """
    rows = [[row[j] for j in kept if j < len(row)] for row in table.rows]
    return replace(table, columns=[table.columns[j] for j in kept], rows=rows)


def widths(table: Table) -> list[int]:
    r"""Characters of the longest line in each column, headings of rows aside.

    >>> widths(Table(["a", "number"], [["one\ntwo", "1"], ["a heading"]]))
    [3, 6]
    """
    lines = [line for line in (table.columns, *table.rows) if len(line) == len(table.columns)]
    return [
        max(len(text) for line in lines for text in plain(line[j]).split("\n"))
        for j in range(len(table.columns))
    ]


def least(table: Table, *, hyphens: bool = False) -> list[int]:
    """Characters of each column when every cell goes on in another line wherever it can.

    Args:
        table: what is shown.
        hyphens: names in the first column are broken there, too.

    >>> least(Table(["a", "b"], [["two words", [" 0.5 [0.4, 0.6] ", verdict("as random")]]]))
    [5, 10]
    """
    return widths(_in_lines(table, [1] * len(table.columns), hyphens=hyphens))


def fitted(table: Table, width: int, *, apart: int = 1) -> Table:
    r"""The table with cells that go on in another line, so that it is not wider than asked for.

    Lines end between words, and neither within a verdict nor an interval; names in the first
    column end at hyphens where that is still too wide. What is too wide even then stays so.

    Args:
        table: what is shown.
        width: characters of a line.
        apart: spaces between two columns; one stands at each side of the table.

    >>> fitted(Table(["a", "b"], [["two words", verdict("as random")]]), 16).rows
    [['two\nwords', Toned(text='as random', tone='none')]]
    """
    headings = [plain(row[0]) for row in table.rows if len(row) == 1 < len(table.columns)]
    room = width - 2 - apart * (len(table.columns) - 1)
    for hyphens in (False, True):
        own, smallest = widths(table), least(table, hyphens=hyphens)
        # A heading of rows stands in the first column.
        for text in headings:
            own[0] = max(own[0], len(text))
            smallest[0] = max(smallest[0], *map(len, wrapped(text, 1, hyphens=hyphens).split("\n")))
        while sum(own) > room and own != smallest:
            able = (
                j for j, (have, need) in enumerate(zip(own, smallest, strict=True)) if have > need
            )
            own[max(able, key=lambda j: own[j])] -= 1
        if sum(own) <= room:
            break
    return _in_lines(table, own, hyphens=hyphens)


_WHOLE = re.compile(r"^ +\S+|\[[^\]]*\]|× \S+|\S+ -> \S+", re.MULTILINE)


def wrapped(text: str, width: int, *, hyphens: bool = False) -> str:
    r"""Text in lines that break at spaces, but not in an interval, and before a "×" not after it.

    Args:
        text: may have several lines.
        width: characters; a word that is longer stays whole.
        hyphens: lines end there, too.

    >>> wrapped("deletion × integrated-gradients", 25), wrapped("0.5 [0.4, 0.6]", 8)
    ('deletion\n× integrated-gradients', '0.5\n[0.4, 0.6]')
    """
    kept = _WHOLE.sub(lambda found: found[0].replace(" ", "\xa0"), text)
    lines: list[str] = []
    for line in kept.split("\n"):
        lines += wrap(
            line,
            max(width, 1),
            subsequent_indent="\xa0" * (len(line) - len(line.lstrip())),
            break_long_words=False,
            break_on_hyphens=hyphens,
        ) or [line]
    return "\n".join(lines).replace("\xa0", " ")


def _in_lines(table: Table, widths: Sequence[int], *, hyphens: bool) -> Table:
    """The table with cells in lines of so many characters."""
    return replace(
        table,
        columns=[wrapped(name, most) for name, most in zip(table.columns, widths, strict=True)],
        rows=[
            [_broken(cell, widths[j], hyphens=hyphens and not j) for j, cell in enumerate(row)]
            for row in table.rows
        ],
    )


def _broken(cell: Cell, width: int, *, hyphens: bool) -> Cell:
    """A cell in lines of so many characters, its words of a colour whole."""
    if isinstance(cell, str):
        return wrapped(cell, width, hyphens=hyphens)
    if isinstance(cell, Toned) or all(len(line) <= width for line in plain(cell).split("\n")):
        return cell
    # The word goes on in a line of its own.
    lines: list[str | Toned] = []
    for piece in cell:
        text = plain(piece).strip()
        if text:
            toned = replace(piece, text=text) if isinstance(piece, Toned) else wrapped(text, width)
            lines += ["\n", toned]
    return lines[1:]


def terminal(table: Table, *, width: int, apart: int = 1) -> "RichTable":
    """The table for a terminal.

    Args:
        table: what is shown, but its extra columns.
        width: characters of a line; where words that decide need more, the table is wider.
        apart: spaces between two columns.
    """
    from rich.box import SIMPLE_HEAD
    from rich.markup import escape
    from rich.table import Table as RichTable

    table = fitted(narrow(table), width, apart=apart)
    shown = RichTable(
        title=table.title or None,
        title_justify="left",
        box=SIMPLE_HEAD,
        padding=(0, apart - 1),
        collapse_padding=True,
        pad_edge=apart == 1,
    )
    for name in table.columns:
        shown.add_column(escape(name), no_wrap=True)
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

    return "".join(
        f"[{TONE_STYLES[tone]}]{escape(text)}[/]" if tone else escape(text)
        for text, tone in pieces(cell)
    )


def markdown(table: Table) -> str:
    r"""The table for Markdown, its title left out; a mark stands for a colour.

    >>> print(markdown(Table(["a", "b"], [["x|y", verdict("passed")]])))
    | a | b |
    |---|---|
    | x\|y | ✅ passed |
    """
    rows = [
        [
            "".join(
                " " * text.startswith("\n") + _MARKS.get(tone, "") + escaped(text)
                for text, tone in pieces(cell)
            )
            for cell in row
        ]
        for row in table.rows
        if row
    ]
    lines = [f"| {' | '.join(row)} |" for row in (table.columns, *rows)]
    lines.insert(1, "|---" * len(table.columns) + "|")
    return "\n".join(lines)


def plain(cell: Cell) -> str:
    """A cell without its colours.

    >>> plain(["0.5 ", verdict("forged")])
    '0.5 forged'
    """
    return "".join(text for text, _ in pieces(cell))


def pieces(cell: Cell) -> list[tuple[str, Tone]]:
    """The texts of a cell, each with its tone.

    >>> pieces(["0.5 ", verdict("forged")]), pieces("a")
    ([('0.5 ', ''), ('forged', 'bad')], [('a', '')])
    """
    parts = [cell] if isinstance(cell, str | Toned) else cell
    return [(part, "") if isinstance(part, str) else (part.text, part.tone) for part in parts]


_MARKDOWN = re.compile(r"[\\`*~$|]|(?<!\w)_|_(?!\w)|\](?=[(\[:])")
"""What Markdown would obey, also in a cell of a table; intervals such as [0, 1] stay."""


def escaped(text: str) -> str:
    r"""Text that a table of Markdown can hold, and shows as it is.

    >>> print(escaped("a|b`c` ![](http://x) conv_1 <b>"))
    a\|b\`c\` ![\](http://x) conv_1 &lt;b&gt;
    """
    text = _MARKDOWN.sub(r"\\\g<0>", flat(text))
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
