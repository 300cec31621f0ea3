"""Run one job on a batch of images, in as small parts as the memory asks for."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext, suppress
from functools import partial
from inspect import signature
from typing import Any

import torch
from torch import Tensor

from saliency_audit.attacks import ATTACKS, EVOLUTION, GRADIENT, SEARCHES, STEPS
from saliency_audit.attacks.descend import Aim
from saliency_audit.catalogue.entries import SaliencyMethod
from saliency_audit.commands.attack.jobs import RANDOM, Job
from saliency_audit.commands.explain import FEW
from saliency_audit.commands.reason import refusing
from saliency_audit.errors import UnsupportedError
from saliency_audit.maps import unit_sum
from saliency_audit.methods import METHODS
from saliency_audit.models import Classifier, halve_on_oom, surrogate
from saliency_audit.seeding import forked, generators

Known = Mapping[str, Any]
Trace = dict[int, tuple[Tensor, Tensor]]


def known_to(function: Callable[..., Any], options: Known) -> dict[str, Any]:
    """Those of the options that a function has."""
    names = signature(function).parameters
    return {name: value for name, value in options.items() if name in names}


def search_of(overrides: Known) -> str:
    """The search that was asked for, a name in ``SEARCHES``."""
    return EVOLUTION if overrides.get("rule") == EVOLUTION else GRADIENT


def search_function(attack: str, search: str) -> Callable[..., Any]:
    """What looks for the image."""
    entry = ATTACKS[attack]
    return SEARCHES[search].function if entry.goal else entry.function


def search_options(attack: str, overrides: Known, search: str = GRADIENT) -> dict[str, Any]:
    """Options of an attack's search: its own, with what the user asked for on top."""
    function = search_function(attack, search)
    asked = known_to(function, overrides)
    if asked.get("rule") in SEARCHES:
        del asked["rule"]  # the attack's own
    return {"steps": STEPS, **known_to(function, ATTACKS[attack].defaults), **asked}


def tries(attack: str, overrides: Known, search: str) -> int:
    """How often the search asks for a map of each image, all restarts together."""
    chosen = search_options(attack, overrides, search)
    if search == GRADIENT or not ATTACKS[attack].goal:
        return int(chosen["steps"] * chosen.get("restarts", 1))
    function = search_function(attack, search)
    population = chosen.get("population", signature(function).parameters["population"].default)
    # In pairs; two more are offered as the best image.
    return int(chosen["steps"] * (2 * ((population + 1) // 2) + 2))


def map_function(
    model: Classifier,
    saliency: str,
    targets: Tensor,
    *,
    scalar: str,
    options: Known,
    seeds: Sequence[torch.Generator],
    batch_size: int | None,
    methods: Mapping[str, SaliencyMethod] = METHODS,
    copies: bool = False,
) -> Callable[..., Tensor]:
    """``explain(images, graph=...)`` of one method: maps ``(n, h, w)`` that add up to 1.

    Random draws go on from call to call: an attack cannot fit one drawing of the noise.

    Args:
        model: the classifier.
        saliency: name of the method.
        targets: explained classes, ``(n,)``.
        scalar: in ``SCALARS``.
        options: of all methods.
        seeds: of the images.
        batch_size: most images the model sees at once.
        methods: by name.
        copies: whether ``images`` may be several copies of the n images, one set after the other.
            Each copy then has generators of its own, so that it does not matter how many come
            in one call.
    """
    method = methods[saliency]
    compute = partial(
        method.function,
        model,
        scalar=scalar,
        batch_size=batch_size,
        **known_to(method.function, options),
    )

    def explain(images: Tensor, *, graph: bool) -> Tensor:
        classes, draws = targets, seeds
        if copies:
            count = len(images) // len(targets)
            classes = targets.repeat(count)
            draws = [forked(seed) if method.stochastic else seed for seed in [*seeds] * count]
        try:
            with refusing():
                return unit_sum(compute(images, classes, graph=graph, generators=draws))
        except UnsupportedError:
            if graph:
                raise
        # One image may be to blame; its map is NaN, which no search takes for better.
        maps = torch.full_like(images[:, 0], torch.nan)
        for i in range(len(images)):
            one = slice(i, i + 1)
            with suppress(UnsupportedError), refusing():
                maps[one] = unit_sum(
                    compute(images[one], classes[one], graph=False, generators=draws[one])
                )
        return maps

    return explain


def run_job(
    job: Job,
    model: Classifier,
    images: Tensor,
    targets: Tensor,
    reference: Tensor | None,
    *,
    names: Sequence[str],
    overrides: Known,
    goal_options: Known,
    options: Known,
    seed: int,
    batch_size: int,
    tell: Callable[[str], None],
    methods: Mapping[str, SaliencyMethod] = METHODS,
    tick: Callable[[int], None] = lambda images: None,
) -> tuple[Tensor, int, Trace]:
    """The attacked images of one job.

    Args:
        job: attack, budget, method, scalar.
        model: the classifier, in full precision.
        images: ``(n, c, h, w)`` on the 8-bit grid.
        targets: explained classes.
        reference: of the goal, ``(n, h, w)``; None for attacks on the prediction.
        names: of the images.
        overrides: options of the search that the user set.
        goal_options: k and the seed of ties.
        options: of the saliency methods.
        seed: of the run.
        batch_size: most images the model sees at once.
        tell: takes a line when the batch had to be made smaller.
        methods: by name.
        tick: called with the number of images that made a step.

    Returns:
        ``(n, c, h, w)``, the batch size that fitted, and by step the goal and the prediction's
        term, ``(n,)`` each.
    """
    entry = ATTACKS[job.attack]
    function = search_function(job.attack, job.search)
    found_by = search_options(job.attack, overrides, job.search)
    used = batch_size
    parts: dict[int, list[tuple[Tensor, Tensor]]] = {}

    def log(step: int, goal: Tensor, prediction: Tensor) -> None:
        parts.setdefault(step, []).append((goal, prediction))

    def part(chosen: slice, size: int) -> Tensor:
        draws = partial(generators, seed, names[chosen], device=images.device)
        seeds = draws(purpose=f"{job.setting}|{job.scalar}")
        explain = aim = None
        if entry.goal:
            assert reference is not None
            explain = map_function(
                model,
                job.saliency,
                targets[chosen],
                scalar=job.scalar or "logit",
                options=options,
                seeds=draws(purpose=f"{job.setting}|{job.scalar}|maps"),
                batch_size=size,
                methods=methods,
                copies=job.search == EVOLUTION,
            )
            goal, criterion = (
                partial(function, reference=reference[chosen], **known_to(function, goal_options))
                for function in (entry.goal.function, entry.goal.chooses)
            )
            aim = Aim(goal, criterion, entry.goal.floor, log)
        count = len(seeds)
        attacked: Tensor = function(
            model,
            explain,
            aim,
            images[chosen],
            targets[chosen],
            eps=job.eps,
            norm=job.norm,
            generators=seeds,
            tick=lambda: tick(count),
            **known_to(function, {"batch_size": size}),
            **found_by,
        )
        return attacked

    def whole(size: int) -> Tensor:
        nonlocal used
        used = size
        parts.clear()
        starts = range(0, len(images), size)
        return torch.cat([part(slice(start, start + size), size) for start in starts])

    attacked = halve_on_oom(whole, batch_size, tell=tell)
    trace = {
        step: (torch.cat([goal for goal, _ in pairs]), torch.cat([term for _, term in pairs]))
        for step, pairs in parts.items()
    }
    return attacked, used, trace


def possible(
    work: Sequence[Job],
    model: Classifier,
    image: Tensor,
    target: Tensor,
    *,
    overrides: Known,
    goal_options: Known,
    options: Known,
    methods: Mapping[str, SaliencyMethod],
    tell: Callable[[str], None],
) -> list[Job]:
    """The jobs that can be run on this model, tried with one step on one image.

    Args:
        work: all jobs.
        model: the classifier, in full precision.
        image: ``(1, c, h, w)``.
        target: its explained class.
        overrides: options of the search that the user set.
        goal_options: k and the seed of ties.
        options: of the saliency methods.
        methods: by name.
        tell: takes a line on each that is left out.

    Raises:
        UnsupportedError: none can.
    """
    kept, reasons = [], []
    quick = {**overrides, "steps": 1, "restarts": 1, "population": 2}
    for job in work:
        if job.attack == RANDOM:  # the control follows nothing
            kept.append(job)
            continue
        try:
            with refusing():
                even = torch.full_like(image[:, 0], 1 / image[0, 0].numel())
                run_job(
                    job,
                    model,
                    image,
                    target,
                    even if ATTACKS[job.attack].goal else None,
                    names=["probe"],
                    overrides=quick,
                    goal_options=goal_options,
                    options={**options, **FEW},
                    seed=0,
                    batch_size=1,
                    tell=tell,
                    methods=methods,
                )
            kept.append(job)
        except UnsupportedError as error:
            of = f" of {job.saliency}" if job.saliency else ""
            reasons.append(f"{job.attack}{of} left out: {error}")
    if work and not kept:
        raise UnsupportedError(f"no attack can be run on {model.name}: {reasons[0]}")
    for reason in reasons:
        tell(reason)
    return kept


def attackable(
    names: Sequence[str],
    model: Classifier,
    image: Tensor,
    target: Tensor,
    *,
    scalar: str,
    smooth: str,
    options: Known,
    refuse: bool,
    tell: Callable[[str], None],
    methods: Mapping[str, SaliencyMethod] = METHODS,
) -> list[str]:
    """The methods whose maps can be differentiated on this model, tried on one image.

    Args:
        names: in ``methods``.
        model: the classifier, in full precision.
        image: ``(1, c, h, w)``.
        target: its explained class.
        scalar: in ``SCALARS``.
        smooth: kind of the stand-in.
        options: of all saliency methods.
        refuse: raise instead of leaving one out.
        tell: takes a line on each that is left out.
        methods: by name.

    Raises:
        UnsupportedError: one cannot be attacked and ``refuse`` is set, or none can.
    """
    if smooth != "none":
        try:
            surrogate(model, smooth, beta=1.0)  # type: ignore[arg-type]
        except UnsupportedError as error:
            raise UnsupportedError(
                f"maps of {model.name} cannot be attacked by their gradient: {error}; add --search "
                "evolution, which needs none. --attack pgd works as it is; --surrogate none if no "
                "activation is piecewise linear"
            ) from error
    kept = []
    for name in names:
        reason = "it cannot be differentiated"
        if methods[name].differentiable:
            try:
                with refusing():
                    _second_derivative(name, model, image, target, scalar, smooth, options)
                kept.append(name)
                continue
            except UnsupportedError as error:
                reason = " ".join(str(error).split())[:200]
        elif not refuse:
            continue
        if refuse:
            raise UnsupportedError(
                f"--saliency {name} cannot be attacked by its gradient: {reason}; add --search "
                f"evolution, which needs none, or measure it under other attacks, --measure {name}"
            )
        tell(f"{name} is not attacked: {reason}; add --search evolution")
    if not kept:
        raise UnsupportedError(
            f"no map of {model.name} can be attacked by its gradient; add --search evolution"
        )
    return kept


def _second_derivative(
    name: str,
    model: Classifier,
    image: Tensor,
    target: Tensor,
    scalar: str,
    smooth: Any,
    options: Known,
) -> None:
    """Differentiate one map in its image."""
    explain = map_function(
        model,
        name,
        target,
        scalar=scalar,
        options={**options, **FEW},
        seeds=generators(0, ["probe"], name, image.device),
        batch_size=1,
    )
    if not bool(explain(image, graph=False).isfinite().all()):
        raise UnsupportedError("its map of the first image is not defined on this network")
    pixels = image.clone().requires_grad_()
    with nullcontext() if smooth == "none" else surrogate(model, smooth, beta=30.0):
        total = explain(pixels, graph=True).square().sum()
        if total.requires_grad:
            torch.autograd.grad(total, pixels, allow_unused=True)
