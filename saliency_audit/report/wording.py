"""Numbers and facts as people read them; the same in every report."""

from collections.abc import Mapping
from math import isfinite
from typing import Any

import pandas as pd

from saliency_audit.report.table import Table
from saliency_audit.report.tables import cell

_MEASURED = ("clean accuracy", "clean accuracy n")


def is_number(value: Any) -> bool:
    """Whether a value is there and finite.

    >>> [is_number(value) for value in (0.5, 3, None, pd.NA, float("nan"))]
    [True, True, False, False, False]
    """
    return value is not None and value is not pd.NA and isfinite(value)


def number(value: Any, digits: str) -> str:
    """A number in a format, or a dash for what is undefined.

    >>> number(0.12345, ".2f"), number(float("nan"), ".2f")
    ('0.12', '–')
    """
    return f"{value:{digits}}" if is_number(value) else "–"


def with_interval(mean: Any, low: Any, high: Any, *, digits: str = ".3g") -> str:
    """A mean with its 95 % interval, if it has one.

    >>> with_interval(0.5, 0.4, 0.6), with_interval(0.5, float("nan"), float("nan"))
    ('0.5 [0.4, 0.6]', '0.5')
    """
    if not (is_number(mean) and is_number(low) and is_number(high)):
        return number(mean, digits)
    return f"{mean:{digits}} [{low:{digits}}, {high:{digits}}]"


def interval_of(line: Mapping[Any, Any], name: str, *, digits: str = ".3g") -> str:
    """A mean with its interval from the columns of a frame: ``name``, ``name_low``, ``name_high``.

    >>> interval_of({"aim": 0.5, "aim_low": 0.4, "aim_high": 0.6}, "aim")
    '0.5 [0.4, 0.6]'
    """
    return with_interval(*(line.get(name + end) for end in ("", "_low", "_high")), digits=digits)


def fitting_interval(mean: Any, low: Any, high: Any, *, most: int) -> str:
    """A mean with its interval in as many digits, of three at most, as fit.

    >>> fitting_interval(0.123456, 0.1, 0.134567, most=17)
    '0.12 [0.1, 0.13]'
    """
    texts = [with_interval(mean, low, high, digits=digits) for digits in (".3g", ".2g", ".1g")]
    return next((text for text in texts if len(text) <= most), texts[-1])


def described(setting: str, *names: str) -> str:
    """A setting for people, without the name at its beginning if that is one of ``names``.

    >>> described("trick=loss-sine;form=per-class", "trick"), described("stage=before", "trick")
    ('loss-sine (form=per-class)', 'stage=before')
    """
    first, *options = setting.split(";")
    name, _, value = first.partition("=")
    first = value if name in names else first
    return f"{first} ({', '.join(options)})" if options else first


def images(n: Any, undefined: Any) -> str:
    """How many images a number is of.

    >>> images(16, 8), images("3 of 4", 0)
    ('16 (8 undefined)', '3 of 4')
    """
    some = is_number(undefined) and undefined
    return f"{cell(n)} ({cell(undefined)} undefined)" if some else cell(n)


def plain(value: Any) -> str:
    """A value of any kind, numbers to four digits."""
    if isinstance(value, str):
        return value
    return f"{value:.4g}" if isinstance(value, float) and isfinite(value) else cell(value)


def fact(value: Any) -> str:
    r"""A fact about the run, nested ones on lines of their own.

    >>> fact({"mean": [0, 0.5], "layer": None})
    'mean: 0, 0.5\nlayer: not given'
    """
    if isinstance(value, Mapping):
        return "\n".join(f"{name}: {fact(item)}" for name, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(fact, value))
    return "not given" if value is None else plain(value)


def facts(run: Mapping[str, Any]) -> dict[str, str]:
    """Facts about the run, by names without underscores.

    >>> facts({"clean_accuracy": None, "options": {"layer": None}})
    {'clean accuracy': 'not measured', 'options': 'layer: not given'}
    """
    known = {str(name).replace("_", " "): value for name, value in run.items()}
    return {
        name: "not measured" if value is None and name in _MEASURED else fact(value)
        for name, value in known.items()
    }


def subtitle(known: Mapping[str, str]) -> str:
    """What was audited, in a line, from the facts about the run."""
    names = ("model", "data", "clean accuracy")
    return " · ".join(f"{name}: {known[name]}" for name in names if name in known)


def facts_table(known: Mapping[str, str]) -> Table:
    """All facts about the run."""
    return Table((), list(known.items()), 2)


def summary_table(summary: pd.DataFrame) -> Table:
    """All of `summarise` but the model, which is the same in every row."""
    columns = [name for name in summary.columns if name != "model"]
    rows = [[plain(value) for value in row] for row in summary[columns].itertuples(index=False)]
    return Table([name.replace("_", " ") for name in columns], rows, labels=4)
