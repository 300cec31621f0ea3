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
from saliency_audit.report.table import TONES, Table, pieces
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
    )
    return write_atomically(path, page)


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
