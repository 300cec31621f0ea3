"""The tables of ``attack``, for the terminal, the page and pictures."""

from collections.abc import Sequence
from fractions import Fraction
from math import inf
from typing import Any

import pandas as pd

from saliency_audit.catalogue.attacks import EVOLUTION
from saliency_audit.commands.attack.jobs import STAND_IN
from saliency_audit.report.table import RULE, Cell, Column, Table, Toned, beside, table_of, verdict
from saliency_audit.report.wording import (
    MEAN,
    described,
    images_in,
    interval_in,
    is_number,
    mean_in,
    number,
    number_in,
    share,
    text_in,
)
from saliency_audit.setting import parts_of

SIMILARITY = "topk-intersection"
_RETRIEVAL = {
    "retrieval-clean-clean": "clean image,\nclean map",
    "retrieval-clean-attacked": "clean image,\nattacked map",
    "retrieval-attacked-clean": "attacked image,\nclean map",
    "retrieval-attacked-attacked": "attacked image,\nattacked map",
}
_MADE = [
    Column("method", text_in("saliency")),
    Column("scalar", text_in("scalar")),
    Column("budget", lambda line: budget(line["setting"])),
]


def budget(setting: str) -> str:
    """How far an attack was allowed to go, for people.

    >>> budget("attack=topk;eps=8/255"), budget("attack=pgd;eps=2;norm=l2")
    ('8/255', 'L2 2')
    >>> budget("attack=structured;eps=none")
    'no budget'
    """
    known = parts_of(setting)
    eps = known.get("eps", "none")
    if eps == "none":
        return "no budget"
    return f"L2 {eps}" if known.get("norm") == "l2" else eps


def size(setting: str) -> float:
    """The budget as a number; infinite without one.

    >>> size("attack=topk;eps=1/4"), size("attack=structured;eps=none")
    (0.25, inf)
    """
    try:
        return float(Fraction(parts_of(setting).get("eps", "none")))
    except (ValueError, ZeroDivisionError):
        return inf


def largest(verdicts: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The verdicts of each attack under the largest budget it was given."""
    found = {}
    for attack, own in verdicts.groupby("attack", sort=False):
        top = max(own["setting"], key=size)
        found[str(attack)] = own[own["setting"].map(budget) == budget(top)]
    return found


def by_evolution(setting: str) -> str:
    """What is added to an attack's name if its search followed no gradient."""
    return ", by evolution" if parts_of(setting).get("search") == EVOLUTION else ""


def several_scalars(verdicts: pd.DataFrame) -> bool:
    """Whether maps of several scalars were attacked; controls explain none."""
    return len(set(verdicts["scalar"]) - {""}) > 1


def attack_within(setting: str) -> str:
    """An attack and its budget for people.

    >>> attack_within("attack=topk;eps=8/255;attacked=gradient")
    'topk within 8/255'
    >>> attack_within("attack=topk;eps=8/255;attacked=lrp;search=evolution")
    'topk within 8/255, by evolution'
    """
    attack, allowed = setting.removeprefix("attack=").split(";")[0], budget(setting)
    within = f"{attack}, {allowed}" if allowed == "no budget" else f"{attack} within {allowed}"
    return within + by_evolution(setting)


def verdict_table(verdicts: pd.DataFrame) -> Table:
    """How many of its salient pixels each map keeps, and how near it is to the attack's aim."""
    aimed = bool(verdicts["aim"].notna().any()) if "aim" in verdicts else False
    crossed = bool(verdicts["evolution"].notna().any()) if "evolution" in verdicts else False
    several = several_scalars(verdicts)
    columns = [
        Column("", lambda line: f"  {line['saliency']}" + f"\n    {line['scalar']}" * several),
        Column("kept [95 %]", mean_in("similarity")),
        *[Column("evolution", number_in("evolution"))] * crossed,
        Column("noise", number_in("control")),
        Column("noise [95 %]", interval_in("control"), extra=True),
        *[
            Column("aim", number_in("aim")),
            Column("aim [95 %]", interval_in("aim"), extra=True),
            Column("noise", number_in("aim_control")),
        ]
        * aimed,
        Column("found", lambda line: share(line["success"]) if is_number(line["success"]) else ""),
        Column("verdict", lambda line: (verdict(str(line["verdict"])), beside(line))),
        Column("images", images_in, extra=True),
    ]
    rows: list[Sequence[Cell]] = []
    for (attack, eps), own in verdicts.groupby(["attack", "eps"], sort=False):
        allowed = str(eps) if eps != "none" else "no budget"
        allowed += by_evolution(own["setting"].iloc[0])
        rows += [RULE, ((Toned(str(attack), "strong"), f" {allowed}"),)]
        rows += table_of(own.to_dict("records"), columns).rows
    heads = table_of([], columns)
    return Table(heads.columns, rows, extra=heads.extra)


def prediction_table(predictions: pd.DataFrame) -> Table:
    """How often an attack on the prediction itself succeeds."""
    columns = [
        Column(
            "",
            lambda line: (
                Toned(parts_of(line["setting"]).get("attack", "pgd"), "strong"),
                f" {budget(line['setting'])}",
            ),
        ),
        Column("changed [95 %]", mean_in("success")),
        Column("noise", number_in("control")),
        Column("mean L2", number_in("l2_mean")),
        Column("images", images_in),
        Column(
            "largest change\nof a pixel",
            lambda line: (
                f"{number(255 * line['linf_max'])}/255" if is_number(line["linf_max"]) else "-"
            ),
            extra=True,
        ),
    ]
    return table_of(predictions.to_dict("records"), columns)


def told(verdicts: pd.DataFrame) -> list[str]:
    """What the columns of `verdict_table` are."""
    if not len(verdicts):
        return []
    known = next(filter(is_number, verdicts["chance"]), None)
    lines = [
        f"kept: share of the {'' if known is None else f'{known:.1%} '}most salient pixels that "
        "stay [95 %], beside noise of the same size"
    ]
    if "aim" in verdicts and verdicts["aim"].notna().any():
        lines.append(
            "aim: correlation with the wanted map, mass in the wanted region, or way of the "
            "centre of mass in pixels, beside noise"
        )
    if any(by_evolution(setting) for setting in verdicts["setting"]):
        lines.append("by evolution: a search that follows no gradient, of maps and logits alone")
    if "evolution" in verdicts and verdicts["evolution"].notna().any():
        lines.append("evolution: kept under a search of the same budget that follows no gradient")
    return lines


def retrieval_tables(summary: pd.DataFrame) -> list[Table]:
    """Whether a map still marks what the model decides by, by whose image and whose map it is."""
    found: dict[str, dict[tuple[str, str, str], dict[Any, Any]]] = {}
    for line in summary[summary["check"].isin(list(_RETRIEVAL))].to_dict("records"):
        known, saliency = parts_of(line["setting"]), line["saliency"]
        attack = known.get("attack", "") + by_evolution(line["setting"])
        # Of the method that was attacked; noise and pgd attack none.
        if known.get("attacked", saliency) == saliency and attack != "random-worst":
            made = saliency, line["scalar"], budget(line["setting"])
            own = found.setdefault(attack, {}).setdefault(made, {**line})
            own[line["check"]] = line["mean"]
    columns = [
        *_MADE,
        *(Column(head, number_in(check)) for check, head in _RETRIEVAL.items()),
        Column("chance", number_in("chance")),
    ]
    return [
        table_of(own.values(), columns, labels=3, title=attack) for attack, own in found.items()
    ]


def distance_tables(verdicts: pd.DataFrame) -> list[Table]:
    """How far the attacked images are from the clean ones."""
    names = {
        f"l2_{space}{end}": f"L2 in {of},\n{word}"
        for space, of in (("", "pixels"), ("model_", "network's input"))
        for end, word in (("min", "least"), ("mean", "mean"), ("max", "most"))
    }
    lines = [
        line
        for line in verdicts.to_dict("records")
        if any(is_number(line.get(name)) for name in names)
    ]
    columns = [
        Column("attack", text_in("attack")),
        *_MADE,
        *(Column(head, number_in(name)) for name, head in names.items()),
    ]
    return [table_of(lines, columns, labels=4)] if lines else []


def surrogate_tables(summary: pd.DataFrame) -> list[Table]:
    """How well what the search differentiates agrees with the network itself."""
    found = summary[summary["check"] == STAND_IN].to_dict("records")
    columns = [
        Column("surrogate", lambda line: described(line["setting"], "surrogate")),
        *_MADE[:2],
        Column("agreement [95 %]", MEAN),
        Column("images", images_in),
    ]
    return [table_of(found, columns, labels=3)] if found else []


def transfer_table(summary: pd.DataFrame, setting: str) -> Table | None:
    """What is left of each measured map on images made against each attacked one.

    Args:
        summary: of `summarise`.
        setting: of the attack and its budget, whatever it attacked.

    Returns:
        None where only the attacked maps themselves were measured.
    """
    rows = summary[(summary["check"] == SIMILARITY) & (summary["saliency"] != "")]
    # A control explains no scalar; it is measured on images made for the first one.
    scalars = [scalar for scalar in dict.fromkeys(rows["scalar"]) if scalar]
    several = len(scalars) > 1
    attack, eps = parts_of(setting)["attack"], parts_of(setting).get("eps")
    made: dict[tuple[str, str], dict[str, float]] = {}
    noise: dict[tuple[str, str], dict[str, float]] = {}
    for row in rows.to_dict("records"):
        known = parts_of(row["setting"])
        key = known.get("attacked", ""), row["scalar"] or "".join(scalars[:1])
        same = known.get("search") == parts_of(setting).get("search")
        if known.get("attack") == attack and same and budget(row["setting"]) == budget(setting):
            made.setdefault(key, {})[row["saliency"]] = row["mean"]
        elif known.get("attack") == "random" and known.get("eps") == eps:
            noise.setdefault(key, {})[row["saliency"]] = row["mean"]
    if all(len(own) < 2 for own in made.values()):
        return None
    lines = [
        ((f"{word} {attacked}" if attacked else "noise") + f" of {scalar}" * several, attacked, own)
        for group, word in ((made, "against"), (noise, "noise as for"))
        for (attacked, scalar), own in group.items()
    ]
    methods = list(dict.fromkeys(method for _, _, own in lines for method in own))
    return Table(
        ["", *(method.replace("-", "-\n") for method in methods)],
        [
            [
                label,
                *(
                    Toned(number(own.get(method)), "strong" if method == attacked else "")
                    for method in methods
                ),
            ]
            for label, attacked, own in lines
        ],
    )


def without_steps(summary: pd.DataFrame) -> pd.DataFrame:
    """All rows but those of single steps of a search, which may be thousands."""
    return summary[["step" not in parts_of(setting) for setting in summary["setting"]]]
