"""Which keys a policy has, of which type: what is wrong is said with the nearest name."""

import re
from collections.abc import Callable, Container, Mapping
from inspect import Parameter, signature
from math import isfinite
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from saliency_audit.errors import InputError, lookup
from saliency_audit.metrics import METRICS
from saliency_audit.ranges import number_text, refuse_outside
from saliency_audit.tricks import TRICKS

Softness = Literal["fail", "warn"]

DATA: dict[str, Any] = {
    "data": str,
    "max_samples": int,
    "classes": str,
    "resize": int,
    "size": int,
    "channels": int,
    "mean": tuple[float, ...],
    "std": tuple[float, ...],
    "annotations": str,
}
"""Keys of ``[data]``; each is the option of the command line of that name."""
RUN: dict[str, Any] = {
    "seed": int,
    "batch_size": Literal["auto"] | int,
    "device": str,
    "precision": Literal["fp32", "bf16"],
    "target": Literal["predicted", "label"],
    "layer": str,
    "samples": int,
    "noise_level": float,
    "ig_steps": int,
    "scalar": str,
    "other": str,
    "judge": str,
    "level": Softness,
    "inconclusive": Softness,
}
"""Keys of ``[run]``: options of the command line, and what holds for every check."""
LIMITS: dict[str, Any] = {
    "at_least": float,
    "at_most": float,
    "better_than": Literal["random", "chance"],
    "no_worse_than": Literal["baseline"],
}
CHECK: dict[str, Any] = {
    "metric": str,
    "trick": str,
    "attack": str,
    "saliency": tuple[str, ...],
    "scalar": str,
    **LIMITS,
    "tolerance": float,
    "verdict": tuple[str, ...],
    "level": Softness,
    "inconclusive": Softness,
}
"""Keys of every ``[[check]]``, beside the options of what it measures."""
ATTACK: dict[str, Any] = {
    "eps": float,
    "norm": Literal["linf", "l2"],
    "k": float,
    "target_map": str,
    "steps": int,
    "step_size": float,
    "search": Literal["sign", "normalised", "adam"],
    "momentum": float,
    "restarts": int,
    "surrogate": Literal["exact-forward", "softplus", "none"],
    "beta": float,
    "beta_growth": bool,
}
"""Options of an attack, by the names they have on the command line."""
KEYS = {"regions": ("counts",), "sigma": ("sigmas", "sigma"), "explain_class": ("classes",)}
"""Keys of options that have another name on the command line."""


_SHOWN = 200  # characters of a value in a message


def metric_options(metric: str) -> dict[str, Any]:
    """Options of a metric by type: the keyword-only parameters of its function.

    >>> metric_options("sparsity-gini")
    {}
    """
    options = _keywords(METRICS[metric].function)
    # On the command line all is text; in TOML a pixel value is a number.
    return {key: float | str if key == "fill" else kind for key, kind in options.items()}


def trick_options(trick: str) -> dict[str, Any]:
    """Options of a trick by type, and the picture that maps are forged into."""
    options = _keywords(TRICKS[trick].function)
    options.pop("batch_size")
    return {**options, "picture": str}


def _keywords(function: Callable[..., Any]) -> dict[str, Any]:
    hints = get_type_hints(function)
    return {
        name: hints[name]
        for name, parameter in signature(function).parameters.items()
        if parameter.kind is Parameter.KEYWORD_ONLY
    }


def in_policy_words(text: str, known: Container[str]) -> str:
    """A message about options of the command line, said of the keys of a policy.

    Args:
        text: such as "--regions is 0; give more".
        known: the keys that may be meant; other options are left as they are.

    >>> in_policy_words("--regions is 5000; see --help", {"counts"})
    'counts is 5000; see --help'
    """

    def key_of(match: re.Match[str]) -> str:
        name = match[1].replace("-", "_")
        return next((key for key in KEYS.get(name, (name,)) if key in known), match[0])

    return re.sub(r"--([a-z][a-z-]*)", key_of, text)


def checked(where: str, given: Mapping[str, Any], known: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a table, each of the type that its key has.

    Args:
        where: the table, for the message.
        given: keys and values.
        known: keys and types.

    Raises:
        InputError: an unknown key, a value of another type, or one beyond its range.

    >>> checked("[run]", {"noise_level": "1/10"}, RUN)
    {'noise_level': 0.1}
    """
    values = {}
    for key, value in given.items():
        lookup(f"key of {where}", known, key)
        try:
            values[key] = coerced(value, known[key])
        except ValueError as error:
            raise InputError(f"{key} is {_shown(value)}; {error}") from error
        refuse_outside(key, values[key], said=key)
    return values


def coerced(value: Any, hint: Any) -> Any:
    """A TOML value as the type that is asked for.

    Args:
        value: as TOML has it.
        hint: int, float (fractions such as "8/255" too), str, bool, a ``Literal``, a tuple of one
            of these (a single value stands for one of them), or a union.

    Raises:
        ValueError: says what to give instead.

    >>> coerced("8/255", float), coerced(20, tuple[int, ...])
    (0.03137254901960784, (20,))
    """
    if get_origin(hint) in (Union, UnionType):
        kinds = [kind for kind in get_args(hint) if kind is not type(None)]
        problems = []
        for kind in kinds:
            try:
                return coerced(value, kind)
            except ValueError as error:
                problems.append(str(error))
        raise ValueError(" or ".join(problems))
    if get_origin(hint) is tuple:
        items = value if isinstance(value, list) else [value]
        return tuple(coerced(item, get_args(hint)[0]) for item in items)
    if get_origin(hint) is Literal:
        choices = get_args(hint)
        if value not in choices:
            try:
                lookup("choice", dict.fromkeys(choices), str(value))
            except InputError as error:
                raise ValueError(f"that is an {error}") from error
        return value
    if hint is float:
        return _number(value)
    wanted = {int: "a whole number", str: 'text, such as "this"', bool: "true or false"}[hint]
    # A bool is an int to Python, and no number to anyone else.
    if not isinstance(value, hint) or (hint is int and isinstance(value, bool)):
        raise ValueError(f"give {wanted}")
    return value


def _number(value: Any) -> float:
    message = 'give a number, or a fraction such as "8/255"'
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(message)
    if isinstance(value, str) and "/" not in value:
        raise ValueError(f"{message}; a number has no quotes")
    try:
        if isinstance(value, str):
            numerator, _, denominator = value.partition("/")
            number = float(numerator) / float(denominator)
        else:
            number = float(value)
    except (ValueError, ZeroDivisionError, OverflowError):
        raise ValueError(message) from None
    if not isfinite(number):
        raise ValueError(message)
    return number


def _shown(value: Any) -> str:
    """A value as a policy has it, no longer than one reads."""
    if isinstance(value, bool):
        return str(value).lower()
    text = number_text(value) if isinstance(value, int) and abs(value) > 10**40 else repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
