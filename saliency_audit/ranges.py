"""Which numbers an option may have: one table for the command line and for policies."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from math import log10

from saliency_audit.errors import InputError

_SIDE, _MANY, _COUNT = 16_384, 10**6, 10**9
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


RANGES = {
    # Of the images and the model's input.
    "size": Range(1, _SIDE),
    "resize": Range(1, _SIDE),
    "channels": Range(1, 4096),
    "mean": Range(-1e6, 1e6),
    # Less is 0 or infinite in the arithmetic of the network.
    "std": Range(1e-6, 1e6),
    "max_samples": Range(1, _COUNT),
    "max_train": Range(1, _COUNT),
    "max_val": Range(1, _COUNT),
    # Of the run; torch's generators take no larger seed that has a sign, and each worker is a
    # process of this machine.
    "seed": Range(0, 2**63 - 1),
    "batch_size": Range(1, _MANY),
    "workers": Range(0, max(64, 4 * (os.cpu_count() or 1))),
    # Of maps.
    "samples": Range(2, _MANY),
    "noise_level": Range(0, 1000.0),
    "ig_steps": Range(1, _MANY),
    "k": Range(0, _SIDE**2),
    # Of budgets and searches; in L2 a whole image is no longer than 1e5.
    "eps": Range(0, 1e5),
    "audit_eps": Range(0, 1e5),
    "radius": Range(0, 1e5, above=True),
    "step_size": Range(0, 1e5),
    "steps": Range(1, _MANY),
    "attack_steps": Range(1, _MANY),
    "restarts": Range(1, _MANY),
    "momentum": Range(0, 1000.0),
    "attack_momentum": Range(0, 1000.0),
    "beta": Range(0, 1e6, above=True),
    "strength": Range(0, 1e9, above=True),
    # Of metrics.
    "points": Range(2, _MANY),
    "regions": Range(0, _SIDE**2),
    "counts": Range(0, _SIDE**2),
    "draws": Range(1, _MANY),
    "stages": Range(0, _MANY),
    "window": Range(3, _SIDE),
    "ssim_range": Range(0, 1e6, above=True),
    "top": Range(0, 1),
    "sigma": Range(0, 1000.0),
    "sigmas": Range(0, 1000.0),
    "perturbations": Range(1, _MANY),
    "explain_class": Range(0, _COUNT),
    "classes": Range(0, _COUNT),
    "fill": Range(0, 1),
    # Of limits.
    "at_least": Range(-1e12, 1e12),
    "at_most": Range(-1e12, 1e12),
    "tolerance": Range(0, 1e12),
    # Of training.
    "weight": Range(0, 1e12),
    "kappa": Range(-1e6, 1e6),
    "eps2": Range(0, 1e6),
    "group": Range(1, _SIDE),
    "replay": Range(1, _MANY),
    "mu": Range(0, 1e12),
    "tau": Range(0, 1e12),
    "projections": Range(0, _MANY),
    "teacher_samples": Range(1, _MANY),
    "teacher_sigma": Range(0, 1000.0),
    "threshold": Range(-1e6, 1e6),
    "epochs": Range(1, _MANY),
    "max_steps": Range(1, _COUNT),
    "train_batch_size": Range(1, _MANY),
    "accumulate": Range(1, _MANY),
    "lr": Range(0, 1e6, above=True),
    "weight_decay": Range(0, 1e6),
    "checkpoint_every": Range(1, _COUNT),
    "min_accuracy": Range(0, 1),
}
"""By parameter. Other rules may say more of one: these are what no use of it goes beyond."""


def refuse_outside(name: str, value: object, *, said: str) -> None:
    """Refuse a number that is beyond what the option may have.

    Args:
        name: of the parameter, a key of ``RANGES``.
        value: a number, several of them, or anything else, which is left alone.
        said: how the user writes the option.

    Raises:
        InputError: names the option, the number and the range.

    >>> refuse_outside("size", 20000, said="--size")
    Traceback (most recent call last):
    ...
    saliency_audit.errors.InputError: --size is 20,000; give at least 1 and at most 16,384
    """
    for number in _numbers(value):
        if not RANGES[name].holds(number):
            raise InputError(f"{said} is {number_text(number)}; give {RANGES[name]}")


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
