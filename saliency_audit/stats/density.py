"""What of density profiles is no mean: the median, and the logarithm of the mean ratio."""

import numpy as np
import pandas as pd

from saliency_audit.stats.summary import SUMMARY_COLUMNS, Values, rng_of


def log_mean_exp(values: Values) -> Values:
    """Logarithm of the mean of the exponentials along the last axis, without overflow.

    >>> log_mean_exp(np.array([1000.0, 1000.0])).item()
    1000.0
    """
    top = values.max(-1, keepdims=True)
    means: Values = np.log(np.exp(values - top).mean(-1)) + top[..., 0]
    return means


def density_summary(results: pd.DataFrame, *, resamples: int = 2000, seed: int = 0) -> pd.DataFrame:
    """Median and log-mean-exp of the log-ratios over images, with 95 % bootstrap intervals.

    Args:
        results: rows of ``results.csv``.
        resamples: of the bootstrap.
        seed: of the bootstrap.

    Returns:
        `SUMMARY_COLUMNS`; no rows where no density profile was measured. Source: P0 section 5.1.1,
        which plots the mean ratio.
    """
    measured = results[results["check"] == "density-profile"]
    rows = []
    for (model, setting), group in measured.groupby(["model", "setting"], sort=False):
        values = group.loc[group["status"] == "ok", "value"].to_numpy(float)
        counts = len(values), len(group) - len(values)
        for name, statistic in (("median", _median), ("log-mean", log_mean_exp)):
            check = f"density-profile-{name}"
            low = high = mean = np.nan
            if len(values):
                mean = float(statistic(values))
            if len(values) > 1:
                rng = rng_of(seed, str(model), check, str(setting))
                drawn = values[rng.integers(len(values), size=(resamples, len(values)))]
                low, high = np.quantile(statistic(drawn), (0.025, 0.975))
            rows.append(
                (model, "", "", check, setting, *counts, mean, low, high, np.nan, np.nan, False)
            )
    frame = pd.DataFrame(rows, columns=list(SUMMARY_COLUMNS))
    return frame.astype({"higher_is_better": "boolean"})


def _median(values: Values) -> Values:
    medians: Values = np.median(values, axis=-1)
    return medians
