"""Which numbers an option may have, on the command line and in policies."""

from collections.abc import Iterable
from dataclasses import dataclass

from saliency_audit.errors import InputError, as_written


@dataclass(frozen=True)
class Range:
    """Numbers from ``low`` to ``high``.

    Attributes:
        low: the least.
        high: the most.
        above: whether ``low`` itself is too little.
        below: whether ``high`` itself is too much.

    >>> Range(0, 1).holds(0), Range(0, 1, above=True).holds(0), Range(0, 1).holds(float("nan"))
    (True, False, False)
    >>> str(Range(1, 16384)), str(Range(0, 1e6, above=True))
    ('at least 1 and at most 16,384', 'more than 0 and at most 1e+06')
    """

    low: float
    high: float
    above: bool = False
    below: bool = False

    def holds(self, value: float) -> bool:
        """Whether a number lies in it; NaN lies nowhere."""
        least = self.low < value if self.above else self.low <= value
        return least and (value < self.high if self.below else value <= self.high)

    def __str__(self) -> str:
        least = "more than" if self.above else "at least"
        most = "less than" if self.below else "at most"
        return f"{least} {as_written(self.low)} and {most} {as_written(self.high)}"


SIDE = Range(1, 16_384)
"""Of a side in pixels."""
MANY = Range(1, 10**6)
"""Of what is done so often."""
COUNT = Range(1, 10**9)
"""Of things."""
INDEX = Range(0, 10**9)
SHARE = Range(0, 1)
INSIDE = Range(0, 1, above=True, below=True)
"""Of shares that are neither nothing nor all."""
PIXELS = Range(0, SIDE.high**2)
BUDGET = Range(0, 1e5)
"""In L2 a whole image is no longer than that."""
NOISE = Range(0, 1000.0)
POSITIVE = Range(0, 1e6, above=True)
WEIGHT = Range(0, 1e12)
ANY = Range(-1e12, 1e12)


def refuse_outside(value: object, allowed: Range, *, option: str) -> None:
    """Refuse a number that is beyond what an option may have.

    Args:
        value: a number, several of them, or anything else, which is left alone.
        allowed: where it may lie. Other rules may say more: no use of the option goes beyond this.
        option: its name.

    Raises:
        InputError: names the option, the number and the range.

    >>> refuse_outside(20000, SIDE, option="size")
    Traceback (most recent call last):
    ...
    saliency_audit.errors.InputError: --size is 20,000; give at least 1 and at most 16,384
    """
    for number in _numbers(value):
        if not allowed.holds(number):
            raise InputError(option=option, value=number, fix=f"give {allowed}")


def _numbers(value: object) -> Iterable[float]:
    if isinstance(value, bool):
        return ()
    if isinstance(value, int | float):
        return (value,)
    if isinstance(value, list | tuple):
        return [number for item in value for number in _numbers(item)]
    return ()
