"""The answer of ``saliency-audit gate`` on the terminal."""

from collections.abc import Mapping
from textwrap import wrap
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE_HEAD
from rich.console import RenderableType
from rich.markup import escape
from rich.table import Table

from saliency_audit.visible import flat

if TYPE_CHECKING:
    import pandas as pd

COLOURS = {
    "passed": "green",
    "failed": "bold red",
    "inconclusive": "yellow",
    "undefined": "bold red",
    "not run": "bold red",
    "error": "bold red",
}

_HEADS = {1: "measured [95 %]", 2: "limit", 3: "status"}
_LIMIT, _BETWEEN = 20, 5  # characters of a limit in a line, and of the table's own


def shown(outcomes: "pd.DataFrame", sentence: str, *, width: int) -> list[RenderableType]:
    """What was measured beside the limits, and the answer.

    Args:
        outcomes: of the checks.
        sentence: the answer.
        width: of the screen, characters.
    """
    table = Table(box=SIMPLE_HEAD, padding=0, collapse_padding=True)
    for name in ("check", "measured [95 %]", "limit", "status"):
        table.add_column(name, no_wrap=True)
    texts = []
    for line in outcomes.to_dict("records"):
        word = str(line["status"])
        colour = "yellow" if line["effect"] == "warn" else COLOURS[word]
        only = " (warns)" if line["effect"] == "warn" else ""
        limit = wrapped(flat(str(line["limit"])), _LIMIT)
        texts.append((flat(str(line["check"])), _measured(line), limit, word + only, colour))
    others = [max(map(_width, (head, *(row[i] for row in texts)))) for i, head in _HEADS.items()]
    room = width - sum(others) - _BETWEEN
    for check, measured, limit, status, colour in texts:
        table.add_row(
            *map(escape, (wrapped(check, room), measured, limit)), f"[{colour}]{status}[/]"
        )
    colour = "bold red" if sentence.startswith("refused") else "bold green"
    word, _, rest = flat(sentence).partition(":")
    return [table, f"[{colour}]{word}[/]:{escape(rest)}"]


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
