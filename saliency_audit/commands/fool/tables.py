"""The tables of ``fool``, for the terminal, the page and the picture."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from saliency_audit.catalogue.tricks import aim_of
from saliency_audit.commands.fool.verdict import DISTURBED
from saliency_audit.report.table import RULE, Cell, Column, Table, Toned, beside, table_of, verdict
from saliency_audit.report.wording import (
    MEAN,
    described,
    images,
    images_in,
    mean_in,
    number,
    number_in,
    text_in,
)

_WANTED = "cosine of the map with the wanted picture, before -> after"
_AIMED = "how much of what is wanted the map shows, before -> after"


def verdict_table(verdicts: pd.DataFrame, why: Mapping[str, str] | None = None) -> Table:
    """How much each map looks like the picture, before and after each trick.

    Args:
        verdicts: of all tricks; those of controls, without a scalar, are left out.
        why: by trick, what keeps maps that show the picture from being forged.
    """
    judged = verdicts[verdicts["scalar"] != ""]
    tricks = list(dict.fromkeys(judged["trick"]))
    width = max(map(len, judged["verdict"]), default=0)
    rows: list[Sequence[Cell]] = []
    previous = None
    for (saliency, scalar), own in judged.groupby(["saliency", "scalar"], sort=False):
        if previous not in (None, saliency):
            rows.append(RULE)
        lines = own.drop_duplicates("trick").set_index("trick")
        cells = [
            (
                f"{number(lines.at[trick, 'before'])} -> {number(lines.at[trick, 'after'])} ",
                _word(lines.loc[trick], (why or {}).get(trick, ""), width),
                beside(lines.loc[trick]),
            )
            if trick in lines.index
            else ""
            for trick in tricks
        ]
        rows.append(("" if saliency == previous else str(saliency), str(scalar), *cells))
        previous = saliency
    heads = [short_name(trick).replace(" ", "\n") for trick in tricks]
    title = _AIMED if any("aim=" in trick for trick in tricks) else _WANTED
    return Table(["saliency", "scalar", *heads], rows, labels=2, title=title)


def _word(line: "pd.Series[Any]", why: str, width: int) -> Toned:
    """The verdict; of a map that shows what was wanted, why it is not forged all the same."""
    word = str(line["verdict"])
    reached = line["after"] >= aim_of(str(line.name)).reached
    if why and word == DISTURBED and reached:
        return verdict(word, f"{word}:\n{why}")
    return verdict(word, f"{word:<{width}}")


def aims_in(tricks: Iterable[str]) -> list[str]:
    """What tricks want that aim at something, each once."""
    aims = {aim_of(trick).says: aim_of(trick) for trick in tricks if "aim=" in trick}
    return [f"wanted: {aim.says}, at least {aim.reached:g} to be forged" for aim in aims.values()]


def detail_tables(verdicts: pd.DataFrame, results: pd.DataFrame | None) -> list[Table]:
    """A table for each trick: the same cosines with their intervals, and of how many images.

    Args:
        verdicts: of all tricks and controls.
        results: rows of ``results.csv``, for how many images show the picture.
    """
    shown: dict[tuple[str, ...], int] = {}
    if results is not None:
        for trick in dict.fromkeys(verdicts["trick"]):
            aim = aim_of(trick)
            own = results[(results["setting"] == trick) & (results["check"] == aim.check)]
            own = own[(own["status"] == "ok") & (own["value"].astype(float) >= aim.reached)]
            shown |= dict(own.groupby(["setting", "saliency", "scalar"], observed=True).size())
    columns = [
        Column("saliency", text_in("saliency")),
        Column("scalar", text_in("scalar", "none (control)")),
        Column("verdict", lambda line: (verdict(str(line["verdict"])), beside(line))),
        Column("before [95 %]", mean_in("before")),
        Column("after [95 %]", mean_in("after")),
        Column("cosine of before\nwith after", number_in("cosine")),
        Column("images", images_in),
    ]
    if results is not None:
        columns.append(
            Column(
                "that show it",
                lambda line: images(
                    shown.get((line["trick"], line["saliency"], line["scalar"]), 0), 0
                ),
            )
        )
    return [
        table_of(own.to_dict("records"), columns, labels=3, title=_described(str(trick)))
        for trick, own in verdicts.groupby("trick", sort=False)
    ]


def promise_tables(promises: pd.DataFrame | None) -> list[Table]:
    """The worst value of any image beside the largest that theory, or fp32, allows."""
    if promises is None or not len(promises):
        return []
    columns = [
        Column("trick", lambda line: _described(str(line["trick"]))),
        Column("check", text_in("check")),
        Column("worst image", number_in("worst")),
        Column("promised", number_in("bound")),
        Column("kept", lambda line: (line["kept"], beside(line))),
        Column("images", images_in),
    ]
    title = "Measured beside what the trick promises"
    return [table_of(promises.to_dict("records"), columns, labels=2, title=title)]


def model_tables(summary: pd.DataFrame) -> list[Table]:
    """What was measured of the models alone, a table for each of them."""
    of_model = summary[(summary["saliency"] == "") | (summary["check"] == "scalar-agreement")]
    columns = [
        Column("check", text_in("check")),
        Column("mean [95 %]", MEAN),
        Column("images", images_in),
    ]
    return [
        table_of(own.to_dict("records"), columns, title=_described(str(setting)))
        for setting, own in of_model.groupby("setting", sort=False)
    ]


def short_name(setting: str) -> str:
    """A trick's name and its first option.

    >>> short_name("trick=logit-shift;shift=linear;seed=1")
    'logit-shift linear'
    """
    return " ".join(part.split("=")[1] for part in setting.split(";")[:2])


def _described(setting: str) -> str:
    return described(setting, "trick", "stage")
