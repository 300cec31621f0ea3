"""Which numbers an option may have, on the command line and in policies."""

from collections.abc import Iterable
from dataclasses import dataclass
from math import log10

from saliency_audit.errors import InputError

_DIGITS = 40  # more than these nobody reads


@dataclass(frozen=True)
class Range:
    """Numbers from ``low`` to ``high``.

    Attributes:
        low: the least.
        high: the most.
        above: whether ``low`` itself is too little.

    >>> Range(0, 1).holds(0), Range(0, 1, above=True).holds(0), Range(0, 1).holds(float("nan"))
    (True, False, False)
    >>> str(Range(1, 16384)), str(Range(0, 1e6, above=True))
    ('at least 1 and at most 16,384', 'more than 0 and at most 1e+06')
    """

    low: float
    high: float
    above: bool = False

    def holds(self, value: float) -> bool:
        """Whether a number lies in it; NaN lies nowhere."""
        return (self.low < value if self.above else self.low <= value) and value <= self.high

    def __str__(self) -> str:
        least = "more than" if self.above else "at least"
        return f"{least} {number_text(self.low)} and at most {number_text(self.high)}"


SIDE = Range(1, 16_384)
"""Of a side in pixels."""
MANY = Range(1, 10**6)
"""Of what is done so often."""
COUNT = Range(1, 10**9)
"""Of things."""
INDEX = Range(0, 10**9)
SHARE = Range(0, 1)
PIXELS = Range(0, SIDE.high**2)
BUDGET = Range(0, 1e5)
"""In L2 a whole image is no longer than that."""
NOISE = Range(0, 1000.0)
POSITIVE = Range(0, 1e6, above=True)
WEIGHT = Range(0, 1e12)
ANY = Range(-1e12, 1e12)


def refuse_outside(value: object, allowed: Range, *, said: str) -> None:
    """Refuse a number that is beyond what an option may have.

    Args:
        value: a number, several of them, or anything else, which is left alone.
        allowed: where it may lie. Other rules may say more: no use of the option goes beyond this.
        said: how the user writes the option.

    Raises:
        InputError: names the option, the number and the range.

    >>> refuse_outside(20000, SIDE, said="--size")
    Traceback (most recent call last):
    ...
    saliency_audit.errors.InputError: --size is 20,000; give at least 1 and at most 16,384
    """
    for number in _numbers(value):
        if not allowed.holds(number):
            raise InputError(f"{said} is {number_text(number)}; give {allowed}")


def _numbers(value: object) -> Iterable[float]:
    if isinstance(value, bool):
        return ()
    if isinstance(value, int | float):
        return (value,)
    if isinstance(value, list | tuple):
        return [number for item in value for number in _numbers(item)]
    return ()


def number_text(value: float) -> str:
    """A number as people write it; Python itself refuses to write very long ones.

    >>> number_text(10**6), number_text(0.5), number_text(10**5000)
    ('1,000,000', '0.5', 'a number of about 5,001 digits')
    """
    if isinstance(value, float):
        return f"{value:g}"
    digits = int(value.bit_length() * log10(2)) + 1
    return f"{value:,}" if digits <= _DIGITS else f"a number of about {digits:,} digits"
