"""Which audits measure what a policy asks for: few runs, and nothing that no check asks for."""

from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from saliency_audit.catalogue.needs import takers
from saliency_audit.commands.attack.audit import attack
from saliency_audit.commands.evaluate.audit import evaluate
from saliency_audit.commands.fool.audit import fool
from saliency_audit.commands.gate.policy import PolicyCheck, options_by_key
from saliency_audit.data import ImageData
from saliency_audit.errors import InputError, UnsupportedError
from saliency_audit.metrics import METRICS
from saliency_audit.models import Classifier
from saliency_audit.processes import ALONE, Processes
from saliency_audit.types import Batch

AUDITS: dict[str, Callable[..., Iterator[Batch]]] = {
    "metric": evaluate,
    "trick": fool,
    "attack": attack,
}


@dataclass(frozen=True)
class GateRun:
    """One audit that measures some checks of a policy.

    Attributes:
        job: what its batches belong to in the output folder.
        checks: what it measures.
        kind: of all of them.
        arguments: of the audit.
    """

    job: str
    checks: tuple[PolicyCheck, ...]
    kind: str
    arguments: Mapping[str, Any]


def measured(
    run: GateRun,
    model: Classifier,
    data: ImageData,
    *,
    begin: Callable[[str], Container[int]],
    beside: Mapping[str, Any] | None = None,
    processes: Processes = ALONE,
    **shared: Any,
) -> Iterator[tuple[GateRun, Batch | str | None]]:
    """Run an audit; if the model does not allow it, run each of its checks by itself.

    Args:
        run: of `plan`.
        model: the classifier.
        data: the images.
        begin: called with a job once something is known to work; returns the indices of its
            batches that need no work.
        beside: what metrics need beside the images: other, judge, annotations.
        processes: that share its batches out.
        shared: what every audit takes: target, options, seed, batch_size, workers, tell, advance.

    Yields:
        The run with each of its batches, and with None at its end; or a run of one check with
        why the model does not allow it.

    Raises:
        InputError: wrong in the policy, with its lines.
    """
    given = {**run.arguments, **shared, "shard": (processes.rank, processes.world)}
    if run.kind == "metric":
        given["beside"] = _needed(run, beside or {})
    problem = ""
    try:
        for batch in AUDITS[run.kind](model, data, begin=partial(begin, run.job), **given):
            yield run, replace(batch, examples=[], curves=[], job=run.job)
    except UnsupportedError as error:
        problem = str(error)
    except InputError as error:
        raise located(error, run.checks) from error
    # All go on alike, though it may have shown on the images of one process alone.
    problem = next(filter(None, processes.gathered(problem)), "")
    parts = alone(run) if problem else []
    if not parts:
        yield run, problem or None
    for part in parts:
        yield from measured(
            part, model, data, begin=begin, beside=beside, processes=processes, **shared
        )


def located(error: InputError, checks: Sequence[PolicyCheck]) -> InputError:
    """A problem with an option, said of the key in the policy, with its line.

    Args:
        error: names the option.
        checks: that may have it. One that gives it is blamed before one that has its default.

    Returns:
        The same error, if it is about none of their options.
    """
    given, default = dict[int, str](), dict[int, str]()
    for check in checks:
        for key, option in options_by_key(check.kind, check.name).items():
            if option.name == error.option:
                found = given if key in check.options else default
                found[check.lines.get(key, check.line)] = error.about(key)
    blamed = given or default
    if not blamed:
        return error
    lines = ", ".join(map(str, sorted(blamed)))
    return InputError(f"{checks[0].file}, line {lines}: {next(iter(blamed.values()))}")


def _needed(run: GateRun, beside: Mapping[str, Any]) -> dict[str, Any]:
    """What of it the metrics of a run take."""
    metrics = set(run.arguments["metrics"])
    return {name: value for name, value in beside.items() if metrics & set(takers(name))}


def plan(checks: Sequence[PolicyCheck]) -> list[GateRun]:
    """As few runs as there can be without measuring what no check asks for.

    Metrics of the same methods share their maps, and so do tricks, and attacks of the same
    strength; all that is measured of the model alone comes with the first of them.

    Args:
        checks: of a policy.
    """
    groups: list[list[PolicyCheck]] = []
    for unit in _units(checks):
        fitting = (group for group in groups if _fits(unit, group))
        group = next(fitting, None)
        if group is None:
            groups.append(list(unit))
        else:
            group += unit
    return [_run(f"run-{i}", group) for i, group in enumerate(groups, start=1)]


def alone(run: GateRun) -> list[GateRun]:
    """A run for each check by itself: one that the model does not allow costs no other."""
    if len(run.checks) == 1:
        return []
    return [_run(f"{run.job}-check-{i}", [check]) for i, check in enumerate(run.checks, start=1)]


def _units(checks: Sequence[PolicyCheck]) -> list[list[PolicyCheck]]:
    """Checks that one measurement answers but for the method: same name, scalar and options."""
    units: dict[tuple[Any, ...], list[PolicyCheck]] = {}
    for check in checks:
        units.setdefault(_measurement(check), []).append(check)
    # Maps first: what is measured of the model comes with them.
    return sorted(units.values(), key=lambda unit: _of_model(unit[0]))


def _measurement(check: PolicyCheck) -> tuple[Any, ...]:
    name = check.metric if check.kind == "metric" else check.name
    return (check.kind, name, _scalar(check), repr(sorted(check.options.items())))


def _scalar(check: PolicyCheck) -> str:
    # A control explains none, and comes with any.
    return check.scalar or "logit"


def _of_model(check: PolicyCheck) -> bool:
    return check.kind == "metric" and METRICS[check.metric].of == "model"


def _fits(unit: list[PolicyCheck], group: list[PolicyCheck]) -> bool:
    """Whether a unit can be measured in the run of a group at no cost to either."""
    one, other = unit[0], group[0]
    if one.kind != other.kind:
        return False
    name = one.metric if one.kind == "metric" else one.name
    names = {check.metric if check.kind == "metric" else check.name for check in group}
    if name in names:
        return False
    if _of_model(one):
        return True
    maps = [check for check in group if not _of_model(check)]
    if {c.saliency for c in unit} != {c.saliency for c in maps} or not maps:
        return False
    shared = _shared(one) == _shared(other)
    return _scalar(one) == _scalar(other) and shared


def _shared(check: PolicyCheck) -> dict[str, Any]:
    """Options that hold for all of a run."""
    if check.kind == "metric":
        return {}
    if check.kind == "trick":
        return {key: check.options.get(key) for key in ("strength", "picture")}
    return dict(check.options)


def _run(job: str, group: Sequence[PolicyCheck]) -> GateRun:
    first = group[0]
    methods = list(dict.fromkeys(check.saliency for check in group if check.saliency))
    build = {"metric": _evaluate, "trick": _fool, "attack": _attack}[first.kind]
    return GateRun(job, tuple(group), first.kind, build(group, methods, _scalar(first)))


def _evaluate(group: Sequence[PolicyCheck], methods: list[str], scalar: str) -> dict[str, Any]:
    return {
        "metrics": {check.metric: check.parameters for check in group},
        "saliency": methods or None,
        "scalar": scalar,
    }


def _fool(group: Sequence[PolicyCheck], methods: list[str], scalar: str) -> dict[str, Any]:
    own = ("strength", "picture")
    picture = group[0].options.get("picture")
    return {
        "tricks": {
            check.name: {key: value for key, value in check.options.items() if key not in own}
            for check in group
        },
        "strength": group[0].options.get("strength", 10.0),
        "picture": None if picture is None else Path(picture),
        "saliency": methods,
        "scalars": [scalar],
    }


def _attack(group: Sequence[PolicyCheck], methods: list[str], scalar: str) -> dict[str, Any]:
    options = group[0].options
    target_map = options.get("target_map")
    return {
        "attacks": list(dict.fromkeys(check.name for check in group)),
        "eps": [options["eps"]] if "eps" in options else None,
        "norm": options.get("norm", "linf"),
        "k": options.get("k", 0.02),
        "target_map": None if target_map is None else Path(target_map),
        "search": group[0].parameters,
        "saliency": methods,
        "measure": methods,
        "scalars": [scalar],
    }
