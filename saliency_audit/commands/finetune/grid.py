"""What ``--sweep`` asks for: a grid of options, a training at each of its points and seeds."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from saliency_audit.commands.finetune.options import (
    NONE,
    OF_ACTIVATION,
    OF_RECIPE,
    OF_SWEEP,
    OF_TEACHER,
    QUESTIONS,
    TRAINED_ANEW,
)
from saliency_audit.commands.finetune.plan import trained_for
from saliency_audit.commands.options import OF_RUN
from saliency_audit.errors import InputError, lookup
from saliency_audit.options import Given, Option, fraction
from saliency_audit.ranges import refuse_outside

_WORDS = {"true": True, "false": False}
_NUMERIC = ("whole", "number", "fraction")


@dataclass(frozen=True)
class Point:
    """One training of a sweep.

    Attributes:
        values: of the swept options, by the names under which they were swept.
        seed: of the training.
        given: its options, as of a command line of its own.
    """

    values: Mapping[str, Any]
    seed: int
    given: Given

    @property
    def name(self) -> str:
        """What its folder is called: ``eps=0.5,norm=l2,seed=0``."""
        values = (*self.values.items(), ("seed", self.seed))
        return ",".join(f"{name}={as_text(value)}" for name, value in values)


@dataclass(frozen=True)
class Grid:
    """All trainings of a sweep.

    Attributes:
        options: that are swept, by name.
        points: in the order in which they are trained, seeds of a combination together.
        anew: metrics that train networks anew on what each trained model's maps leave.
    """

    options: Mapping[str, Option]
    points: Sequence[Point]
    anew: Sequence[str]

    @property
    def numeric(self) -> list[str]:
        """The swept options whose values are numbers."""
        return [name for name, option in self.options.items() if option.kind in _NUMERIC]


def as_text(value: Any) -> str:
    """A value as it stands in the name of a folder, and in tables.

    >>> as_text(0.5), as_text(True), as_text("l2"), as_text(8 / 255), as_text(1000000)
    ('0.5', 'true', 'l2', '0.0313725', '1000000')
    """
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value + 0.0:.6g}" if isinstance(value, float) else str(value)


def refuse_idle_sweep(given: Given) -> None:
    """Refuse, of a single training, options that are for several.

    Raises:
        InputError: names the option.
    """
    for option in OF_SWEEP:
        if getattr(given, option.name) not in (None, []):
            raise InputError(f"{option.flag} is for --sweep; add that or leave it")


def grid(given: Given) -> Grid:
    """The trainings that the options ask for.

    Raises:
        InputError: an option that cannot be swept, or a value that it cannot have.

    >>> asked = Given(
    ...     sweep=["eps=0", "0.5", "norm=l2", "linf"], sweep_seeds=None, seed=3, audit=None,
    ...     objective="pgd", preset=None, saliency=None, notes=(), **{
    ...         option.name: None for option in OF_SWEEP[2:]
    ...     }
    ... )
    >>> [point.name for point in grid(asked).points][:2]
    ['eps=0,norm=l2,seed=3', 'eps=0,norm=linf,seed=3']
    """
    name, objective = trained_for(given)
    taken = (*objective.options, *OF_RECIPE, *OF_ACTIVATION)
    if "targets" in objective.needs:
        taken += OF_TEACHER
    known = {option.flag.removeprefix("--"): option for option in taken}
    options: dict[str, Option] = {}
    values: list[list[Any]] = []
    for written, texts in _asked(given.sweep):
        key = written.removeprefix("--").replace("_", "-")
        option = lookup(f"option of {name} or of the training", known, key, option="sweep")
        if key in options:
            raise InputError(f"--sweep {key} is there twice; write all values behind one")
        if option.name in given.said:
            raise InputError(
                f"{option.flag} is given and swept (--sweep {key}={','.join(texts)}); leave one"
            )
        options[key] = option
        values.append([_value(key, option, text) for text in texts])
        for i, value in enumerate(values[-1]):
            if as_text(value) in map(as_text, values[-1][:i]):
                raise InputError(f"--sweep {key} has {texts[i]} twice; leave one")
    anew = _anew(given)
    seeds = range(given.seed, given.seed + (given.sweep_seeds or 1))
    for option in OF_RUN:
        if option.name == "seed" and option.range is not None:
            refuse_outside(seeds[-1], option.range, option=option.name)
    points = [
        _point(given, dict(zip(options, combination, strict=True)), options, seed)
        for combination in product(*values)
        for seed in seeds
    ]
    return Grid(options, points, anew)


def _asked(parts: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    """Names and values; the command line has cut a list at its commas.

    >>> list(_asked(["eps=0", "1", "norm=l2"]))
    [('eps', ['0', '1']), ('norm', ['l2'])]
    """
    found: list[tuple[str, list[str]]] = []
    for part in parts:
        name, equals, text = part.partition("=")
        if equals:
            found.append((name.strip(), []))
        elif not found:
            raise InputError(
                option="sweep", value=part, fix="write NAME=VALUES, such as eps=0,0.5,1"
            )
        found[-1][1].append((text if equals else part).strip())
    for name, texts in found:
        if not name or not all(texts):
            raise InputError(
                option="sweep",
                value=f"{name}={','.join(texts)}",
                fix="write a name and values, such as eps=0,0.5,1",
            )
    yield from found


def _value(name: str, option: Option, text: str) -> Any:
    """A value of an option, as its own flag would have it.

    Raises:
        InputError: it is none.
    """
    wanted: Mapping[str, Any] = {}
    if option.choices:
        wanted = {choice: choice for choice in option.choices}
    elif option.kind in ("flag", "switch"):
        wanted = _WORDS
    if wanted:
        if text not in wanted:
            raise InputError(
                option="sweep", value=f"{name}={text}", fix=f"give {' or '.join(wanted)}"
            )
        return wanted[text]
    if option.kind not in _NUMERIC:
        return text
    try:
        value = int(text) if option.kind == "whole" else fraction(text)
    except ValueError:
        kind = "a whole number" if option.kind == "whole" else "a number such as 0.5 or 8/255"
        raise InputError(option="sweep", value=f"{name}={text}", fix=f"give {kind}") from None
    if option.range is not None:
        refuse_outside(value, option.range, option=option.name)
    return value


def _anew(given: Given) -> list[str]:
    """The metrics of ``--audit`` that train networks anew.

    Raises:
        InputError: a check without a mean, or an option for such a metric without one.
    """
    asked = given.audit or []
    if NONE in asked:
        raise InputError("--audit none measures nothing that a sweep could compare; leave it")
    anew = [name for name in TRAINED_ANEW if name in asked]
    for option in OF_SWEEP[2:]:
        if getattr(given, option.name) not in (None, []) and not anew:
            raise InputError(
                f"{option.flag} is for --audit {', '.join(TRAINED_ANEW)}; add one or leave it"
            )
    if anew and given.max_train is not None:
        raise InputError(
            f"--max-train {given.max_train} is not for --audit {anew[0]}, which trains on all of "
            "--data; leave it"
        )
    return anew


def _point(
    given: Given, values: Mapping[str, Any], options: Mapping[str, Option], seed: int
) -> Point:
    """One training with options of its own."""
    own = {options[name].name: value for name, value in values.items()}
    audit = given.audit
    said = given.said | set(own)
    if audit:
        # What everything else is compared with is always measured.
        audit = [name for name in QUESTIONS if name in {*audit, "accuracy"}]
        if audit == ["accuracy"] and _anew(given):
            said -= {"saliency"}
    return Point(
        values,
        seed,
        given.but(
            **own,
            **{option.name: None for option in OF_SWEEP},
            audit=audit,
            seed=seed,
            said=said,
            notes=(),
        ),
    )
