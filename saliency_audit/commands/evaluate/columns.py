"""Verdicts in the shape people read them: methods down, metrics across, the controls last."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from saliency_audit.catalogue.methods import CONTROLS
from saliency_audit.setting import parts_of

BETTER = {True: "higher is better", False: "lower is better", None: "neither end is better"}


@dataclass(frozen=True)
class Metric:
    """A metric, at one setting: a column of a table.

    Attributes:
        check: its name.
        option: what tells it from the same metric at another setting, such as ``regions=20``.
        lines: rows of verdicts by method.
    """

    check: str
    option: str = ""
    lines: dict[str, dict[Any, Any]] = field(default_factory=dict)


def columns(verdicts: pd.DataFrame) -> list[Metric]:
    """The metrics of one model, in order of first appearance.

    A method that failed has a reason instead of a setting: it stands in every column of the metric.

    >>> rows = [("a", "aopc", "regions=20;fill=noise"), ("a", "aopc", "regions=50;fill=noise"),
    ...         ("b", "aopc", "reason=no gradient")]
    >>> verdicts = pd.DataFrame(rows, columns=["saliency", "check", "setting"])
    >>> [(column.check, column.option, list(column.lines)) for column in columns(verdicts)]
    [('aopc', 'regions=20', ['a', 'b']), ('aopc', 'regions=50', ['a', 'b'])]
    """
    found = []
    for check, own in verdicts.groupby("check", sort=False) if len(verdicts) else ():
        failed = own["setting"].str.startswith("reason=")
        settings = list(dict.fromkeys(own.loc[~failed, "setting"])) or [""]
        for setting, option in zip(settings, options(settings), strict=True):
            lines = own[failed | (own["setting"] == setting)].to_dict("records")
            found.append(Metric(str(check), option, {line["saliency"]: line for line in lines}))
    return found


def options(settings: Sequence[str]) -> list[str]:
    """Of each setting the pairs that are not in all of them.

    >>> options(["top=5;fill=mean", "top=10;fill=mean"]), options(["steps=32"])
    (['top=5', 'top=10'], [''])
    """
    pairs = [parts_of(setting).items() for setting in settings]
    common = set.intersection(*(set(own) for own in pairs)) if pairs else set()
    return [", ".join(f"{k}={v}" for k, v in own if (k, v) not in common) for own in pairs]


def of_models(summary: pd.DataFrame) -> set[str]:
    """Checks of the models alone, whatever method they explain by: no control has them.

    >>> rows = [("", "accuracy"), ("gradient", "scalar-agreement"), ("random", "aopc")]
    >>> sorted(of_models(pd.DataFrame(rows, columns=["saliency", "check"])))
    ['accuracy', 'scalar-agreement']
    """
    of_maps = set(summary.loc[summary["saliency"].isin(CONTROLS), "check"])
    return set(summary["check"]) - of_maps


def methods(frame: pd.DataFrame) -> list[str]:
    """Saliency methods of a frame, as `controls_last` orders them."""
    return controls_last(frame["saliency"])


def controls_last(names: Iterable[str]) -> list[str]:
    """Names in order of first appearance, the controls last, the empty one left out.

    >>> controls_last(["random", "", "gradient", "gradient"])
    ['gradient', 'random']
    """
    known = dict.fromkeys(name for name in names if name)
    return [
        *(name for name in known if name not in CONTROLS),
        *(name for name in CONTROLS if name in known),
    ]
