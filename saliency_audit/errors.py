"""Errors that a user can act on: one line with the value seen and the fix."""

from collections.abc import Mapping
from difflib import get_close_matches
from typing import TypeVar

Entry = TypeVar("Entry")


class AuditError(Exception):
    """Anything the tool reports in one line. Exit code 3: it failed while running."""


class InputError(AuditError):
    """The input or the usage is wrong and nothing has been written. Exit code 2."""


class UnsupportedError(InputError):
    """What was asked for cannot be done with this model or format; the message says what would."""


def lookup(kind: str, table: Mapping[str, Entry], name: str) -> Entry:
    """Return ``table[name]``, or say which name was probably meant.

    Args:
        kind: what the table holds, for the message ("saliency method").
        table: a registry.
        name: the name asked for.

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
    raise InputError(f"unknown {kind} '{name}'.{hint} Known: {', '.join(table)}")
