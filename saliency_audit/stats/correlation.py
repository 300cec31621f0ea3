"""How two numbers go together over trainings: Pearson's and Spearman's correlation."""

from math import atanh, nan, sqrt, tanh
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

_Z = 1.959963984540054  # 97.5th percentile of the normal distribution
_FEWEST = 4
"""Fisher's z has a variance of 1 / (n - 3)."""


class Correlation(NamedTuple):
    """A correlation in [-1, 1] with its 95 % interval; NaN where there is none."""

    value: float
    low: float
    high: float


def pearson(x: ArrayLike, y: ArrayLike) -> Correlation:
    r"""How near two numbers are to a straight line, with Fisher's interval.

    .. math:: \tanh(\mathrm{artanh}\,r \pm 1.96 / \sqrt{n - 3})

    Source: Fisher 1921. Of fewer than four pairs, or where all lie on a line, there is no interval:
    the formula would claim certainty.

    Args:
        x: ``(n,)``.
        y: ``(n,)``; a pair with a number that is not finite is left out.

    Returns:
        NaN where either is constant.

    >>> pearson([1, 2, 3], [2, 4, 6])
    Correlation(value=1.0, low=nan, high=nan)
    """
    return _correlation(*_both(x, y), ranks=False)


def spearman(x: ArrayLike, y: ArrayLike) -> Correlation:
    r"""How near two numbers are to one order: Pearson's of their ranks, ties at their average.

    .. math:: \tanh(\mathrm{artanh}\,r \pm 1.96 \sqrt{(1 + r^2/2) / (n - 3)})

    Source: Spearman 1904; the interval: Bonett & Wright 2000. Where there is none: as `pearson`.

    Args:
        x: ``(n,)``.
        y: ``(n,)``; a pair with a number that is not finite is left out.

    Returns:
        NaN where either is constant.

    >>> spearman([1, 2, 3, 4, 5], [1, 8, 27, 64, 125]).value
    1.0
    """
    return _correlation(*_both(x, y), ranks=True)


def _both(x: ArrayLike, y: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    a, b = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    known = np.isfinite(a) & np.isfinite(b)
    return a[known], b[known]


def _correlation(a: np.ndarray, b: np.ndarray, *, ranks: bool) -> Correlation:
    n = len(a)
    if n < 2 or a.min() == a.max() or b.min() == b.max():
        return Correlation(nan, nan, nan)
    if ranks:
        a, b = (pd.Series(one).rank().to_numpy() for one in (a, b))
    a, b = ((one - one.mean()) / np.abs(one - one.mean()).max() for one in (a, b))
    r = float((a * b).sum() / sqrt(float((a * a).sum()) * float((b * b).sum())))
    # Round-off leaves 0.9999999999999998 of a straight line.
    if abs(r) > 1 - 1e-12:
        return Correlation(float(np.sign(r)), nan, nan)
    r = r if abs(r) > 1e-12 else 0.0
    if n < _FEWEST:
        return Correlation(r, nan, nan)
    half = _Z * sqrt((1 + r * r / 2 if ranks else 1) / (n - 3))
    return Correlation(r, tanh(atanh(r) - half), tanh(atanh(r) + half))
