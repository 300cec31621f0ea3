"""The tables of ``evaluate``, for the terminal, the page and the picture.

Each of those that are a list is empty where nothing was measured for it.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from saliency_audit.catalogue.entries import Check
from saliency_audit.catalogue.methods import CONTROLS
from saliency_audit.catalogue.metrics import METRICS, OF_TRAININGS
from saliency_audit.commands.evaluate.columns import (
    BETTER,
    Metric,
    columns,
    methods,
    of_models,
)
from saliency_audit.report.table import RULE, Cell, Column, Table, beside, table_of, verdict
from saliency_audit.report.wording import (
    MEAN,
    images_in,
    is_number,
    mean_in,
    number,
    number_in,
    settings_in,
    text_in,
)
from saliency_audit.setting import parts_of
from saliency_audit.visible import flat

_SHORT = {"better than random": "better", "not distinguishable": "as random"}
_HEAD = 16  # characters of a line of a heading


def told(verdicts: pd.DataFrame, checks: Mapping[str, Check]) -> list[str]:
    """Which end of each metric is better, and what the words of `verdict_tables` compare."""
    measured = list(dict.fromkeys(verdicts["check"]))
    if not measured:
        return []
    ends = {
        words: [
            name for name in measured if name in checks and checks[name].higher_is_better is better
        ]
        for better, words in BETTER.items()
    }
    return [
        "; ".join(f"{', '.join(names)}: {words}" for words, names in ends.items() if names),
        f"better, as random, worse: compared with the random map {_paired(measured)}"
        + "".join(
            f"; {name}: {METRICS[name].says[0]} if "
            f"{'above' if METRICS[name].checks[name].higher_is_better else 'below'} 0.5, else not "
            "shown to"
            for name in measured
            if _by_half(name)
        ),
    ]


def _paired(checks: Sequence[str]) -> str:
    """What a method has in common with the random map."""
    kinds = dict.fromkeys(
        "in trainings from the same weights" if check in OF_TRAININGS else "on the same images"
        for check in checks
    )
    return " and ".join(kinds)


def _by_half(check: str) -> bool:
    """Whether it is compared with one half and not with the random map."""
    return check in METRICS and METRICS[check].verdict == "half"


def verdict_tables(verdicts: pd.DataFrame) -> list[Table]:
    """A table for each model: every method's mean of each metric with the word for it.

    Methods go down, the controls last; metrics go across.

    Args:
        verdicts: of the run.
    """
    several = verdicts["model"].nunique() > 1
    return [
        _verdict_table(methods(own), columns(own), title=flat(str(model)) if several else "")
        for model, own in (verdicts.groupby("model", sort=False) if len(verdicts) else ())
    ]


def _verdict_table(names: Sequence[str], found: Sequence[Metric], *, title: str) -> Table:
    widths = [max(len(number(line["mean"])) for line in metric.lines.values()) for metric in found]
    rows: list[Sequence[Cell]] = []
    for i, name in enumerate(names):
        if name in CONTROLS and i and names[i - 1] not in CONTROLS:
            rows.append(RULE)
        lines = [metric.lines.get(name) for metric in found]
        rows.append((flat(name), *map(_cell, lines, widths)))
    return Table(["", *map(_head, found)], rows, title=title)


def _cell(line: Mapping[Any, Any] | None, width: int) -> Cell:
    if line is None:
        return ""
    mean, word = f"{number(line['mean']):<{width}}", str(line["verdict"])
    words = _SHORT
    if _by_half(line["check"]):
        shown = METRICS[line["check"]].says[0].partition(" ")[0]
        words = {"better than random": shown, "not distinguishable": "not shown"}
    short = words.get(word, word)
    if short in ("better", "worse") and is_number(line["difference"]):
        short += f" by {number(abs(line['difference']))}"
    return (mean, " ", verdict(word, short), beside(line)) if word else mean + beside(line)


def _head(metric: Metric) -> str:
    """A metric's name in lines of at most the width of a cell, and its option."""
    lines = [""]
    for part in metric.check.replace("-", "-\n").split("\n"):
        if len(lines[-1]) + len(part) > _HEAD:
            lines.append("")
        lines[-1] += part
    return "\n".join([*lines, *([metric.option] if metric.option else [])])


def detail_tables(verdicts: pd.DataFrame, checks: Mapping[str, Check]) -> list[Table]:
    """A table for each metric and model: every method beside the controls, with intervals."""
    shown = [
        Column("method", text_in("saliency")),
        Column(
            "verdict",
            lambda line: (verdict(word), beside(line)) if (word := line["verdict"]) else "control",
        ),
        Column("mean [95 %]", MEAN),
        Column("random", number_in("random")),
        Column("sobel", number_in("sobel")),
        Column("difference to\nrandom [95 %]", mean_in("difference")),
        Column("images", images_in),
    ]
    several = verdicts["model"].nunique() > 1
    return [
        table_of(
            [metric.lines[name] for name in methods(own) if name in metric.lines],
            shown,
            labels=2,
            title=(f"{model}, " if several else "")
            + metric.check
            + (f" ({metric.option})" if metric.option else "")
            + f": {_direction(metric.check, checks)}",
        )
        for model, own in (verdicts.groupby("model", sort=False) if len(verdicts) else ())
        for metric in columns(own)
    ]


def others_table(
    lines: Iterable[Mapping[Any, Any]], checks: Mapping[str, Check], *, several: bool
) -> list[Table]:
    """What has no verdict.

    Args:
        lines: of a summary `with_reasons`; those of the models alone have no ``saliency``.
        checks: for the direction.
        several: models, named then.
    """
    lines = list(lines)
    names = ["model"] * several + ["check", "saliency"]
    shown = [
        Column("no verdict", lambda line: flat(" × ".join(line[n] for n in names if line[n]))),
        Column(
            "mean [95 %]",
            lambda line: (MEAN(line) if line["n"] else verdict("undefined"), beside(line)),
        ),
        Column("images", images_in),
        Column("measured at", settings_in("setting")),
        Column("direction", lambda line: _direction(line["check"], checks), extra=True),
        Column("chance", number_in("chance"), extra=True),
    ]
    if not any(line["setting"] for line in lines):
        del shown[3]
    return [table_of(lines, shown)] if lines else []


def of_model(summary: pd.DataFrame) -> pd.DataFrame:
    """What of a summary was measured of the models alone."""
    alone = (summary["saliency"] == "") | summary["check"].isin(of_models(summary))
    own = summary[alone & ~summary["setting"].str.startswith("reason=")]
    return own.assign(saliency="")


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
            or ("see random" if name in of_maps and check.higher_is_better is not None else "-"),
            check.source,
        )
        for name, check in checks.items()
        if name in measured
    ]
    heads = ("check", "what it is", "direction", "without information", "source")
    return [Table(heads, rows, labels=5)] if rows else []


def failure_tables(summary: pd.DataFrame) -> list[Table]:
    """What failed, and why."""
    failed = summary[summary["setting"].str.startswith("reason=")].to_dict("records")
    shown = [
        Column("metric", text_in("check")),
        Column("of", text_in("saliency", "the model")),
        Column("model", text_in("model")),
        Column("reason", lambda line: parts_of(line["setting"])["reason"]),
        Column("images", text_in("n_undefined")),
    ]
    return [table_of(failed, shown, labels=4)] if failed else []


def drop_tables(drops: pd.DataFrame | None) -> list[Table]:
    """How much smaller the AOPC of each method is than the base's."""
    if drops is None or not len(drops):
        return []
    shown = [
        *[Column("model", text_in("model"))] * (drops["model"].nunique() > 1),
        Column("method", text_in("saliency")),
        Column("measured at", settings_in("setting")),
        Column("drop in % [95 %]", MEAN),
        Column("images", text_in("n")),
    ]
    return [table_of(drops.to_dict("records"), shown, labels=len(shown) - 2)]


def compared_tables(
    compared: pd.DataFrame | None, verdicts: pd.DataFrame, checks: Mapping[str, Check]
) -> list[Table]:
    """Each further model beside the first: what has a verdict, and what is of the model alone."""
    if compared is None or not len(compared):
        return []
    judged = set(zip(verdicts["check"], verdicts["setting"], strict=True))
    shown = [
        Column("check", text_in("check")),
        Column("method", text_in("saliency", "-")),
        Column("measured at", settings_in("setting")),
        Column("", lambda line: _compared(line, checks)),
        Column("difference [95 %]", mean_in("difference")),
        Column("images", text_in("n")),
    ]
    return [
        table_of(
            [
                line
                for line in own.to_dict("records")
                if not line["saliency"] or (line["check"], line["setting"]) in judged
            ],
            shown,
            labels=4,
            title=f"{model} minus {first}",
        )
        for (model, first), own in compared.groupby(["model", "first"], sort=False)
    ]


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
