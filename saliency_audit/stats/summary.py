"""One row per measured quantity: how many, the mean, how sure, and what it stands beside."""

from collections.abc import Callable, Collection, Hashable, Mapping
from hashlib import sha256
from math import nan, sqrt
from typing import Any

import numpy as np
import pandas as pd

from saliency_audit.catalogue.metrics import OF_TRAININGS, PROPORTIONS
from saliency_audit.stats.groups import GROUP, Values, groups

SUMMARY_COLUMNS = (
    *GROUP,
    "n",
    "n_undefined",
    "mean",
    "ci_low",
    "ci_high",
    "control",
    "chance",
    "higher_is_better",
)

_Z = 1.959963984540054  # 97.5th percentile of the normal distribution
_T = (
    12.7062, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469, 2.3646, 2.306, 2.2622, 2.2281, 2.201, 2.1788,
    2.1604, 2.1448, 2.1314, 2.1199, 2.1098, 2.1009, 2.093, 2.086, 2.0796, 2.0739, 2.0687, 2.0639,
    2.0595, 2.0555, 2.0518, 2.0484, 2.0452, 2.0423,
)  # fmt: skip
"""97.5th percentiles of Student's distribution, from one degree of freedom on."""
_DRAWN_AT_ONCE = 1 << 20
_MANY = 5000
"""Values from which on the normal interval takes over: no different by then, and far quicker."""


def summarise(
    results: pd.DataFrame,
    *,
    higher_is_better: Mapping[str, bool | None],
    chance: Mapping[Any, float] | None = None,
    control: str = "random",
    controls: Mapping[tuple[str, str], str] | None = None,
    proportions: Collection[str] = PROPORTIONS,
    resamples: int = 2000,
    seed: int = 0,
) -> pd.DataFrame:
    """Mean of every check with its 95 % interval, its control and its chance level.

    The interval is a percentile bootstrap over images; over trainings, of which there are few,
    it is Student's. Checks that are 0 or 1 for each image get
    the Wilson score interval: resampling n ones yields n ones however small n is, which would
    claim certainty. With a single image there is no interval (Wilson's needs no spread and stays).

    Rows whose status is not ok, or whose value is not finite, are counted and not averaged. Rows
    without a check (images that could not be read) measured nothing and are left out.

    Args:
        results: rows of ``results.csv``.
        higher_is_better: direction by check; None where neither end is better.
        chance: value by check, or by check and setting, that a map without information would get.
        control: saliency method beside which the others stand, on the same images.
        controls: by check and setting, another setting of the same method beside which it stands
            instead, such as noise beside an attack.
        proportions: checks that are 0 or 1 for each image.
        resamples: of the bootstrap.
        seed: of the bootstrap. Each row draws its own numbers: adding rows moves no others.

    Returns:
        ``SUMMARY_COLUMNS``, in order of first appearance. ``mean`` is NaN where n is 0.
    """
    known: Mapping[Any, float] = chance or {}
    beside_of = _controls(results, control, controls)
    rows = []
    for key, own in groups(results, where=results["check"] != ""):
        model, saliency, scalar, check, setting = key
        values = own.values[own.usable]
        low, high = interval(
            values,
            proportion=check in proportions,
            few=check in OF_TRAININGS,
            resamples=resamples,
            rng=rng_of(seed, *key),
        )
        beside = beside_of(model, saliency, scalar, check, setting)
        rows.append(
            (
                *key,
                len(values),
                len(own.values) - len(values),
                values.mean() if len(values) else nan,
                low,
                high,
                nan if beside is None else beside[beside.index.isin(own.images[own.usable])].mean(),
                known.get((check, setting), known.get(check, nan)),
                higher_is_better.get(check),
            )
        )
    return pd.DataFrame(rows, columns=list(SUMMARY_COLUMNS)).astype({"higher_is_better": "boolean"})


def _controls(
    results: pd.DataFrame, control: str, controls: Mapping[tuple[str, str], str] | None
) -> Callable[..., pd.Series | None]:
    """What gives the control's values by image for a row: model, saliency, scalar, check, setting.

    Args:
        results: rows of ``results.csv``.
        control: the saliency method that is one.
        controls: the settings that are one, instead; see `summarise`.
    """
    if controls is None:
        columns: tuple[str, ...] = ("model", "check", "setting")
        chosen = results["saliency"] == control
    else:
        columns = GROUP
        chosen = results["setting"].isin(set(controls.values()))
    chosen &= results["check"] != ""
    known: dict[tuple[str | None, ...], pd.Series] = {
        key: own.by_image() for key, own in groups(results, columns, where=chosen)
    }

    def beside(
        model: str, saliency: str, scalar: str, check: str, setting: str
    ) -> pd.Series | None:
        if controls is None:
            return None if saliency in ("", control) else known.get((model, check, setting))
        other = controls.get((check, setting))
        # What was measured of the noise itself explains no scalar.
        found = known.get((model, saliency, scalar, check, other))
        return known.get((model, saliency, "", check, other)) if found is None else found

    return beside


def interval(
    values: Values,
    *,
    rng: np.random.Generator,
    proportion: bool = False,
    few: bool = False,
    resamples: int = 2000,
) -> tuple[float, float]:
    """95 % interval of a mean: Wilson's for proportions, else a percentile bootstrap.

    Of more than 5,000 values it is the normal interval, which the bootstrap has become by then.

    Args:
        values: ``(n,)``, finite.
        rng: draws the resamples.
        proportion: the values are 0 or 1; ignored where one is not.
        few: there are too few values to draw from them again: Student's interval.
        resamples: of the bootstrap.

    Returns:
        Low and high end; NaN for too few values.

    >>> interval(np.ones(10), rng=np.random.default_rng(0))
    (1.0, 1.0)
    """
    if proportion and len(values) and np.isin(values, (0.0, 1.0)).all():
        return wilson_interval(int(values.sum()), len(values))
    if len(values) < 2:
        return nan, nan
    if values.min() == values.max():
        return float(values[0]), float(values[0])
    if few or len(values) > _MANY:
        wide = student(len(values)) if few else _Z
        mean, spread = values.mean(), wide * values.std(ddof=1) / sqrt(len(values))
        return float(mean - spread), float(mean + spread)
    means = np.empty(resamples)
    step = max(1, _DRAWN_AT_ONCE // len(values))
    for start in range(0, resamples, step):
        drawn = rng.integers(
            len(values), size=(min(step, resamples - start), len(values)), dtype=np.int32
        )
        means[start : start + step] = values[drawn].mean(1)
    low, high = np.quantile(means, (0.025, 0.975))
    return float(low), float(high)


def student(n: int) -> float:
    """97.5th percentile of Student's distribution for the mean of n values, from two on.

    Beyond 31 values it is the normal distribution's, at most 4 % less.

    >>> student(2), student(1000)
    (12.7062, 1.959963984540054)
    """
    return _T[n - 2] if n < len(_T) + 2 else _Z


def wilson_interval(successes: int, n: int) -> tuple[float, float]:
    r"""Wilson's 95 % score interval of a proportion (Wilson 1927).

    .. math:: \frac{\hat p + z^2/2n \pm z\sqrt{\hat p(1-\hat p)/n + z^2/4n^2}}{1 + z^2/n}

    Args:
        successes: how many of the n.
        n: at least 1.

    >>> low, high = wilson_interval(10, 10)
    >>> round(low, 4), high
    (0.7225, 1.0)
    """
    rate, z2 = successes / n, _Z**2
    centre = rate + z2 / (2 * n)
    spread = _Z * sqrt(rate * (1 - rate) / n + z2 / (4 * n * n))
    low, high = (centre - spread) / (1 + z2 / n), (centre + spread) / (1 + z2 / n)
    # Exact at the ends, where round-off would leave 1e-17 or 1 - 1e-16.
    return (0.0 if successes == 0 else low), (1.0 if successes == n else high)


def rng_of(seed: int, *key: Hashable) -> np.random.Generator:
    """Random numbers that depend on the seed and the row, and on nothing else."""
    digest = sha256("\0".join(map(str, (seed, *key))).encode("utf-8", "backslashreplace")).digest()
    return np.random.default_rng(int.from_bytes(digest, "big"))
