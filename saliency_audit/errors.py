"""Errors that a user can act on: one line with the value seen and the fix."""

from collections.abc import Mapping
from difflib import get_close_matches
from math import log10
from typing import TypeVar

Entry = TypeVar("Entry")
_DIGITS = 40  # more than these nobody reads


class AuditError(Exception):
    """Anything the tool reports in one line. Exit code 3: it failed while running."""


class InputError(AuditError):
    """The input or the usage is wrong and nothing has been written. Exit code 2.

    Args:
        problem: in a line.
        option: what it is about, by its declared name; whoever shows the error spells it.
        value: of the option.
        fix: what to give instead. With it the line is made of option, value and fix.

    >>> error = InputError(option="k", value=1.5, fix="give a share")
    >>> str(error), error.about("k")
    ('--k is 1.5; give a share', 'k is 1.5; give a share')
    """

    def __init__(
        self, problem: str = "", *, option: str = "", value: object = None, fix: str = ""
    ) -> None:
        self.problem, self.option, self.value, self.fix = problem, option, value, fix
        super().__init__(self.about(f"--{option.replace('_', '-')}"))

    def about(self, name: str) -> str:
        """The line, of an option that is called so."""
        if not self.fix:
            return self.problem
        return f"{name} is {as_written(self.value)}; {self.fix}"


class UnsupportedError(InputError):
    """What was asked for cannot be done with this model or format; the message says what would."""


def as_written(value: object) -> str:
    """A value as people write it; Python itself refuses to write very long numbers.

    >>> as_written(10**6), as_written(0.5), as_written("red"), as_written(10**5000)
    ('1,000,000', '0.5', "'red'", 'a number of about 5,001 digits')
    """
    if isinstance(value, str):
        return f"'{value}'"
    if isinstance(value, float):
        return f"{value:g}"
    if not isinstance(value, int) or isinstance(value, bool):
        return str(value)
    digits = int(value.bit_length() * log10(2)) + 1
    return f"{value:,}" if digits <= _DIGITS else f"a number of about {digits:,} digits"


def lookup(kind: str, table: Mapping[str, Entry], name: str, *, option: str = "") -> Entry:
    """Return ``table[name]``, or say which name was probably meant.

    Args:
        kind: what the table holds, for the message ("saliency method").
        table: a registry.
        name: the name asked for.
        option: where it was asked for.

    Raises:
        InputError: the name is not in the table.

    >>> lookup("metric", {"cosine": 1}, "cosin")
    Traceback (most recent call last):
    ...
    saliency_audit.errors.InputError: unknown metric 'cosin'. Did you mean 'cosine'? Known: cosine
    """
    if name in table:
        return table[name]
    close = get_close_matches(name, table, n=1)
    hint = f" Did you mean '{close[0]}'?" if close else ""
    raise InputError(f"unknown {kind} '{name}'.{hint} Known: {', '.join(table)}", option=option)
