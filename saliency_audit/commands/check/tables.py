"""The tables of ``check``, for the terminal, the page and the picture."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from saliency_audit.report.table import Column, Table, table_of, verdict
from saliency_audit.report.wording import duration, number, rounded, text_in


def assumed_table(facts: Mapping[str, Any]) -> Table:
    """What was loaded and assumed: a row for each fact."""
    return Table(["", "loaded or assumed"], [[k, str(v)] for k, v in facts.items()], labels=2)


def accuracy_table(accuracies: pd.DataFrame) -> Table:
    """Accuracy under the model's own preprocessing and under others."""
    columns = [
        Column("preprocessing", text_in("preprocessing")),
        Column("right", lambda line: f"{line['right']} of {line['n']}"),
        Column(
            "accuracy [95 %]",
            lambda line: f"{line['accuracy']:.1%} [{line['low']:.1%}, {line['high']:.1%}]",
        ),
        Column(
            "", lambda line: verdict("disturbed", "better than as given") if line["better"] else ""
        ),
    ]
    return table_of(accuracies.to_dict("records"), columns, labels=1)


def methods_table(methods: pd.DataFrame) -> Table:
    """Which methods have a map, what one takes, and why others have none."""
    columns = [
        Column("saliency", text_in("saliency")),
        Column("images\nwith a map", _with_map),
        Column("passes\na map", lambda line: number(line["passes"])),
        Column("seconds\na map", lambda line: number(line["seconds"])),
        Column("why not", text_in("why")),
    ]
    return table_of(methods.to_dict("records"), columns, labels=5)


def costs_table(costs: pd.DataFrame) -> Table:
    """What each command would take here."""
    columns = [
        Column("command", text_in("command")),
        Column("images", lambda line: str(line["images"])),
        Column("passes", lambda line: f"{rounded(line['passes']):,}"),
        Column("time, about", lambda line: duration(line["seconds"])),
    ]
    return table_of(costs.to_dict("records"), columns, labels=1)


def says_table(says: pd.DataFrame) -> Table:
    """What the model says of the first images."""
    columns = [
        Column("image", text_in("image")),
        Column("label", text_in("label")),
        Column("the model says", text_in("says")),
        Column("probability", lambda line: number(line["confidence"])),
    ]
    return table_of(says.to_dict("records"), columns, labels=3)


def _with_map(line: Mapping[str, Any]) -> Any:
    whole = line["with_map"] == line["n"]
    word = "passed" if whole else "failed" if not line["with_map"] else "inconclusive"
    return verdict(word, f"{line['with_map']} of {line['n']}")
