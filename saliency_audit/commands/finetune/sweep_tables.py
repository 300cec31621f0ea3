"""The numbers of a sweep: a row for each training and check, trends, the sentence and its table."""

from collections.abc import Mapping, Sequence
from functools import partial
from math import nan
from pathlib import Path
from typing import Any

import pandas as pd

from saliency_audit.catalogue.methods import CONTROLS
from saliency_audit.commands.finetune.grid import Grid, Point, as_text
from saliency_audit.commands.finetune.tables import budget_of
from saliency_audit.errors import AuditError
from saliency_audit.report.table import Cell, Column, Table, table_of
from saliency_audit.report.wording import is_number, mean_in, number, text_in
from saliency_audit.stats.correlation import pearson, spearman

KEY = ["check", "saliency", "setting"]
"""What one number of a training is of."""
NUMBERS = ["mean", "ci_low", "ci_high", "n", "before"]
FEWEST = 5
"""With fewer trainings a trend is not told from chance: 2 of the 24 orders of four are perfect."""
_AFTER = {"after": "mean", "after_low": "ci_low", "after_high": "ci_high"}


def measured(folder: Path, wanted: Grid, failed: Mapping[str, str]) -> pd.DataFrame:
    """A row for each training, check, method and setting.

    Args:
        folder: of all points.
        wanted: the trainings.
        failed: names of those that have no numbers.

    Returns:
        The swept options, ``seed``, `KEY` and `NUMBERS`: the mean of the trained model over images
        (of ``anew`` over trainings anew) with its 95 % interval, of how many, and that of the model
        before, NaN where there is none.

    Raises:
        AuditError: the tables of a training are not there any more.
    """
    rows = []
    for point in wanted.points:
        if point.name in failed:
            continue
        try:
            for line in _lines(folder / point.name, wanted.anew):
                rows.append({**_written(point), "seed": point.seed, **line})
        except FileNotFoundError as error:
            raise AuditError(
                f"'{error.filename}' is not there any more; drop --resume to train again"
            ) from error
    return pd.DataFrame(rows, columns=[*wanted.options, "seed", *KEY, *NUMBERS])


def _written(point: Point) -> dict[str, Any]:
    """Values as tables have them: numbers as they are."""
    return {
        name: as_text(value) if isinstance(value, bool) else value
        for name, value in point.values.items()
    }


def _lines(folder: Path, anew: Sequence[str]) -> list[dict[str, Any]]:
    """What a training has of each check."""
    verdicts = _read(folder / "verdicts.csv").rename(columns=_AFTER)
    found = [verdicts[verdicts["check"] != ""][[*KEY, *NUMBERS]]]
    if anew:
        summary = _read(folder / "evaluate" / "summary.csv").assign(before=nan)
        own = summary["check"].isin(anew) & ~summary["saliency"].isin(CONTROLS)
        found.append(summary[own][[*KEY, *NUMBERS]])
    return [
        {str(name): value for name, value in line.items()}
        for one in found
        for line in one.to_dict("records")
    ]


def _read(path: Path) -> pd.DataFrame:
    frame = pd.read_csv(path, keep_default_na=False, dtype=str)
    for name in {*NUMBERS, *_AFTER} & set(frame.columns):
        frame[name] = pd.to_numeric(frame[name], errors="coerce")
    return frame


def shared(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of what all trainings that did not fail have: budgets of one point are left out."""
    trainings = len(table.drop(columns=[*KEY, *NUMBERS]).drop_duplicates())
    counted = table.groupby(KEY)["mean"].transform("size")
    return table[counted == trainings]


def called(key: Sequence[str], table: pd.DataFrame) -> str:
    """What one number of a training is called: its check, and of what where there are several.

    Args:
        key: check, method and setting.
        table: of `shared`, for what else there is.
    """
    check, saliency, setting = key
    same = table[table["check"] == check]
    name = check
    if same["saliency"].nunique() > 1:
        name += f" of {saliency}"
    if same["setting"].nunique() > 1 and (budget := budget_of({"setting": setting})):
        name += f" at {budget}"
    return name


def correlations(table: pd.DataFrame, numeric: Sequence[str]) -> pd.DataFrame:
    """Each check's mean against each numeric option and against the accuracy, over trainings.

    Args:
        table: of `measured`.
        numeric: swept options that are numbers; of several, each over all values of the others.

    Returns:
        `KEY`, ``against,pearson,pearson_low,pearson_high,spearman,spearman_low,spearman_high,n``;
        intervals and when there are none: `pearson`, `spearman`. n is the number of trainings.
    """
    own = [name for name in table.columns if name not in (*KEY, *NUMBERS)]
    of_accuracy = table[table["check"] == "accuracy"].set_index(own)["mean"]
    rows = []
    for key, lines in shared(table).groupby(KEY, sort=False):
        accuracy = of_accuracy.reindex(pd.MultiIndex.from_frame(lines[own])).to_numpy(float)
        against = {name: lines[name].to_numpy(float) for name in numeric}
        for name, x in (against | ({} if key[0] == "accuracy" else {"accuracy": accuracy})).items():
            y = lines["mean"].to_numpy(float)
            n = int((~(pd.isna(x) | pd.isna(y))).sum())
            rows.append((*key, name, *pearson(x, y), *spearman(x, y), n))
    ends = [f"{kind}{end}" for kind in ("pearson", "spearman") for end in ("", "_low", "_high")]
    return pd.DataFrame(rows, columns=[*KEY, "against", *ends, "n"])


def trend(line: Mapping[Any, Any]) -> int:
    """1 where a check rises, -1 where it falls, 0 where neither is shown.

    Shown: of at least five trainings the interval of Spearman's correlation excludes 0, or all are
    in one order.

    >>> trend({"n": 6, "spearman": 1.0, "spearman_low": nan, "spearman_high": nan})
    1
    >>> trend({"n": 6, "spearman": 0.4, "spearman_low": -0.2, "spearman_high": 0.8})
    0
    """
    value, low, high = (line[f"spearman{end}"] for end in ("", "_low", "_high"))
    if line["n"] < FEWEST or not is_number(value):
        return 0
    apart = low > 0 or high < 0 if is_number(low) else abs(value) == 1
    return (1 if value > 0 else -1) if apart else 0


def sentence(
    table: pd.DataFrame,
    found: pd.DataFrame,
    wanted: Grid,
    *,
    objective: str,
    failed: Mapping[str, str],
) -> str:
    """The answer: what rises and what falls as each numeric option grows.

    Args:
        table: of `measured`.
        found: of `correlations`.
        wanted: the trainings.
        objective: that was trained for.
        failed: trainings without numbers, and why.
    """
    same = shared(table)
    done = len(wanted.points) - len(failed)
    said = [f"{objective}, {done} trainings"]
    for option in wanted.numeric:
        values = sorted({point.values[option] for point in wanted.points})
        if len(values) < 2:
            continue
        told: dict[int, list[str]] = {1: [], -1: [], 0: []}
        lines = found[found["against"] == option].to_dict("records")
        for line in lines:
            key = [line[name] for name in KEY]
            name = called(key, same)
            ends = _ends(same, key, option)
            told[trend(line)].append(name if trend(line) == 0 and done >= FEWEST else name + ends)
        grows = f"as {option} grows from {as_text(values[0])} to {as_text(values[-1])}"
        if done < FEWEST:
            said.append(
                f"{grows}: {', '.join(told[0])}; {FEWEST} trainings are the fewest that can show "
                "a trend"
            )
            continue
        parts = [
            f"{word} {', '.join(told[way])}"
            for way, word in ((1, "higher:"), (-1, "lower:"), (0, "no trend shown for"))
            if told[way]
        ]
        said.append(f"{grows}, {'; '.join(parts)}")
    if len(said) == 1:
        accuracy = same[same["check"] == "accuracy"]["mean"]
        ends = f"{number(accuracy.min())} to {number(accuracy.max())}"
        said.append(f"accuracy {ends}, no number was swept" if len(accuracy) else "no accuracy")
    if failed:
        count = f"{len(failed)} of {len(wanted.points)} trainings failed"
        said.append(f"{count}, the first ({next(iter(failed))}): {next(iter(failed.values()))}")
    return ". ".join(part[0].upper() + part[1:] if i else part for i, part in enumerate(said)) + "."


def _ends(table: pd.DataFrame, key: Sequence[str], option: str) -> str:
    """The means at the lowest and the highest value of an option."""
    lines = table[(table[KEY] == list(key)).all(axis=1)]
    means = lines.groupby(option)["mean"].mean().sort_index()
    return f" {number(means.iloc[0])} to {number(means.iloc[-1])}"


def points_table(table: pd.DataFrame, wanted: Grid) -> Table:
    """A row for each combination of the swept options, means over its seeds; first those before.

    Args:
        table: of `measured`.
        wanted: the trainings.
    """
    same, options = shared(table), list(wanted.options)
    keys = [tuple(key) for key in same[KEY].drop_duplicates().itertuples(index=False)]
    heads = [called(key, same).replace("-", "\n").replace(" of ", "\nof ") for key in keys]
    rows: list[Sequence[Cell]] = []
    means = same.groupby(KEY, sort=False)["before"].mean()
    if means.notna().any():
        rows.append(["before", *[""] * (len(options) - 1), *(number(means[key]) for key in keys)])
    for values, lines in _combinations(same, wanted):
        by_key = lines.groupby(KEY)["mean"].mean()
        cells = [number(by_key[key]) if key in by_key else "failed" for key in keys]
        rows.append([*map(as_text, values), *cells])
    return Table([*options, *heads], rows, labels=len(options))


def _combinations(table: pd.DataFrame, wanted: Grid) -> list[tuple[tuple[Any, ...], pd.DataFrame]]:
    """The values of each combination, with the rows of its trainings."""
    found = []
    for values in dict.fromkeys(tuple(_written(point).values()) for point in wanted.points):
        own = (table[list(wanted.options)] == list(values)).all(axis=1)
        found.append((values, table[own]))
    return found


def heat_table(table: pd.DataFrame, key: Sequence[str], options: Sequence[str]) -> Table:
    """The means of a check over two numeric options: rows the first, columns the second.

    Args:
        table: of `measured`.
        key: check, method and setting.
        options: two of its columns; over all else the mean is taken.
    """
    first, second = options
    lines = table[(table[KEY] == list(key)).all(axis=1)]
    means = lines.groupby([first, second])["mean"].mean()
    across = sorted(lines[second].unique())
    return Table(
        [f"{first} \\ {second}", *map(as_text, map(float, across))],
        [
            [as_text(float(a)), *(number(means.get((a, b), nan)) for b in across)]
            for a in sorted(lines[first].unique())
        ],
    )


def correlation_table(found: pd.DataFrame, table: pd.DataFrame) -> Table:
    """All correlations with their intervals."""
    same = shared(table)
    columns = [
        Column("", lambda line: called([line[name] for name in KEY], same)),
        Column("against", text_in("against")),
        Column("Spearman [95 %]", mean_in("spearman")),
        Column("Pearson [95 %]", mean_in("pearson")),
        Column("trainings", lambda line: str(line["n"])),
    ]
    return table_of(found.to_dict("records"), columns, labels=2)


def _text_of(name: str, line: Mapping[Any, Any]) -> str:
    return as_text(line[name])


def every_table(table: pd.DataFrame, wanted: Grid) -> Table:
    """All numbers, a row a training and check."""
    columns = [
        *(Column(name, partial(_text_of, name)) for name in wanted.options),
        Column("seed", lambda line: str(line["seed"])),
        Column("check", text_in("check")),
        Column("saliency", text_in("saliency")),
        Column("setting", text_in("setting")),
        Column("mean [95 %]", mean_in("mean", "ci_low", "ci_high")),
        Column("n", lambda line: number(line["n"]) if pd.isna(line["n"]) else f"{line['n']:.0f}"),
    ]
    return table_of(table.to_dict("records"), columns, labels=len(wanted.options) + 4)
