"""Forgeries beside the checks of a policy: which check refuses which."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from saliency_audit.report.figures import draw_table
from saliency_audit.report.files import write_atomically
from saliency_audit.report.table import Cell, Table, markdown, terminal, verdict
from saliency_audit.report.tables import write_csv


def red_team_table(found: Mapping[str, pd.DataFrame]) -> Table:
    """A row for each check and a column for each model.

    Args:
        found: ``check,status,effect`` of a gate, by model.
    """
    checks = list(dict.fromkeys(name for table in found.values() for name in table["check"]))
    rows: list[list[Cell]] = []
    for check in checks:
        words = [
            table.set_index("check")["status"].get(check, "not run") for table in found.values()
        ]
        rows.append([check, *(verdict(str(word)) for word in words)])
    refused = [not released(table) for table in found.values()]
    words = [
        verdict("failed", "refused") if no else verdict("passed", "released") for no in refused
    ]
    return Table(["check", *found], [*rows, ["the model is", *words]])


def refusals_table(found: Mapping[str, pd.DataFrame]) -> Table:
    """A row for each model: whether it is released, and which checks do not pass.

    Args:
        found: ``check,status,effect`` of a gate, by model.
    """
    rows: list[list[Cell]] = []
    for name, table in found.items():
        refusing = table.loc[table["effect"] == "refuse", "check"]
        word = verdict("failed", "refused") if len(refusing) else verdict("passed", "released")
        rows.append([name, word, ", ".join(refusing) or "-"])
    return Table(["model", "is", "refused by"], rows, labels=3)


def released(table: pd.DataFrame) -> bool:
    """Whether no check of a gate refuses."""
    return not (table["effect"] == "refuse").any()


def answer(found: Mapping[str, pd.DataFrame], *, width: int) -> list[Any]:
    """The table for a terminal of a width, and what it says in a sentence."""
    forged = list(found)[1:]
    passed = [name for name in forged if released(found[name])]
    first = next(iter(found))
    sentence = (
        f"The policy {'releases' if released(found[first]) else 'refuses'} the model {first}, "
        f"and refuses {len(forged) - len(passed)} of {len(forged)} forgeries"
        + (f"; it releases {', '.join(passed)}." if passed else ".")
    )
    return [terminal(refusals_table(found), width=width), sentence]


def write_red_team(folder: Path, found: Mapping[str, pd.DataFrame]) -> None:
    """Write ``red-team.csv``, ``red-team.png`` and ``red-team.md``.

    Raises:
        AuditError: a file cannot be written.
    """
    table = red_team_table(found)
    write_csv(
        folder / "red-team.csv",
        pd.concat([frame.assign(model=name) for name, frame in found.items()], ignore_index=True),
    )
    write_atomically(folder / "red-team.md", markdown(table))
    draw_table(
        table,
        folder,
        "red-team",
        title="Which check refuses which forgery?",
        footnote="Columns: the model as given, and each forgery of it. One check that does not "
        "pass refuses a model.",
    )
