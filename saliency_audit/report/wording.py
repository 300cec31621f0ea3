"""Numbers and facts as people read them; the same in every report."""

from collections.abc import Callable, Mapping, Sequence
from math import ceil, isfinite
from typing import Any

import pandas as pd

from saliency_audit.report.table import Column, Table, table_of
from saliency_audit.report.tables import cell
from saliency_audit.visible import flat

_MEASURED = ("clean accuracy", "clean accuracy n")


def is_number(value: Any) -> bool:
    """Whether a value is there and finite.

    >>> [is_number(value) for value in (0.5, 3, None, pd.NA, float("nan"))]
    [True, True, False, False, False]
    """
    return value is not None and value is not pd.NA and isfinite(value)


def number(value: Any) -> str:
    """A number as all tables have it, or a dash for what is undefined.

    Three decimals below 1, three digits above, and two digits below 0.001, lest they vanish.

    >>> [number(value) for value in (0.93, 1, 12.345, -1234.5, 0.00012, 1e-7, 0, float("nan"))]
    ['0.930', '1.00', '12.3', '-1234', '0.00012', '1e-07', '0.000', '-']
    """
    if not is_number(value):
        return "-"
    size = abs(value)
    if size >= 1000:
        return f"{value:.4g}"
    digits = ".3f" if 0.001 <= size < 1 or not size else ".2g" if size < 1 else "#.3g"
    return f"{value + 0.0:{digits}}".removesuffix(".")


def share(value: Any) -> str:
    """A share in per cent.

    >>> share(0.5), share(None)
    ('50%', '-')
    """
    return f"{value:.0%}" if is_number(value) else "-"


def with_interval(mean: Any, low: Any, high: Any) -> str:
    """A mean with its 95 % interval, if it has one.

    >>> with_interval(0.5, 0.4, 0.6), with_interval(0.5, float("nan"), float("nan"))
    ('0.500 [0.400, 0.600]', '0.500')
    """
    return f"{number(mean)} {interval(low, high)}".rstrip()


def interval(low: Any, high: Any) -> str:
    """The ends of an interval, or nothing.

    >>> interval(0.4, 0.6), interval(0.4, None)
    ('[0.400, 0.600]', '')
    """
    return f"[{number(low)}, {number(high)}]" if is_number(low) and is_number(high) else ""


def text_in(name: str, absent: str = "") -> Callable[[Mapping[Any, Any]], str]:
    """For a `Column`: the text in a column of a frame, or what stands for none."""
    return lambda line: flat(str(line[name])) or absent


def number_in(name: str) -> Callable[[Mapping[Any, Any]], str]:
    """For a `Column`: the number in a column of a frame."""
    return lambda line: number(line.get(name))


def mean_in(name: str, low: str = "", high: str = "") -> Callable[[Mapping[Any, Any]], str]:
    """For a `Column`: a mean with its interval, by default of ``NAME_low`` and ``NAME_high``.

    >>> mean_in("aim")({"aim": 0.5, "aim_low": 0.4, "aim_high": 0.6})
    '0.500 [0.400, 0.600]'
    """
    ends = low or f"{name}_low", high or f"{name}_high"
    return lambda line: with_interval(line.get(name), *(line.get(end) for end in ends))


def interval_in(name: str) -> Callable[[Mapping[Any, Any]], str]:
    """For a `Column`: the interval of a mean."""
    return lambda line: interval(line.get(f"{name}_low"), line.get(f"{name}_high"))


def settings_in(name: str) -> Callable[[Mapping[Any, Any]], str]:
    """For a `Column`: a setting for people."""
    return lambda line: flat(str(line[name])).replace(";", ", ")


def images_in(line: Mapping[Any, Any]) -> str:
    """For a `Column`: how many images a number is of."""
    return images(line["n"], line.get("n_undefined", 0))


MEAN = mean_in("mean", "ci_low", "ci_high")
"""For a `Column`: the mean of a summary, with its interval."""


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
    parts = [f"{name}: {known[name]}" for name in names if name in known]
    return " · ".join([*parts, *map(told_assumed, filter(None, [known.get("assumptions")]))])


def told_assumed(assumed: str | Sequence[str]) -> str:
    """What decides the numbers and nobody said, beside the answer.

    >>> told_assumed(["mean 0 and std 1", "size 224"])
    'assumed, as nothing says otherwise: mean 0 and std 1, size 224'
    """
    text = assumed if isinstance(assumed, str) else ", ".join(assumed)
    return f"assumed, as nothing says otherwise: {text}"


def facts_table(known: Mapping[str, str]) -> Table:
    """All facts about the run."""
    return Table((), list(known.items()), 2)


def summary_table(summary: pd.DataFrame) -> Table:
    """All of `summarise` but the model, which is the same in every row."""
    columns = [
        *(Column(name, text_in(name)) for name in ("saliency", "scalar", "check")),
        Column("setting", settings_in("setting")),
        Column("images", images_in),
        Column("mean [95 %]", MEAN),
        Column("control", number_in("control")),
        Column("chance", number_in("chance")),
        Column("higher\nis better", lambda line: plain(line["higher_is_better"])),
    ]
    return table_of(summary.to_dict("records"), columns, labels=4)


def rounded(count: float) -> int:
    """To two digits, as what is about right is told.

    >>> rounded(3432), rounded(7)
    (3400, 7)
    """
    whole = round(count)
    return round(whole, -max(0, len(str(whole)) - 2))


def duration(seconds: float) -> str:
    """Roughly.

    >>> [duration(seconds) for seconds in (3, 33, 130, 6000)]
    ['10 s', '40 s', '2 min', '1.7 h']
    """
    if seconds < 90:
        return f"{10 * max(1, ceil(seconds / 10))} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
