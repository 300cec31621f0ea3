"""What the options of ``finetune`` mean: objective, recipe, teacher."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from inspect import signature
from typing import TYPE_CHECKING, Any

from saliency_audit.catalogue.metrics import METRICS
from saliency_audit.catalogue.objectives import OBJECTIVES
from saliency_audit.catalogue.training_presets import PRESETS
from saliency_audit.commands.finetune.options import (
    NONE,
    OF_ACTIVATION,
    OF_RECIPE,
    OF_TEACHER,
    OPTIONS,
    QUESTIONS,
    TRAINED_ANEW,
)
from saliency_audit.commands.options import given_to, refuse_idle
from saliency_audit.errors import InputError, lookup
from saliency_audit.options import Given

if TYPE_CHECKING:
    from saliency_audit.catalogue.entries import Objective
    from saliency_audit.training import Recipe

ACTIVATION: dict[str, Any] = {"surrogate": "auto", "beta": 10.0}
"""Activation that is trained, unless told otherwise."""


@dataclass(frozen=True)
class Plan:
    """What the options mean.

    Attributes:
        name: of the objective.
        objective: itself.
        options: of the objective, all of them.
        teacher: options of the teacher's maps, all of them.
        recipe: of the training.
        surrogate: "auto", "none" or "softplus".
        beta: of softplus.
        beta_given: whether it was asked for.
    """

    name: str
    objective: "Objective"
    options: Mapping[str, Any]
    teacher: Mapping[str, Any]
    recipe: "Recipe"
    surrogate: str
    beta: float
    beta_given: bool


LEAST = 1 / 256
"""Smallest budget that images of 8 bits can use."""
EPS = {"linf": 2 / 255, "l2": 0.5}
"""Budgets of the audit unless one is given: a model of plain training is not at 0 there."""


_ATTACKED = ("robust-accuracy", "topk-intersection")
_OF_MAPS = tuple(q for q in QUESTIONS if q not in METRICS or METRICS[q].of != "model")
_READ_BY = {
    "audit_eps": _ATTACKED,
    "audit_norm": _ATTACKED,
    "other": ("stability",),
    "saliency": _OF_MAPS,
    "max_samples": QUESTIONS[1:],
    "against": QUESTIONS,
}
"""Options of the audit that are read by these checks alone."""


def audited(given: Given) -> tuple[str, ...]:
    """The checks that are measured before and after, in the order of ``QUESTIONS``.

    Raises:
        InputError: nothing and something, or an option that would do nothing.
    """
    asked = given.audit or list(QUESTIONS)
    if anew := [name for name in asked if name in TRAINED_ANEW]:
        raise InputError(
            f"--audit {anew[0]} trains networks anew, for --sweep; add that, or ask for it with "
            f"evaluate MODEL --metric {anew[0]}"
        )
    if NONE in asked and len(set(asked)) > 1:
        raise InputError(f"--audit is {' and '.join(dict.fromkeys(asked))}; leave none or the rest")
    flags = {option.name: option.flag for option in OPTIONS}
    for name, checks in _READ_BY.items():
        if name in given.said and not set(checks) & set(asked):
            raise InputError(
                f"{flags[name]} is for --audit {', '.join(checks)}, not {', '.join(asked)}; leave "
                "it or ask for that"
            )
    return tuple(check for check in QUESTIONS if check in asked)


def budgets(given: Given, plan: Plan) -> list[tuple[float, str]]:
    """Budgets that attacks of the audit have, each with its norm.

    Unless one is given, what `pgd` trains within is one, too: robustness that was trained for ends
    there. One below a level of 8 bits is none.
    """
    norm = str(given.audit_norm)
    if given.audit_eps is not None:
        return [(float(given.audit_eps), norm)]
    found = [(EPS[norm], norm)]
    if plan.name == "pgd":
        trained = (float(plan.options["eps"]), str(plan.options["norm"]))
        if trained not in found and trained[0] >= LEAST:
            found.append(trained)
    return found


def planned(given: Given) -> Plan:
    """The options of a preset, and over them those of the command line.

    Raises:
        InputError: no objective, an unknown name, or an option that would do nothing.
    """
    from saliency_audit.training import Recipe
    from saliency_audit.training.loop import options_of
    from saliency_audit.training.teacher_maps import write_targets

    preset = None if given.preset is None else lookup("preset", PRESETS, given.preset)
    name, objective = trained_for(given)
    if preset is not None and preset.objective != name:
        raise InputError(
            f"--preset {given.preset} is of --objective {preset.objective}, not {name}; leave one"
        )
    refuse_idle(given, "--objective", OBJECTIVES, [name])
    asked = given_to(objective.options, given)
    options = options_of(objective) | dict(preset.options if preset else {}) | asked
    _refuse_without_effect(asked, options)
    # A flag that is not given says nothing.
    of_teacher = given_to(OF_TEACHER, given.but(permute=given.permute or None))
    if "targets" not in objective.needs and (of_teacher or given.teacher is not None):
        flags = [option.flag for option in OF_TEACHER if option.key in of_teacher]
        takers = " or ".join(n for n, entry in OBJECTIVES.items() if "targets" in entry.needs)
        raise InputError(
            f"{[*flags, '--teacher'][0]} is for --objective {takers}, not {name}; "
            "leave it or ask for that"
        )
    teachers = _options_of_maps(write_targets) | dict(preset.teacher if preset else {}) | of_teacher
    said = given_to((*OF_RECIPE, *OF_ACTIVATION), given)
    fine = {"freeze_bn": not given.from_scratch}
    recipe = ACTIVATION | fine | dict(preset.recipe if preset else {}) | said
    surrogate, beta = str(recipe.pop("surrogate")), float(recipe.pop("beta"))
    if not beta > 0:
        raise InputError(f"--beta is {beta:g}; it must be above 0")
    if "momentum" in said and recipe.get("optimizer", "sgd") != "sgd":
        raise InputError(f"--momentum is of sgd; leave it for --optimizer {recipe['optimizer']}")
    return Plan(
        name, objective, options, teachers, Recipe(**recipe), surrogate, beta, "beta" in said
    )


def trained_for(given: Given) -> "tuple[str, Objective]":
    """The objective that is asked for, or that of the preset, with its name.

    Raises:
        InputError: none, or an unknown name.
    """
    preset = None if given.preset is None else lookup("preset", PRESETS, given.preset)
    name = given.objective or (preset.objective if preset else "")
    if not name:
        raise InputError(f"give --objective NAME; known: {', '.join(OBJECTIVES)}")
    return name, lookup("objective", OBJECTIVES, name)


ONLY_WITH = {
    "eps2": ("penalty", "elastic"),
    "group": ("penalty", "group"),
    "joint_channels": ("penalty", "group"),
    "sigma": ("trace", "taylor"),
}
"""Options that are read only where another one has this value."""


def _refuse_without_effect(given: Mapping[str, Any], options: Mapping[str, Any]) -> None:
    """Refuse options that the others leave without effect.

    Raises:
        InputError: one line with the option and what it belongs to.
    """

    def spelled(name: str) -> str:
        return f"--{name.replace('_', '-')}"

    for name, (key, value) in ONLY_WITH.items():
        if name in given and options.get(key, value) != value:
            raise InputError(
                f"{spelled(name)} is for {spelled(key)} {value}; leave it for {options[key]}"
            )
    steps, replay = options.get("steps", 1), options.get("replay", 1)
    if "step_size" in given and "penalty" in options and steps == 1 and replay == 1:
        raise InputError("--step-size is for --steps 2 or more, or --replay; leave it")


def _options_of_maps(function: Callable[..., Any]) -> dict[str, Any]:
    """The options of a teacher's maps and what they are unless they are given."""
    own = signature(function).parameters
    return {option.key: own[option.key].default for option in OF_TEACHER}
