"""What ``--data toy:NAME`` and ``--data synthetic:NAME`` say besides the name."""

from collections.abc import Mapping
from dataclasses import dataclass

from saliency_audit.errors import InputError, lookup
from saliency_audit.ranges import Range

NUMBERS: Mapping[str, Range] = {"images": Range(1, 1 << 22), "seed": Range(0, 1 << 62)}
"""What can be set, and where it may lie; each image has a name in memory."""


@dataclass(frozen=True)
class Wanted:
    """Which images of a generated data set.

    Attributes:
        name: of the data set.
        split: "train" or "test".
        seed: of all that is drawn.
        images: how many; None means as many as the split has by itself.
    """

    name: str
    split: str
    seed: int = 0
    images: int | None = None

    @property
    def said(self) -> str:
        """What is not as by default, for the name of the data."""
        said = {"images": self.images, "seed": self.seed or None}
        options = ",".join(f"{key}={value}" for key, value in said.items() if value is not None)
        return f"{self.name}{options and ':'}{options} ({self.split})"


def wanted(place: str) -> Wanted:
    """Read ``NAME``, ``NAME@train`` or ``NAME:images=100,seed=3@train``.

    Args:
        place: what stands after the first colon of ``--data``.

    Raises:
        InputError: an option that there is not, or a number beyond its range.

    >>> wanted("hierarchy:images=100@train")
    Wanted(name='hierarchy', split='train', seed=0, images=100)
    """
    whole, _, split = place.rpartition("@")
    if split not in ("train", "test"):
        whole, split = place, "test"
    name, colon, options = whole.partition(":")
    numbers: dict[str, int] = {}
    for option in options.split(",") if colon else ():
        key, equals, text = option.partition("=")
        allowed = lookup(f"option of --data {name}", NUMBERS, key.strip())
        digits = text.strip()
        # int() takes any length of digits, and other scripts' too.
        known = equals and len(digits) < 25 and digits.removeprefix("-").isascii()
        if not (known and digits.removeprefix("-").isdigit()):
            raise InputError(
                f"--data {place}: {key.strip()} is '{digits[:40]}'; give a whole number, such as "
                f"{name}:images=1000,seed=1"
            )
        if not allowed.holds(int(digits)):
            raise InputError(f"--data {place}: {key.strip()} is {digits}; give {allowed}")
        numbers[key.strip()] = int(digits)
    return Wanted(name, split, **numbers)
