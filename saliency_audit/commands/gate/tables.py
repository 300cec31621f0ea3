"""The table of ``gate``: what was measured beside the limits, for terminal, page and Markdown."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from saliency_audit.report.table import TONES, Cell, Column, Table, Toned, beside, table_of
from saliency_audit.report.wording import images_in, mean_in, number_in, text_in
from saliency_audit.stats.undefined import UNDEFINED


def checks_table(outcomes: pd.DataFrame) -> Table:
    """What was measured for each check beside its limit, and what became of it.

    Args:
        outcomes: of the checks.
    """
    columns = [
        Column("check", text_in("check")),
        Column("measured [95 %]", _measured),
        Column("limit", text_in("limit")),
        Column("status", _status),
        Column("why", text_in("message"), extra=True),
        Column("images", images_in, extra=True),
        Column("seconds", number_in("seconds"), extra=True),
    ]
    return table_of(outcomes.to_dict("records"), columns, labels=5)


def _status(line: Mapping[Any, Any]) -> Cell:
    """The word in the colour of what it does to the release: no answer refuses it, too."""
    word = str(line["status"])
    reason = beside({**line, "reason": line["message"] if word == UNDEFINED else ""})
    if line["effect"] == "warn":
        return Toned(f"{word} (warns)", "warn"), reason
    tone = TONES[word]
    return Toned(word, "bad" if tone == "none" else tone), reason


def _measured(line: Mapping[Any, Any]) -> str:
    """A number with its interval; of a trick or attack, the verdict."""
    if line.get("kind", "metric") != "metric" and line["status"] != UNDEFINED:
        return str(line["message"]).partition(":")[0]
    return mean_in("measured", "ci_low", "ci_high")(line)
