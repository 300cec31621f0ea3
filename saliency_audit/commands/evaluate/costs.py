"""What ``evaluate`` takes, and what it leaves out where nobody asked."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from inspect import signature
from typing import Any

from saliency_audit.commands.costs import (
    FORWARD,
    GRADIENT,
    Passes,
    dear,
    is_large,
    passes_of_map,
)
from saliency_audit.methods import METHODS
from saliency_audit.metrics import METRICS
from saliency_audit.metrics.completeness import SCALARS
from saliency_audit.metrics.fill import fill_name
from saliency_audit.metrics.perturbation import even_counts
from saliency_audit.metrics.sanity import evenly_spaced

REPEATED = "sanity-cascade"
"""The metric by default that makes each map again and again."""


def economy(
    metrics: Sequence[str] | None,
    saliency: Sequence[str] | None,
    *,
    by_default: Sequence[str],
    options: Mapping[str, Any],
    sides: Sequence[int],
) -> tuple[list[tuple[str, str]], str]:
    """What a run leaves out: by the passes of a map, never by the machine.

    Args:
        metrics: that were asked for; None for none.
        saliency: methods that were asked for; likewise.
        by_default: methods that are measured where none is asked for.
        options: of methods.
        sides: of an image.

    Returns:
        Pairs of a metric and a method, and a line that says so, and how to ask for them.

    >>> economy(None, None, by_default=["gradient"], options={}, sides=(224, 224))
    ([], '')
    """
    if metrics or saliency or not is_large(sides):
        return [], ""
    names = [name for name in by_default if name in dear(options, sides)]
    if not names:
        return [], ""
    note = (
        f"by their cost, no {REPEATED} of {', '.join(names)}; --saliency "
        f"{' --saliency '.join(names)} --metric {REPEATED} measures it"
    )
    return [(REPEATED, name) for name in names], note


@dataclass(frozen=True)
class Plan:
    """What a run measures.

    Attributes:
        metrics: and their options.
        methods: whose maps are measured.
        left_out: pairs of a metric and a method that are not.
        options: of methods.
        shape: of an image, ``(c, h, w)``.
        layers: of the model that own weights.
        at_once: images of a batch, on average.
    """

    metrics: Mapping[str, Mapping[str, Any]]
    methods: Sequence[str]
    left_out: Sequence[tuple[str, str]]
    options: Mapping[str, Any]
    shape: tuple[int, int, int]
    layers: int
    at_once: float

    def of_map(self, name: str) -> Passes:
        """A map of one image."""
        return passes_of_map(name, self.options, self.shape[1:], at_once=self.at_once)

    def setting(self, metric: str, option: str) -> Any:
        """An option of a metric: as given, or its default."""
        default = signature(METRICS[metric].function).parameters[option].default
        return self.metrics[metric].get(option, default)

    def seen(self, metric: str) -> list[str]:
        """The methods that a metric is measured of."""
        return [name for name in self.methods if (metric, name) not in self.left_out]


def passes_of_image(plan: Plan) -> Passes | None:
    """What measuring one image takes; None where a metric's passes are not known beforehand.

    Args:
        plan: what is measured.
    """
    total = FORWARD
    if any(METRICS[name].of != "model" for name in plan.metrics):
        for name in plan.methods:
            total += plan.of_map(name)
    for metric in plan.metrics:
        if metric not in _PASSES:
            return None
        total += _PASSES[metric](plan, metric)
    return total + FORWARD * len(_fills(plan))


def _nothing(plan: Plan, metric: str) -> Passes:
    del plan, metric
    return Passes()


def _fading(plan: Plan, metric: str) -> Passes:
    _, height, width = plan.shape
    between = len(even_counts(height * width, plan.setting(metric, "steps"))) - 2
    return FORWARD * (between * len(plan.seen(metric)))


def _cascade(plan: Plan, metric: str) -> Passes:
    stages = len(evenly_spaced(plan.layers, plan.setting(metric, "stages")))
    seen = [name for name in plan.seen(metric) if not METHODS[name].control]
    made = FORWARD * bool(seen)  # the outputs, once
    for name in seen:
        made += plan.of_map(name)
    looking = FORWARD * (1 / plan.at_once)  # for the layers
    return looking + made * int(stages * plan.setting(metric, "draws"))


def _draws(plan: Plan, metric: str) -> Passes:
    total = Passes()
    for name in plan.seen(metric):
        total += plan.of_map(name) * int(plan.setting(metric, "level_draws"))
    return total


def _ways(plan: Plan, metric: str) -> Passes:
    steps = int(plan.setting(metric, "midpoints"))
    steps += max(steps // 2, 1)  # on the other way
    return (FORWARD + GRADIENT * len(SCALARS)) * steps


_PASSES: dict[str, Callable[[Plan, str], Passes]] = {
    "deletion": _fading,
    "preservation": _fading,
    "sanity-cascade": _cascade,
    "level-coherence": _draws,
    "completeness": _ways,
    "scalar-agreement": lambda plan, metric: GRADIENT * 2,
    **dict.fromkeys(("accuracy", "sparsity-gini", "sparsity-hoyer"), _nothing),
}


def _fills(plan: Plan) -> set[str]:
    """What whole images are replaced by, whose outputs are found once for all methods."""
    own = [name for name in plan.metrics if _PASSES.get(name) is _fading]
    return {fill_name(plan.setting(name, "fill")) for name in own}
