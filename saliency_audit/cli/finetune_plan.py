"""What the options of ``finetune`` mean: objective, recipe, teacher."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any

from saliency_audit.errors import InputError, lookup

if TYPE_CHECKING:
    from saliency_audit.training import Recipe
    from saliency_audit.types import Objective

ACTIVATION: dict[str, Any] = {"surrogate": "auto", "beta": 10.0}
"""Activation that is trained, unless told otherwise."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """All options of the command.

    ``given``, ``teacher_given`` and ``recipe_given`` hold None for what was not given.
    """

    model: str | None
    objective: str | None
    preset: str | None
    given: Mapping[str, tuple[str, Any]]
    teacher: str | None
    teacher_given: Mapping[str, tuple[str, Any]]
    annotations: Path | None
    recipe_given: Mapping[str, Any]
    from_scratch: bool
    checkpoint_every: int | None
    min_accuracy: float
    data: str | None
    val: str | None
    max_train: int | None
    max_val: int | None
    classes: Path | None
    resize: int | None
    max_samples: int
    saliency: tuple[str, ...]
    scalar: str
    target: str
    audit_eps: float | None
    audit_norm: str
    against: str | None
    other: str | None
    arch: str | None
    size: int | None
    channels: int | None
    mean: tuple[float, ...] | None
    std: tuple[float, ...] | None
    layer: str | None
    trust_pickle: bool
    device: str
    precision: str
    batch_size: str
    seed: int
    workers: int
    output_dir: Path
    resume: bool
    quiet: bool


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


def planned(request: Request) -> Plan:
    """The options of a preset, and over them those of the command line.

    Raises:
        InputError: no objective, an unknown name, or an option that would do nothing.
    """
    from saliency_audit.training import OBJECTIVES, Recipe
    from saliency_audit.training.loop import options_of
    from saliency_audit.training.presets import PRESETS
    from saliency_audit.training.teacher_maps import write_targets

    preset = None if request.preset is None else lookup("preset", PRESETS, request.preset)
    name = request.objective or (preset.objective if preset else "")
    if not name:
        raise InputError(f"give --objective NAME; known: {', '.join(OBJECTIVES)}")
    objective = lookup("objective", OBJECTIVES, name)
    if preset is not None and preset.objective != name:
        raise InputError(
            f"--preset {request.preset} is of --objective {preset.objective}, not {name}; leave one"
        )
    options = options_of(objective) | dict(preset.options if preset else {})
    asked = _given(request.given, options, _objectives_with, name)
    options |= asked
    _refuse_without_effect(asked, options)
    teachers = _options_of_maps(write_targets) | dict(preset.teacher if preset else {})
    if "targets" in objective.needs:
        teachers |= _given(request.teacher_given, teachers, lambda option: "", name)
    else:
        for option, value in (
            *((option, value) for option, (_, value) in request.teacher_given.items()),
            ("--teacher", request.teacher),
        ):
            if value is not None:
                raise InputError(f"{option} is for --objective interpretation; leave it for {name}")
    given = {key: value for key, value in request.recipe_given.items() if value is not None}
    fine = {"freeze_bn": not request.from_scratch}
    recipe = ACTIVATION | fine | dict(preset.recipe if preset else {}) | given
    surrogate, beta = str(recipe.pop("surrogate")), float(recipe.pop("beta"))
    if not beta > 0:
        raise InputError(f"--beta is {beta:g}; it must be above 0")
    if "momentum" in given and recipe.get("optimizer", "sgd") != "sgd":
        raise InputError(f"--momentum is of sgd; leave it for --optimizer {recipe['optimizer']}")
    return Plan(
        name, objective, options, teachers, Recipe(**recipe), surrogate, beta, "beta" in given
    )


def _given(
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
