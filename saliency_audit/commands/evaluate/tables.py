"""The tables on the page of ``evaluate``; each is left out where nothing was measured for it."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from saliency_audit.catalogue.entries import Check
from saliency_audit.commands.evaluate.columns import BETTER, columns, methods, of_models
from saliency_audit.report.table import Table
from saliency_audit.report.tables import cell
from saliency_audit.report.wording import images, interval_of, is_number, number, with_interval
from saliency_audit.setting import parts_of


def metric_table(summary: pd.DataFrame, checks: Mapping[str, Check]) -> list[Table]:
    """What each check measures, its better end, what no information gets, and its source.

    Args:
        summary: of `summarise`.
        checks: what is known of each check.
    """
    of_maps = set(summary["check"]) - of_models(summary)
    measured = set(summary["check"])
    rows = [
        (
            name,
            check.summary,
            BETTER[check.higher_is_better],
            _chance(check.chance)
            or ("see random" if name in of_maps and check.higher_is_better is not None else "–"),
            check.source,
        )
        for name, check in checks.items()
        if name in measured
    ]
    heads = ("check", "what it is", "direction", "without information", "source")
    return [Table(heads, rows, labels=5)] if rows else []


def verdict_tables(verdicts: pd.DataFrame, checks: Mapping[str, Check]) -> list[Table]:
    """A table for each metric and model: every method beside the controls, and the word for it."""
    heads = (
        "method",
        "verdict",
        "mean [95 % CI]",
        "random",
        "sobel",
        "difference to\nrandom [95 % CI]",
        "images",
    )
    several = verdicts["model"].nunique() > 1
    tables = []
    for model, own in verdicts.groupby("model", sort=False) if len(verdicts) else ():
        order = methods(own)
        for column in columns(own):
            title = " ".join(filter(None, [column.check, column.option and f"({column.option})"]))
            rows = [
                (
                    name,
                    line["verdict"] or "control",
                    with_interval(line["mean"], line["ci_low"], line["ci_high"]),
                    number(line["random"], ".3g"),
                    number(line["sobel"], ".3g"),
                    interval_of(line, "difference"),
                    images(line["n"], line["n_undefined"]),
                )
                for name in order
                if (line := column.lines.get(name))
            ]
            of = f"{model}, " if several else ""
            tables.append(
                Table(
                    heads, rows, labels=2, title=f"{of}{title}: {_direction(column.check, checks)}"
                )
            )
    return tables


def model_tables(summary: pd.DataFrame, checks: Mapping[str, Check]) -> list[Table]:
    """What was measured of the models alone."""
    alone = (summary["saliency"] == "") | summary["check"].isin(of_models(summary))
    own = summary[alone & ~summary["setting"].str.startswith("reason=")]
    several = own["model"].nunique() > 1
    rows = [
        (
            *([line["model"]] if several else []),
            line["check"],
            _direction(line["check"], checks),
            line["setting"].replace(";", ", "),
            with_interval(line["mean"], line["ci_low"], line["ci_high"]),
            number(line["chance"], ".3g"),
            images(line["n"], line["n_undefined"]),
        )
        for line in own.to_dict("records")
    ]
    heads = (
        *(["model"] if several else []),
        "check",
        "direction",
        "measured at",
        "mean [95 % CI]",
        "chance",
        "images",
    )
    return [Table(heads, rows, labels=len(heads) - 3)] if rows else []


def failure_tables(summary: pd.DataFrame) -> list[Table]:
    """What failed, and why."""
    failed = summary[summary["setting"].str.startswith("reason=")]
    rows = [
        (
            line["check"],
            line["saliency"] or "the model",
            line["model"],
            parts_of(line["setting"])["reason"],
            cell(line["n_undefined"]),
        )
        for line in failed.to_dict("records")
    ]
    return [Table(("metric", "of", "model", "reason", "images"), rows, labels=4)] if rows else []


def drop_tables(drops: pd.DataFrame | None) -> list[Table]:
    """How much smaller the AOPC of each method is than the base's."""
    if drops is None or not len(drops):
        return []
    several = drops["model"].nunique() > 1
    heads = (*(["model"] if several else []), "method", "measured at", "drop in %\n[95 % CI]")
    rows = [
        (
            *([line["model"]] if several else []),
            line["saliency"],
            line["setting"].replace(";", ", "),
            with_interval(line["mean"], line["ci_low"], line["ci_high"]),
            cell(line["n"]),
        )
        for line in drops.to_dict("records")
    ]
    return [Table((*heads, "images"), rows, labels=len(heads) - 1)]


def compared_tables(
    compared: pd.DataFrame | None, verdicts: pd.DataFrame, checks: Mapping[str, Check]
) -> list[Table]:
    """Each further model beside the first: what has a verdict, and what is of the model alone."""
    if compared is None or not len(compared):
        return []
    judged = set(zip(verdicts["check"], verdicts["setting"], strict=True))
    heads = ("check", "method", "measured at", "", "difference [95 % CI]", "images")
    tables = []
    for (model, first), own in compared.groupby(["model", "first"], sort=False):
        rows = [
            (
                line["check"],
                line["saliency"] or "–",
                line["setting"].replace(";", ", "),
                _compared(line, checks),
                interval_of(line, "difference"),
                cell(line["n"]),
            )
            for line in own.to_dict("records")
            if not line["saliency"] or (line["check"], line["setting"]) in judged
        ]
        tables.append(Table(heads, rows, labels=4, title=f"{model} minus {first}"))
    return tables


def _compared(line: Mapping[Any, Any], checks: Mapping[str, Check]) -> str:
    """Which way the difference goes, if the interval tells."""
    low, high = line["difference_low"], line["difference_high"]
    if not (is_number(low) and is_number(high)):
        return "no interval"
    if low <= 0 <= high:
        return "no difference shown"
    better = checks[line["check"]].higher_is_better if line["check"] in checks else None
    way = "higher" if low > 0 else "lower"
    return way if better is None else f"{way}: {'better' if better == (low > 0) else 'worse'}"


def _direction(check: str, checks: Mapping[str, Check]) -> str:
    return BETTER[checks[check].higher_is_better] if check in checks else ""


def _chance(known: str) -> str:
    """What a map without information gets, for people, where that is known beforehand.

    >>> _chance("1/classes"), _chance("top"), _chance("0"), _chance("")
    ('1/classes', 'the share set by top', '0', '')
    """
    return f"the share set by {known}" if known.isidentifier() else known
