"""A distribution drawn smooth."""

from math import pi, sqrt

import numpy as np

from saliency_audit.stats.groups import Values

_AT_ONCE = 1 << 22


def kernel_density(values: Values, at: Values) -> Values:
    r"""Density of values, by Gaussian kernels of Scott's width, :math:`s\,n^{-1/5}`.

    Args:
        values: ``(n,)``, finite, at least one.
        at: ``(m,)``, where it is asked for.

    Returns:
        ``(m,)``, >= 0. Of values that are all the same, a bell a thousandth of their range of
        points wide, as there is no width. Source: Scott 1992.

    >>> kernel_density(np.array([0.0, 2.0]), np.array([1.0])).round(3).tolist()
    [0.233]
    """
    spread = values.std(ddof=1) if len(values) > 1 else 0.0
    width = spread * len(values) ** -0.2 or max(float(np.ptp(at)) / 1000, 1e-12)
    heights = np.zeros(len(at))
    for part in np.array_split(values, max(1, len(values) * len(at) // _AT_ONCE)):
        heights += np.exp(-(((at[:, None] - part) / width) ** 2) / 2).sum(1)
    return heights / (len(values) * width * sqrt(2 * pi))
