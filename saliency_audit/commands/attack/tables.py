"""The tables on the page of ``attack``; each is left out where nothing was measured for it."""

from math import nan
from typing import Any

import pandas as pd

from saliency_audit.commands.attack.gallery import budget
from saliency_audit.report.table import Table
from saliency_audit.report.wording import (
    described,
    images,
    interval_of,
    is_number,
    number,
    with_interval,
)
from saliency_audit.setting import parts_of

_RETRIEVAL = {
    "retrieval-clean-clean": "clean image,\nclean map",
    "retrieval-clean-attacked": "clean image,\nattacked map",
    "retrieval-attacked-clean": "attacked image,\nclean map",
    "retrieval-attacked-attacked": "attacked image,\nattacked map",
}


def verdict_tables(verdicts: pd.DataFrame) -> list[Table]:
    """A table for each attack: what is left of every map, beside noise, and the word for it."""
    columns = (
        "method",
        "explained scalar",
        "budget",
        "verdict",
        "intersection with\nclean map [95 % CI]",
        "the same under\nnoise [95 % CI]",
        "chance",
        "the attack's own\naim [95 % CI]",
        "the same\nunder noise",
        "attack found\nan image",
        "images",
    )
    tables = []
    for attack, own in verdicts.groupby("attack", sort=False) if len(verdicts) else ():
        rows = [
            (
                line["saliency"],
                line["scalar"],
                budget(line["setting"]),
                line["verdict"],
                *(interval_of(line, name, digits=".2f") for name in ("similarity", "control")),
                number(line["chance"], ".2g"),
                interval_of(line, "aim", digits=".2f"),
                number(line.get("aim_control", nan), ".2f"),
                number(line["success"], ".0%"),
                images(line["n"], line["n_undefined"]),
            )
            for line in own.to_dict("records")
        ]
        tables.append(Table(columns, rows, labels=4, title=str(attack)))
    return tables


def retrieval_tables(summary: pd.DataFrame) -> list[Table]:
    """Whether a map still marks what the model decides by, by whose image and whose map it is."""
    found: dict[str, dict[tuple[str, str, str], dict[str, Any]]] = {}
    for line in summary[summary["check"].isin(list(_RETRIEVAL))].to_dict("records"):
        known, saliency = parts_of(line["setting"]), line["saliency"]
        attack = known.get("attack", "")
        # Of the method that was attacked; noise and pgd attack none.
        if known.get("attacked", saliency) == saliency and attack != "random-worst":
            key = budget(line["setting"]), saliency, line["scalar"]
            found.setdefault(attack, {}).setdefault(key, {})[line["check"]] = line
    columns = ("method", "explained scalar", "budget", *_RETRIEVAL.values(), "chance")
    tables = []
    for attack, own in found.items():
        rows = []
        for (allowed, saliency, scalar), lines in own.items():
            cells = [lines.get(check, {}) for check in _RETRIEVAL]
            chance = next((cell["chance"] for cell in cells if cell), None)
            means = (number(cell.get("mean"), ".2f") for cell in cells)
            rows.append((saliency, scalar, allowed, *means, number(chance, ".2g")))
        tables.append(Table(columns, rows, labels=3, title=attack))
    return tables


def distance_tables(verdicts: pd.DataFrame) -> list[Table]:
    """How far the attacked images are from the clean ones."""
    names = [f"l2_{space}{end}" for space in ("", "model_") for end in ("min", "mean", "max")]
    rows = [
        (
            *(line["attack"], budget(line["setting"]), line["saliency"], line["scalar"]),
            *(number(line[name], ".3g") for name in names),
        )
        for line in verdicts.to_dict("records")
        if any(is_number(line[name]) for name in names)
    ]
    measures = [
        f"L2 in {space},\n{end}"
        for space in ("pixels", "network's input")
        for end in ("least", "mean", "most")
    ]
    columns = ("attack", "budget", "method", "explained scalar", *measures)
    return [Table(columns, rows, labels=4)] if rows else []


def prediction_tables(predictions: pd.DataFrame) -> list[Table]:
    """How often an attack on the class itself succeeds."""
    rows = [
        (
            parts_of(line["setting"]).get("attack", "pgd"),
            budget(line["setting"]),
            interval_of(line, "success", digits=".2f"),
            number(line["control"], ".2f"),
            number(line["l2_mean"], ".3g"),
            f"{255 * line['linf_max']:.3g}/255" if is_number(line["linf_max"]) else "–",
            images(line["n"], 0),
        )
        for line in predictions.to_dict("records")
    ]
    columns = (
        "attack",
        "budget",
        "class changed\n[95 % CI]",
        "class changed\nunder noise",
        "mean L2\nin pixels",
        "largest change\nof a pixel",
        "images",
    )
    return [Table(columns, rows, labels=2)] if rows else []


def surrogate_tables(summary: pd.DataFrame) -> list[Table]:
    """How well what the search differentiates agrees with the network itself."""
    found = summary[summary["check"] == "surrogate-agreement"]
    rows = [
        (
            described(line["setting"], "surrogate"),
            line["saliency"],
            line["scalar"],
            with_interval(line["mean"], line["ci_low"], line["ci_high"]),
            images(line["n"], line["n_undefined"]),
        )
        for line in found.to_dict("records")
    ]
    columns = ("surrogate", "method", "explained scalar", "agreement [95 % CI]", "images")
    return [Table(columns, rows, labels=3)] if rows else []


def without_steps(summary: pd.DataFrame) -> pd.DataFrame:
    """All rows but those of single steps of a search, which may be thousands."""
    return summary[["step" not in parts_of(setting) for setting in summary["setting"]]]
