"""Rows that measured the same thing, found without a copy of the table they are in."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

GROUP = ("model", "saliency", "scalar", "check", "setting")
"""Columns that say what was measured."""

_AT_ONCE = 1 << 16

Values = np.ndarray[tuple[int, ...], np.dtype[np.float64]]
_Numbers = np.ndarray[tuple[int, ...], np.dtype[np.integer[Any]]]
_Flags = np.ndarray[tuple[int, ...], np.dtype[np.bool_]]


class Rows(NamedTuple):
    """What some rows hold, in their order.

    Attributes:
        images: ``(n,)``, for each the place of its image among those of the table, in alphabetical
            order.
        values: ``(n,)``.
        usable: ``(n,)``, whether the status is ok and the value finite.
    """

    images: _Numbers
    values: Values
    usable: _Flags

    def by_image(self) -> "pd.Series[float]":
        """Mean of the usable values of each image that has one, in the order of the images."""
        usable = self.usable
        means: pd.Series[float] = pd.Series(self.values[usable]).groupby(self.images[usable]).mean()
        return means


def groups(
    results: pd.DataFrame, by: Sequence[str] = GROUP, *, where: "pd.Series[bool]"
) -> Iterator[tuple[tuple[str, ...], Rows]]:
    """Rows by what was measured, in order of first appearance.

    Args:
        results: rows of ``results.csv``.
        by: columns that say what was measured.
        where: which rows are looked at.

    Yields:
        What stands in the columns, and the rows where it does.

    >>> frame = pd.DataFrame({"image": ["b", "a"], "check": "ssim", "value": 0.5, "status": "ok"})
    >>> [(key, own.images.tolist()) for key, own in groups(frame, ["check"], where=frame.value > 0)]
    [(('ssim',), [1, 0])]
    """
    found: dict[tuple[str, ...], list[Rows]] = {}
    images = results["image"].astype("category").cat.codes.to_numpy()
    for start in range(0, len(results), _AT_ONCE):
        few = slice(start, start + _AT_ONCE)
        wanted = where.iloc[few].to_numpy()
        part = results.iloc[few][wanted]
        if part.empty:
            continue
        values = part["value"].to_numpy(float)
        usable = (part["status"] == "ok").to_numpy() & np.isfinite(values)
        numbers = images[few][wanted]
        which = part.groupby(list(by), sort=False, observed=True).ngroup().to_numpy()
        order, ends = np.argsort(which, kind="stable"), np.bincount(which).cumsum()
        for rows in np.split(order, ends[:-1]):
            key = tuple(str(part[name].iat[rows[0]]) for name in by)
            own = Rows(numbers[rows], values[rows], usable[rows])
            found.setdefault(key, []).append(own)
    for key in list(found):
        yield key, Rows(*map(np.concatenate, zip(*found.pop(key), strict=True)))
