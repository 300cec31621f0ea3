"""What a user can set: an option is declared once, and everything that knows of it reads it there.

From a declaration come the command line, its help and its refusals. Free of torch, so that
``--help`` is quick.
"""

from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

from saliency_audit.ranges import Range

Kind = Literal[
    "text",
    "whole",
    "number",
    "fraction",
    "flag",
    "switch",
    "path",
    "colour",
    "sides",
    "batch",
    "fill",
]
"""What is written: any text; a whole number; a number; a number or a fraction such as 8/255; a flag
that is on when given; one that can be given as --no-... too; a file or folder; a number for each
channel; a side or a height and a width; ``auto`` or a number of images; a word or a pixel value."""
NUMBERS = ("whole", "number", "fraction", "colour", "sides", "batch")


@dataclass(frozen=True)
class Option:
    """One option.

    Attributes:
        name: of the parameter; ``noise_level`` is written ``--noise-level``.
        kind: of its value.
        default: where it is not given; None for an option that is then decided later.
        help: one sentence.
        choices: the values it may have; empty where any may.
        many: whether it may be given several times.
        panel: the heading of the help under which it stands; none for the command's own.
        written: how it is written, where that is not its name.
        shown: whether the help tells the default by itself; ``help`` may end with one in words,
            ``Default: ...``.
        common: whether the short help has it; ``--help-all`` has all.
        metavar: what the help calls its value; by kind where empty.
        parameter: of the function that takes it, where that has another name.
        range: where its number may lie; none goes without.
        always: whether it does something whatever was chosen: pictures go by it.
    """

    name: str
    kind: Kind = "text"
    default: Any = None
    help: str = ""
    choices: tuple[str, ...] = ()
    many: bool = False
    panel: str | None = None
    written: str = ""
    shown: bool = True
    common: bool = False
    metavar: str = ""
    parameter: str = ""
    range: Range | None = None
    always: bool = False

    def __post_init__(self) -> None:
        assert (self.kind in NUMBERS) <= (self.range is not None), f"{self.name} needs a range"

    @property
    def flag(self) -> str:
        """How it is written on the command line."""
        return self.written.partition("/")[0] or f"--{self.name.replace('_', '-')}"

    @property
    def key(self) -> str:
        """The parameter that it is."""
        return self.parameter or self.name


class Given(SimpleNamespace):
    """The values of a command's options, by name.

    Attributes:
        said: names of those that stand on the command line.
        notes: lines for the user on where others come from.
    """

    said: frozenset[str] = frozenset()
    notes: tuple[str, ...] = ()

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"there is no option {name}")

    def but(self, **values: Any) -> "Given":
        """The same with other values of these options."""
        return Given(**{**vars(self), **values})


def fraction(text: str | float) -> float:
    """A number, or a fraction such as 8/255.

    Raises:
        ValueError: it is neither; the message says how to write one.

    >>> fraction("8/255")
    0.03137254901960784
    """
    if isinstance(text, float | int):
        return float(text)
    numerator, _, denominator = text.partition("/")
    try:
        number = float(numerator) / float(denominator or 1)
        if isfinite(number):
            return number
        raise ValueError
    except (ValueError, ZeroDivisionError):
        raise ValueError(
            f"'{text}' is not a number; write 0.03 or a fraction such as 8/255"
        ) from None


def place_of_report(given: Given, command: str) -> Path:
    """The output folder of a run."""
    return given.output_dir or Path("saliency-audit-report") / command


def word_or_number(value: str | float, option: Option) -> str | float:
    """A word that an option knows, or a number in its range.

    Raises:
        ValueError: it is neither; the message says what there is.

    >>> dark = Option("dark", "fill", choices=("zero",), range=Range(0, 1))
    >>> word_or_number("zero", dark), word_or_number("0.5", dark)
    ('zero', '0.5')
    """
    assert option.range is not None
    if value in option.choices:
        return value
    try:
        fits = option.range.holds(float(value))
    except (TypeError, ValueError):
        fits = False
    if not fits or isinstance(value, bool):
        low, high = option.range.low, option.range.high
        words = ", ".join(option.choices)
        raise ValueError(f"give {words}, or a pixel value from {low:g} to {high:g}")
    return value
