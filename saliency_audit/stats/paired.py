"""Two things measured on the same images: a method and the control, a model and the first one."""

from math import nan

import numpy as np
import pandas as pd

from saliency_audit.catalogue.metrics import OF_TRAININGS
from saliency_audit.errors import InputError
from saliency_audit.stats.groups import GROUP, Values, groups
from saliency_audit.stats.summary import interval, rng_of

DIFFERENCE = ("difference", "difference_low", "difference_high", "n")
DROP = "aopc-relative-drop"

_AOPC = "aopc"
_FEWEST_CHANGED = 6
"""With fewer, all of one sign, a sign test finds nothing: 2 / 2**5 is above 5 %."""
_ROUNDING = 5e-6
"""Largest relative error of a value with the six digits of ``results.csv``."""
_DRAWN_AT_ONCE = 1 << 20


def differences(
    results: pd.DataFrame, control: str = "random", *, resamples: int = 2000, seed: int = 0
) -> pd.DataFrame:
    """Each method minus the control on the same images, with 95 % percentile bootstrap intervals.

    An image for which either is undefined is left out; `summarise` counts it. Where fewer than six
    of many images differ, the interval is widened to hold zero.

    Args:
        results: rows of ``results.csv``.
        control: the method to compare with, whatever its scalar.
        resamples: of the bootstrap.
        seed: of the bootstrap; each row draws its own numbers.

    Returns:
        ``model,saliency,scalar,check,setting,difference,difference_low,difference_high,n``; a row
        for whatever was measured of the control as well, NaN where nothing is defined for both.
    """
    values = _by_image(results)
    beside = {
        (model, check, setting): own
        for (model, saliency, _, check, setting), own in values.items()
        if saliency == control
    }
    rows = []
    for key, own in values.items():
        model, saliency, _, check, setting = key
        other = beside.get((model, check, setting))
        if saliency not in ("", control) and other is not None:
            rng = rng_of(seed, "paired", control, *key)
            found = _difference(own, other, resamples, rng, few=key[3] in OF_TRAININGS)
            rows.append((*key, *found))
    return pd.DataFrame(rows, columns=[*GROUP, *DIFFERENCE])


def between_models(results: pd.DataFrame, *, resamples: int = 2000, seed: int = 0) -> pd.DataFrame:
    """Each further model minus the first one on the same images, intervals as in `differences`.

    Args:
        results: rows of ``results.csv``; the first model in it is the one compared with.
        resamples: of the bootstrap.
        seed: of the bootstrap; each row draws its own numbers.

    Returns:
        ``model,first,saliency,scalar,check,setting,difference,difference_low,difference_high,n``;
        a row for whatever was measured of both.
    """
    values = _by_image(results)
    first = next(iter(results["model"]), "")
    rows = []
    for key, own in values.items():
        model, *of = key
        other = values.get((first, *of))
        if model != first and other is not None:
            rng = rng_of(seed, "models", first, *key)
            found = _difference(own, other, resamples, rng, few=key[3] in OF_TRAININGS)
            rows.append((model, first, *of, *found))
    return pd.DataFrame(rows, columns=["model", "first", *GROUP[1:], *DIFFERENCE])


def relative_drop(
    results: pd.DataFrame, base: str, *, resamples: int = 2000, seed: int = 0
) -> pd.DataFrame:
    r"""How much smaller the AOPC of each method is than that of a base method, in per cent.

    .. math:: 100\,\frac{\overline{A}_{base} - \overline{A}_{method}}{\overline{A}_{base}}

    The ratio of the means over the images that both have, with a 95 % percentile bootstrap
    interval over these images. Lower is better, negative is better than the base. A ratio to
    nothing says nothing: NaN where the base's mean is not above 0, and no interval where that
    happens in a resample.

    Source: P1 Table 5.

    Args:
        results: rows of ``results.csv``.
        base: the method to compare with.
        resamples: of the bootstrap.
        seed: of the bootstrap; each row draws its own numbers.

    Returns:
        ``model,saliency,scalar,check,setting,mean,ci_low,ci_high,n,unit``, a row for each method
        but the base; ``unit`` is ``%``.

    Raises:
        InputError: the base was not measured.
    """
    rows_of_aopc = results[results["check"] == _AOPC]
    measured = dict.fromkeys(rows_of_aopc["saliency"])
    if base not in measured:
        raise InputError(
            f"--base {base} was not measured; add --saliency {base} or name one of "
            + ", ".join(measured)
        )
    values = _by_image(rows_of_aopc)
    beside = {
        (model, setting): own
        for (model, saliency, _, _, setting), own in values.items()
        if saliency == base
    }
    rows = []
    for key, own in values.items():
        model, saliency, scalar, _, setting = key
        if saliency != base and (model, setting) in beside:
            both = _paired(own, beside[model, setting])
            found = _ratio(both, resamples, rng_of(seed, "drop", base, *key))
            rows.append((model, saliency, scalar, DROP, setting, *found, len(both), "%"))
    return pd.DataFrame(rows, columns=[*GROUP, "mean", "ci_low", "ci_high", "n", "unit"])


def _by_image(results: pd.DataFrame) -> dict[tuple[str, ...], pd.Series]:
    """Defined values by image, by what was measured; nothing of what failed altogether."""
    measured = (results["check"] != "") & (results["status"] != "error")
    return {key: own.by_image() for key, own in groups(results, where=measured)}


def _paired(a: pd.Series, b: pd.Series) -> Values:
    """``(n, 2)`` values of the images that both have."""
    both: Values = pd.concat([a, b], axis=1, join="inner").to_numpy(float)
    return both


def _difference(
    a: pd.Series, b: pd.Series, resamples: int, rng: np.random.Generator, *, few: bool = False
) -> tuple[float, float, float, int]:
    """Mean, interval and n; where hardly any of many images differs, the interval holds zero."""
    both = _paired(a, b)
    values = both[:, 0] - both[:, 1]
    values[abs(values) <= _ROUNDING * abs(both).max(1)] = 0
    low, high = interval(values, resamples=resamples, rng=rng, few=few)
    same = np.count_nonzero(values) < _FEWEST_CHANGED <= len(values)
    if same or min(abs(low), abs(high)) <= _ROUNDING * abs(both).max(initial=0):
        low, high = min(low, 0.0), max(high, 0.0)
    return (float(values.mean()) if len(values) else nan), low, high, len(values)


def _ratio(both: Values, resamples: int, rng: np.random.Generator) -> tuple[float, float, float]:
    """Relative drop of the first column's mean against the second's, and its interval."""
    n = len(both)
    if not n or not both[:, 1].mean() > 0:
        return nan, nan, nan
    mean = 100 * (1 - both[:, 0].mean() / both[:, 1].mean())
    if n < 2:
        return float(mean), nan, nan
    drawn = []
    step = max(1, _DRAWN_AT_ONCE // n)
    for start in range(0, resamples, step):
        chosen = rng.integers(n, size=(min(step, resamples - start), n), dtype=np.int32)
        drawn.append(both[chosen].mean(1))
    means = np.concatenate(drawn)
    if not (means[:, 1] > 0).all():
        return float(mean), nan, nan
    low, high = np.quantile(100 * (1 - means[:, 0] / means[:, 1]), (0.025, 0.975))
    return float(mean), float(low), float(high)
