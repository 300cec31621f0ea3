"""What ``fool`` takes, and what it leaves out where nobody asked."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from saliency_audit.commands.costs import (
    FORWARD,
    GRADIENT,
    Passes,
    dear,
    dearest,
    is_large,
    passes_of_map,
    scalars_computed,
)
from saliency_audit.commands.fool.command import ALL
from saliency_audit.methods import METHODS

DEAR_IF_LARGE = ("smoothgrad", "integrated-gradients")
"""Methods of many passes that are measured by default on large images, too: the best known."""
OF_MODEL = ("loss", "logit", "centred-logit")
"""Scalars whose gradients tell what a trick did to the model itself."""


@dataclass(frozen=True)
class Economy:
    """What is not measured, for its cost.

    Attributes:
        once: methods that are measured under the first scalar alone.
        left_out: methods that are not measured.
        note: says so, and how to ask for it; empty where nothing is left out.
    """

    once: Sequence[str] = ()
    left_out: Sequence[str] = ()
    note: str = ""


def economy(
    saliency: Sequence[str] | None,
    scalars: Sequence[str] | None,
    *,
    besides: Sequence[str] = (),
    first: str,
    options: Mapping[str, Any],
    sides: Sequence[int],
) -> Economy:
    """What a run leaves out: by the passes of a map, never by the machine.

    Args:
        saliency: methods that were asked for; None for none.
        scalars: scalars that were asked for; likewise.
        besides: methods that a first look leaves out.
        first: the scalar that is kept.
        options: of methods.
        sides: of an image.

    >>> economy(["smoothgrad"], None, first="logit", options={}, sides=(28, 28)).once
    ()
    >>> economy(None, None, first="logit", options={}, sides=(28, 28)).once[-1]
    'gradient-shap'
    """
    if saliency:
        return Economy()
    if besides:
        return Economy(left_out=besides)
    many = dear(options, sides)
    most = many if is_large(sides) else dearest(options, sides)
    left_out = [name for name in most if name not in DEAR_IF_LARGE]
    once = [] if scalars else [name for name in many if name not in left_out]
    parts = [f"{', '.join(once)} on {first} alone"] if once else []
    if left_out:
        parts.append(f"{', '.join(left_out)} not at all")
    note = f"by their cost, {' and '.join(parts)}; --saliency {ALL} measures everything"
    return Economy(once, left_out, note if parts else "")


def passes_of_image(
    pairs: Sequence[tuple[str, str]],
    forgeries: int,
    *,
    options: Mapping[str, Any],
    sides: Sequence[int],
    at_once: float,
) -> Passes:
    """What measuring one image takes.

    Args:
        pairs: methods and scalars, in their order.
        forgeries: manipulated models.
        options: of methods.
        sides: of an image.
        at_once: images of a batch, on average.
    """
    scalars: dict[str, list[str]] = {}
    for name, scalar in pairs:
        scalars.setdefault(name, []).append(scalar)
    of_maps = Passes()
    for place, (name, own) in enumerate(scalars.items()):
        # The gradients of the model are still known where it is the first method.
        known = list(OF_MODEL) if name == "gradient" and not place else []
        made = scalars_computed([*known, *own], METHODS[name].parity)[len(known) :]
        of_maps += passes_of_map(name, options, sides, at_once=at_once) * len(made)
    of_model = FORWARD + GRADIENT * len(OF_MODEL)
    return (of_model + of_maps) * (1 + forgeries)
