"""Activations that a network was trained with in place of its own, and how its files say so."""

from math import isfinite
from pathlib import Path
from typing import Any

from saliency_audit.errors import InputError, lookup

InPlace = tuple[str, float]
"""What every ReLU-like activation is replaced by: "softplus", and its beta."""


def checked(activation: InPlace) -> InPlace:
    """The activation itself, if there is such a one.

    Raises:
        InputError: another kind than softplus, or a beta that is no number above 0.
    """
    kind, beta = activation
    lookup("activation", {"softplus": None}, kind)
    if not (beta > 0 and isfinite(beta)):
        raise InputError(f"--beta is {beta:g}; give a number above 0")
    return kind, float(beta)


def activation_metadata(activation: InPlace | None) -> dict[str, str]:
    """What ``save_state_dict`` is to write beside the weights, so that ``load`` knows.

    >>> activation_metadata(("softplus", 10.0))
    {'activation': 'softplus', 'beta': '10'}
    """
    if activation is None:
        return {}
    kind, beta = activation
    return {"activation": kind, "beta": repr(float(beta)).removesuffix(".0")}


def activation_said(file: Path, kind: Any, beta: Any) -> InPlace | None:
    """What a file says about its weights' activation; None where it says nothing known here.

    Args:
        file: for messages.
        kind: as the file has it, of any type.
        beta: likewise.

    Raises:
        InputError: softplus of a beta that means nothing.
    """
    if kind != "softplus" or not isinstance(beta, str | int | float):
        return None
    try:
        return checked((kind, float(beta)))
    except (ValueError, InputError):
        raise InputError(
            f"'{file}' says that it was trained with softplus of beta {beta}; "
            "beta must be a number above 0"
        ) from None


def note(name: str, activation: InPlace) -> str:
    """The line that tells the user."""
    kind, beta = activation
    return f"{name} was trained with {kind} (beta {beta:g}) in place of ReLU; that is what is run"
