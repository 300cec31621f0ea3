"""The table of what training changed."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from saliency_audit.catalogue.entries import Check
from saliency_audit.commands.evaluate.columns import BETTER
from saliency_audit.report.table import Table
from saliency_audit.report.wording import images, interval_of, is_number, number


def change_tables(verdicts: pd.DataFrame, checks: Mapping[str, Check]) -> list[Table]:
    """Every question with its word, both means, the paired difference, and what the control did.

    Args:
        verdicts: of the run.
        checks: for the direction.
    """
    heads = (
        "check",
        "method",
        "direction",
        "",
        "before [95 % CI]",
        "after [95 % CI]",
        "difference [95 % CI]",
        "control\nbefore → after",
        "images",
    )
    rows = [
        (
            line["check"],
            line["saliency"] or "–",
            BETTER[checks[line["check"]].higher_is_better] if line["check"] in checks else "",
            line["word"] or "not compared",
            *(interval_of(line, name) for name in ("before", "after", "difference")),
            _control(line),
            images(line["n"], line["n_undefined"]),
        )
        for line in verdicts.to_dict("records")
    ]
    return [Table(heads, rows, labels=4)] if rows else []


def _control(line: Mapping[Any, Any]) -> str:
    """Of the random map, or of noise of the attack's size."""
    values = (line["control_before"], line["control_after"])
    if not any(map(is_number, values)):
        return "–"
    return " → ".join(number(value, ".3g") for value in values)
