"""``--quick``: a first look at a real network, in a minute or two."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from saliency_audit.commands.options import Taker
from saliency_audit.errors import InputError
from saliency_audit.options import Given, Option

QUICK = Option(
    "quick",
    "flag",
    default=False,
    help="A first look in a minute or two: fewer images, methods and points, which a line says. "
    "What is given beside it is as given.",
)


@dataclass(frozen=True)
class FirstLook:
    """What ``--quick`` means for a command.

    Attributes:
        values: of options that are not given.
        methods: saliency methods, where none is named; those that the model does not allow are
            left out.
        choosing: catalogues by the option that chooses from them: an option of an entry that is not
            chosen stays as it is.
    """

    values: Mapping[str, Any]
    methods: Sequence[str]
    choosing: Mapping[str, Mapping[str, Taker]]


def quickened(given: Given, look: FirstLook | None) -> tuple[Given, str]:
    """The options of a first look, and a line that says them; as they are without ``--quick``.

    Raises:
        InputError: a preset is asked for, too.

    >>> look = FirstLook({"max_samples": 8, "seed": 1}, ["gradient"], {})
    >>> asked = Given(quick=True, saliency=None, max_samples=16, seed=2, said=frozenset({"seed"}))
    >>> found, line = quickened(asked, look)
    >>> found.max_samples, found.seed, line
    (8, 2, '--quick: --max-samples 8; of gradient')
    """
    if look is None or not given.quick:
        return given, ""
    if getattr(given, "preset", None):
        raise InputError("--quick and --preset set the same numbers; give one of them")
    values = {
        name: value
        for name, value in look.values.items()
        if name not in given.said and _taken(name, given, look)
    }
    written = {n: ",".join(v) if isinstance(v, list) else str(v) for n, v in values.items()}
    parts = [f"--{name.replace('_', '-')} {value}" for name, value in written.items()]
    line = f"--quick: {' '.join(parts) or 'nothing but what is given'}"
    return given.but(**values), line if given.saliency else f"{line}; of {', '.join(look.methods)}"


def _taken(name: str, given: Given, look: FirstLook) -> bool:
    """Whether anything that was chosen has an option."""
    for option, entries in look.choosing.items():
        takers = {key for key, one in entries.items() if name in {own.name for own in one.options}}
        chosen = getattr(given, option)
        if takers and chosen and not takers & set(chosen):
            return False
    return True


def not_looked_at(given: Given, look: FirstLook, names: Sequence[str]) -> list[str]:
    """The methods that a first look leaves out; none without ``--quick``, or where any is named."""
    if not given.quick or given.saliency:
        return []
    return [name for name in names if name not in look.methods]
