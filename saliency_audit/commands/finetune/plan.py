"""What the options of ``finetune`` mean: objective, recipe, teacher."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from inspect import signature
from typing import TYPE_CHECKING, Any

from saliency_audit.errors import InputError, lookup
from saliency_audit.options import Given

if TYPE_CHECKING:
    from saliency_audit.training import Recipe
    from saliency_audit.types import Objective

ACTIVATION: dict[str, Any] = {"surrogate": "auto", "beta": 10.0}
"""Activation that is trained, unless told otherwise."""


OF_OBJECTIVE = (
    *("weight", "eps", "steps", "step_size", "norm", "loss", "kappa", "random_start"),
    *("attack_momentum", "penalty", "eps2", "group", "joint_channels", "replay", "clamp", "mu"),
    *("sigma", "draws", "trace", "antithetic", "tau", "of", "reduction", "projections"),
)
"""Options of objectives; their parameters have the same names."""
OF_TEACHER = {
    "teacher_samples": "samples",
    "teacher_sigma": "sigma",
    "threshold": "threshold",
    "permute": "permute",
}
"""Options of the teacher's maps, and the parameters they are."""
OF_RECIPE = (
    *("epochs", "max_steps", "train_batch_size", "accumulate", "lr", "optimizer", "momentum"),
    *("weight_decay", "schedule", "augment", "freeze_bn", "surrogate", "beta"),
)
"""Options of the training."""


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


def planned(given: Given) -> Plan:
    """The options of a preset, and over them those of the command line.

    Raises:
        InputError: no objective, an unknown name, or an option that would do nothing.
    """
    from saliency_audit.training import OBJECTIVES, Recipe
    from saliency_audit.training.loop import options_of
    from saliency_audit.training.presets import PRESETS
    from saliency_audit.training.teacher_maps import write_targets

    preset = None if given.preset is None else lookup("preset", PRESETS, given.preset)
    name = given.objective or (preset.objective if preset else "")
    if not name:
        raise InputError(f"give --objective NAME; known: {', '.join(OBJECTIVES)}")
    objective = lookup("objective", OBJECTIVES, name)
    if preset is not None and preset.objective != name:
        raise InputError(
            f"--preset {given.preset} is of --objective {preset.objective}, not {name}; leave one"
        )
    options = options_of(objective) | dict(preset.options if preset else {})
    asked = _asked(_said(given, OF_OBJECTIVE), options, _objectives_with, name)
    options |= asked
    _refuse_without_effect(asked, options)
    teachers = _options_of_maps(write_targets) | dict(preset.teacher if preset else {})
    if "targets" in objective.needs:
        teachers |= _asked(_said(given, OF_TEACHER), teachers, lambda option: "", name)
    else:
        for option, value in (
            *((option, value) for option, (_, value) in _said(given, OF_TEACHER).items()),
            ("--teacher", given.teacher),
        ):
            if value is not None:
                raise InputError(f"{option} is for --objective interpretation; leave it for {name}")
    said = {name: getattr(given, name) for name in OF_RECIPE}
    said["batch_size"] = said.pop("train_batch_size")
    said = {key: value for key, value in said.items() if value is not None}
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


def _said(given: Given, names: Iterable[str]) -> dict[str, tuple[str, Any]]:
    """Options as they are written, each with its parameter and its value; flags only where on."""
    parameters = {name: OF_TEACHER.get(name, name) for name in names}
    flags = {"permute": given.permute or None}
    return {
        f"--{name.replace('_', '-')}": (parameter, flags.get(name, getattr(given, name)))
        for name, parameter in parameters.items()
    }


def _asked(
    given: Mapping[str, tuple[str, Any]],
    known: Mapping[str, Any],
    others: Callable[[str], str],
    name: str,
) -> dict[str, Any]:
    """What was given, by parameter.

    Raises:
        InputError: it would do nothing.
    """
    chosen = {}
    for option, (parameter, value) in given.items():
        if value is None:
            continue
        if parameter not in known:
            raise InputError(
                f"{option} is for --objective {others(parameter)}; leave it for {name}"
            )
        chosen[parameter] = value
    return chosen


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


def _objectives_with(parameter: str) -> str:
    from saliency_audit.training import OBJECTIVES
    from saliency_audit.training.loop import options_of

    return " or ".join(n for n, entry in OBJECTIVES.items() if parameter in options_of(entry))


def _options_of_maps(function: Callable[..., Any]) -> dict[str, Any]:
    """The options of a teacher's maps and what they are unless they are given."""
    own = ("samples", "sigma", "threshold", "permute")
    return {name: signature(function).parameters[name].default for name in own}
