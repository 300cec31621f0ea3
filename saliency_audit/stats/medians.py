"""What of some checks is no mean: medians, and the logarithm of a mean ratio."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from saliency_audit.stats.groups import Values
from saliency_audit.stats.summary import SUMMARY_COLUMNS, rng_of


def log_mean_exp(values: Values) -> Values:
    """Logarithm of the mean of the exponentials along the last axis, without overflow.

    >>> log_mean_exp(np.array([1000.0, 1000.0])).item()
    1000.0
    """
    top = values.max(-1, keepdims=True)
    means: Values = np.log(np.exp(values - top).mean(-1)) + top[..., 0]
    return means


def _median(values: Values) -> Values:
    medians: Values = np.median(values, axis=-1)
    return medians


_MEDIAN = ("median", _median)
STATISTICS = {
    "density-profile": (_MEDIAN, ("log-mean", log_mean_exp)),
    **dict.fromkeys(
        ("manifold-distance", "manifold-distance-clean", "manifold-distance-noise"), (_MEDIAN,)
    ),
}
"""By check: what is summarised beside the mean, under the check's name and its own."""


def median_summary(
    results: pd.DataFrame,
    *,
    higher_is_better: Mapping[str, bool | None],
    resamples: int = 2000,
    seed: int = 0,
) -> pd.DataFrame:
    """Statistics that are no means, over images, with 95 % bootstrap intervals.

    Args:
        results: rows of ``results.csv``.
        higher_is_better: direction by check; None where neither end is better.
        resamples: of the bootstrap.
        seed: of the bootstrap.

    Returns:
        `SUMMARY_COLUMNS`, the statistic as ``mean``; no rows where none of `STATISTICS` was
        measured. Source: P0 section 5.1.1, which plots the mean ratio; P3 Figure 1.
    """
    measured = results[results["check"].isin(list(STATISTICS))]
    rows = []
    same = ["model", "check", "setting"]
    for (model, of, setting), group in measured.groupby(same, sort=False, observed=True):
        values = group.loc[group["status"] == "ok", "value"].to_numpy(float)
        counts = len(values), len(group) - len(values)
        for name, statistic in STATISTICS[str(of)]:
            check = f"{of}-{name}"
            better = higher_is_better.get(check)
            low = high = mean = np.nan
            if len(values):
                mean = float(statistic(values))
            if len(values) > 1:
                rng = rng_of(seed, str(model), check, str(setting))
                drawn = values[rng.integers(len(values), size=(resamples, len(values)))]
                low, high = np.quantile(statistic(drawn), (0.025, 0.975))
            rows.append(
                (model, "", "", check, setting, *counts, mean, low, high, np.nan, np.nan, better)
            )
    frame = pd.DataFrame(rows, columns=list(SUMMARY_COLUMNS))
    return frame.astype({"higher_is_better": "boolean"})
