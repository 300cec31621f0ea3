"""Whether our number bears out what a paper says, judged by its interval and nothing else."""

from collections.abc import Iterable, Mapping
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd

from saliency_audit.stats.groups import Values
from saliency_audit.stats.summary import interval

Verdict = Literal["agrees", "not shown", "contradicts"]

CLAIM_COLUMNS = ("experiment", "claim", "paper", "ours", "ci_low", "ci_high", "n", "verdict")


class Measured(NamedTuple):
    """A mean with its 95 % interval.

    Attributes:
        mean: in the unit of what was measured.
        low: end of the interval; NaN if there is none.
        high: its other end.
        n: values that it is the mean of.
    """

    mean: float
    low: float
    high: float
    n: int


def over_images(values: Iterable[float], *, seed: int = 0) -> Measured:
    """Mean over images with a percentile bootstrap interval.

    >>> over_images([1.0, 1.0, 1.0])
    Measured(mean=1.0, low=1.0, high=1.0, n=3)
    """
    return _mean(np.array(list(values), float), few=False, seed=seed)


def over_trainings(values: Iterable[float]) -> Measured:
    """Mean over trainings, of which there are few, with Student's interval.

    >>> middle, low, high, n = over_trainings([1.0, 2.0, 3.0])
    >>> middle, round(low, 3), round(high, 3), n
    (2.0, -0.484, 4.484, 3)
    """
    return _mean(np.array(list(values), float), few=True, seed=0)


def verdict(low: float, high: float) -> Verdict:
    """What an interval says of a claim that holds where the number is above zero.

    An interval that touches zero, or that does not exist (NaN), shows nothing.

    >>> verdict(0.1, 0.2), verdict(-0.1, 0.2), verdict(-0.2, -0.1)
    ('agrees', 'not shown', 'contradicts')
    """
    if low > 0:
        return "agrees"
    return "contradicts" if high < 0 else "not shown"


def claims_table(
    experiment: str, claims: Iterable[tuple[str, float | None, Measured]]
) -> pd.DataFrame:
    """One row for each claim of a paper, with our number and the verdict.

    Args:
        experiment: of which these are the claims, such as the figure's number.
        claims: what the paper says; its number, None where it prints none; ours, counted so that
            it is above zero where the claim holds (a difference, a correlation times its sign).

    Returns:
        ``experiment,claim,paper,ours,ci_low,ci_high,n,verdict``.
    """
    rows = [
        (experiment, claim, np.nan if paper is None else paper, *ours, verdict(ours.low, ours.high))
        for claim, paper, ours in claims
    ]
    return pd.DataFrame(rows, columns=list(CLAIM_COLUMNS))


def claims_markdown(table: pd.DataFrame) -> str:
    """Rows of `claims_table` as a Markdown table."""
    lines = ["| claim | paper | ours [95 %] | n | verdict |", "|---|---|---|---|---|"]
    for line in table.to_dict("records"):
        lines.append(f"| {line['claim']} | {' | '.join(claim_cells(line))} |")
    return "\n".join(lines)


def claim_cells(line: Mapping[Any, Any]) -> list[str]:
    """The paper's number, ours with its interval, n and the verdict, to three digits.

    >>> claim_cells({"paper": np.nan, "ours": 0.5, "ci_low": 0.25, "ci_high": 1, "n": 3,
    ...              "verdict": "agrees"})
    ['', '0.5 [0.25, 1]', '3', 'agrees']
    """
    paper, ours, low, high = (line[name] for name in ("paper", "ours", "ci_low", "ci_high"))
    ends = "" if np.isnan(low) else f" [{low:.3g}, {high:.3g}]"
    theirs = "" if np.isnan(paper) else f"{paper:.3g}"
    return [theirs, f"{ours:.3g}{ends}", str(line["n"]), line["verdict"]]


def _mean(values: Values, *, few: bool, seed: int) -> Measured:
    low, high = interval(values, rng=np.random.default_rng(seed), few=few)
    return Measured(float(values.mean()), low, high, len(values))
