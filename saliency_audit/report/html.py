"""A page that explains itself: one HTML file, no network, no script."""

from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined, Template

from saliency_audit.report.files import write_atomically
from saliency_audit.report.page import FILLS
from saliency_audit.report.table import TONES, Cell, Table, least, parts, pieces, widths
from saliency_audit.visible import visible


@dataclass(frozen=True)
class Picture:
    """A PNG, put into the page itself.

    Attributes:
        path: the file.
        caption: says what is seen.
    """

    path: Path
    caption: str

    @property
    def data(self) -> str:
        """The file as a data URI."""
        return "data:image/png;base64," + b64encode(self.path.read_bytes()).decode("ascii")


@dataclass(frozen=True)
class Section:
    """A part of the page, in this order: text, terms, pictures, tables.

    Attributes:
        heading: of the section.
        paragraphs: text.
        terms: words and what they mean.
        pictures: with captions.
        tables: numbers.
        folded: shown on a click only.
    """

    heading: str
    paragraphs: Sequence[str] = ()
    terms: Mapping[str, str] = field(default_factory=dict)
    pictures: Sequence[Picture] = ()
    tables: Sequence[Table] = ()
    folded: bool = False


def write_html(
    path: Path,
    *,
    title: str,
    verdict_sentence: str,
    sections: Sequence[Section],
    subtitle: str = "",
) -> Path:
    """Write a self-contained page.

    Args:
        path: the file.
        title: the question.
        verdict_sentence: the answer.
        sections: everything else.
        subtitle: what was audited, in a line.

    Returns:
        ``path``.

    Raises:
        AuditError: the file cannot be written.
    """
    page = _template().render(
        title=title,
        subtitle=subtitle,
        verdict_sentence=verdict_sentence,
        sections=sections,
        fills=FILLS,
        tones=TONES,
        pieces=pieces,
        on_page=on_page,
    )
    return write_atomically(path, page)


_ROOM = 1068  # pixels beside the margins of a window of 1,200
_SIZES = {"": (8.6, 16), "dense": (7.4, 8)}  # of a character of a wide font, and beside a column


def on_page(table: Table) -> list[tuple[Table, str]]:
    """The table as the page has room for it: in small letters, or in parts, where it is wide.

    Args:
        table: what is shown.

    Returns:
        Its parts, each with the class of its style.

    >>> [style for _, style in on_page(Table(["a"], [["b"]]))]
    ['']
    >>> wide = Table(["", *("number" for _ in range(30))], [["a", *["0.500 [0.400, 0.600]"] * 30]])
    >>> [(len(part.columns), style) for part, style in on_page(wide)]
    [(7, 'dense'), (7, 'dense'), (7, 'dense'), (7, 'dense'), (7, 'dense')]
    """
    if not table.columns:
        return [(table, "")]
    coloured = [any(_is_coloured(row, j) for row in table.rows) for j in range(len(table.columns))]
    # Words go on in another line, numbers do not.
    characters = [
        broken if j < table.labels else whole
        for j, (broken, whole) in enumerate(zip(least(table), widths(table), strict=True))
    ]
    for style, (letter, beside) in _SIZES.items():
        columns = [
            letter * own + beside + _AROUND * word
            for own, word in zip(characters, coloured, strict=True)
        ]
        if sum(columns) <= _ROOM:
            return [(table, style)]
    return [(part, style) for part in parts(table, _ROOM, columns=columns)]


_AROUND = 15  # pixels, of a word on its colour


def _is_coloured(row: Sequence[Cell], j: int) -> bool:
    return len(row) > j and any(tone in FILLS for _, tone in pieces(row[j]))


@cache
def _template() -> Template:
    source = files("saliency_audit.report").joinpath("report.html.jinja").read_text("utf-8")
    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_readable,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.from_string(source)


def _readable(value: Any) -> Any:
    """A name's control characters and marks of direction are shown; what is HTML stays."""
    return visible(value) if type(value) is str else value
