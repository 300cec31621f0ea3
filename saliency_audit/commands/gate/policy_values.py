"""Which keys a policy has, of which type: what is wrong is said with the nearest name."""

from collections.abc import Mapping
from dataclasses import replace
from math import isfinite
from typing import Any

from saliency_audit.catalogue.attacks import ATTACKS
from saliency_audit.catalogue.metrics import METRICS
from saliency_audit.catalogue.needs import NEEDS
from saliency_audit.catalogue.tricks import PICTURE, STRENGTH, TRICKS
from saliency_audit.commands.attack.options import EPS, NORM, K
from saliency_audit.commands.options import OF_MAPS, OF_MODEL, OF_RUN, of_images
from saliency_audit.errors import InputError, as_written, lookup
from saliency_audit.options import Option, word_or_number
from saliency_audit.ranges import ANY, COUNT, WEIGHT, Range, refuse_outside
from saliency_audit.stats.undefined import FEWEST

_SOFT = tuple(
    Option(name, choices=("fail", "warn"), help="Of a check that is not passed.")
    for name in ("level", "inconclusive")
)
_SCALAR = Option("scalar", help="Explained number.")
FROM_POLICY = "from-policy"
"""A seed that nobody picks: the policy's sha256 is it."""
_ON_IMAGES = ("size", "channels", "mean", "std", "outputs")


def _named(*options: Option) -> dict[str, Option]:
    return {option.name: option for option in options}


MIN_IMAGES = Option(
    "min_images",
    "whole",
    default=32,
    range=Range(FEWEST, COUNT.high),
    help="Images of different content that a release needs.",
)
DATA = _named(
    *of_images(1),
    *(o for o in OF_MODEL if o.name in _ON_IMAGES),
    *(need.option for need in NEEDS.values() if need.table == "data"),
    MIN_IMAGES,
)
"""Keys of ``[data]``; each is the option of the command line of that name."""
RUN = _named(
    *(o for o in OF_RUN if o.name in ("batch_size", "device", "precision")),
    *(replace(o, choices=(FROM_POLICY,)) for o in OF_RUN if o.name == "seed"),
    *(o for n in NEEDS.values() if n.table == "run" for o in (n.option, *n.options)),
    *(o for o in OF_MODEL if o.name == "layer"),
    *(*OF_MAPS, _SCALAR, *_SOFT),
)
"""Keys of ``[run]``: options of the command line, and what holds for every check."""
LIMITS = _named(
    Option("at_least", "fraction", range=ANY),
    Option("at_most", "fraction", range=ANY),
    Option("better_than", choices=("random", "chance")),
    Option("no_worse_than", choices=("baseline",)),
)
CHECK = {
    **_named(
        *(Option(kind) for kind in ("metric", "trick", "attack")),
        Option("saliency", many=True),
        _SCALAR,
    ),
    **LIMITS,
    **_named(Option("tolerance", "fraction", range=WEIGHT), Option("verdict", many=True), *_SOFT),
}
"""Keys of every ``[[check]]``, beside the options of what it measures."""

_SHOWN = 200  # characters of a value in a message


def options_of_check(kind: str, name: str) -> dict[str, Option]:
    """Options of a metric, trick or attack by their keys.

    >>> list(options_of_check("metric", "aopc"))
    ['regions', 'unit', 'fill', 'reduce']
    """
    if kind == "metric":
        return _named(*METRICS[name].options)
    if kind == "trick":
        return _named(*TRICKS[name].options, STRENGTH, PICTURE)
    return _named(replace(EPS, many=False), NORM, K, *ATTACKS[name].options)


def checked(where: str, given: Mapping[str, Any], known: Mapping[str, Option]) -> dict[str, Any]:
    """The values of a table, each as its key wants it.

    Args:
        where: the table, for the message.
        given: keys and values.
        known: what may stand there.

    Raises:
        InputError: an unknown key, a value of another type, or one beyond its range.

    >>> checked("[run]", {"noise_level": "1/10"}, RUN)
    {'noise_level': 0.1}
    """
    values = {}
    for key, value in given.items():
        option: Option = lookup(f"key of {where}", known, key, option=key)
        try:
            values[key] = as_wanted(value, option)
        except ValueError as error:
            raise InputError(f"{key} is {_shown(value)}; {error}", option=key) from error
        if option.range is not None:
            refuse_outside(values[key], option.range, option=key)
    return values


def as_wanted(value: Any, option: Option) -> Any:
    """A TOML value as an option wants it; a single value stands for several.

    Raises:
        ValueError: says what to give instead.

    >>> as_wanted("8/255", STRENGTH), as_wanted(20, METRICS["aopc"].options[0])
    (0.03137254901960784, (20,))
    """
    if option.many or option.kind in ("colour", "sides"):
        items = value if isinstance(value, list) else [value]
        if not items:
            raise ValueError("give at least one")
        return tuple(_one(item, option) for item in items)
    return _one(value, option)


def _one(value: Any, option: Option) -> Any:
    if option.kind == "fill":
        known = word_or_number(value, option)
        return known if isinstance(known, str) else _number(known)
    if value in option.choices:
        return value
    if option.choices and option.kind == "text":
        try:
            lookup("choice", dict.fromkeys(option.choices), str(value))
        except InputError as error:
            raise ValueError(f"that is an {error}") from error
    if option.kind == "batch" and value == "auto":
        return value
    if option.kind in ("number", "fraction", "colour"):
        return _number(value)
    wanted, what = _WANTED[option.kind]
    # A bool is an int to Python, and no number to anyone else.
    if not isinstance(value, wanted) or (wanted is int and isinstance(value, bool)):
        raise ValueError(f"give {what}")
    return value


_TEXT = (str, 'text, such as "this"')
_WHOLE = (int, "a whole number")
_BOOLEAN = (bool, "true or false")
_WANTED: Mapping[str, tuple[type, str]] = {
    "text": _TEXT,
    "path": _TEXT,
    "whole": _WHOLE,
    "sides": _WHOLE,
    "batch": _WHOLE,
    "flag": _BOOLEAN,
    "switch": _BOOLEAN,
}


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
    text = as_written(value) if isinstance(value, int) and abs(value) > 10**40 else repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
