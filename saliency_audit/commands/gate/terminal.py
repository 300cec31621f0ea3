"""The answer of ``saliency-audit gate`` on the terminal."""

from collections.abc import Mapping
from textwrap import wrap
from typing import TYPE_CHECKING, Any

from rich.console import RenderableType

from saliency_audit.report.table import TONES, Cell, Table, Toned, marked, plain, terminal
from saliency_audit.visible import flat

if TYPE_CHECKING:
    import pandas as pd

_HEADS = ("check", "measured [95 %]", "limit", "status")
_LIMIT, _BETWEEN = 20, 5  # characters of a limit in a line, and of the table's own


def shown(outcomes: "pd.DataFrame", sentence: str, *, width: int) -> list[RenderableType]:
    """What was measured beside the limits, and the answer.

    Args:
        outcomes: of the checks.
        sentence: the answer.
        width: of the screen, characters.
    """
    rows: list[list[Cell]] = [
        [
            flat(str(line["check"])),
            _measured(line),
            wrapped(flat(str(line["limit"])), _LIMIT),
            _status(str(line["status"]), warns=line["effect"] == "warn"),
        ]
        for line in outcomes.to_dict("records")
    ]
    columns = zip(_HEADS, *(map(plain, row) for row in rows), strict=True)
    _, *widths = (max(map(_width, column)) for column in columns)
    room = width - sum(widths) - _BETWEEN
    table = Table(_HEADS, [(wrapped(plain(row[0]), room), *row[1:]) for row in rows])
    word, _, rest = flat(sentence).partition(":")
    colour = "bold red" if sentence.startswith("refused") else "bold green"
    return [terminal(table), f"[{colour}]{word}[/]:{marked(rest)}"]


def _status(word: str, *, warns: bool) -> Toned:
    """The word in the colour of what it does to the release: no answer refuses it, too."""
    tone = TONES[word]
    if warns:
        return Toned(f"{word} (warns)", "warn")
    return Toned(word, "bad" if tone == "none" else tone)


def wrapped(text: str, width: int) -> str:
    r"""Text in lines that break at spaces only, and before a "×" instead of after it.

    >>> wrapped("deletion × integrated-gradients", 25)
    'deletion\n× integrated-gradients'
    """
    lines = wrap(
        text.replace("× ", "×\xa0"),
        max(width, 1),
        break_long_words=False,
        break_on_hyphens=False,
    )
    return "\n".join(lines).replace("\xa0", " ")


def _width(text: str) -> int:
    return max(map(len, text.split("\n")))


def _measured(line: Mapping[Any, Any]) -> str:
    """A number with its interval; of a trick or attack, the verdict."""
    if line["kind"] != "metric" and line["n"]:
        return str(line["message"]).partition(":")[0]
    mean, low, high = line["measured"], line["ci_low"], line["ci_high"]
    if mean != mean:
        return "-"
    return f"{mean:.3g} [{low:.3g}, {high:.3g}]" if low == low else f"{mean:.3g}"
