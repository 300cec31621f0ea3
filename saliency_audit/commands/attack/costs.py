"""What ``attack`` takes, and what it leaves out where nobody asked."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from saliency_audit.attacks import ATTACKS, EVOLUTION
from saliency_audit.attacks.descend import LOOKS
from saliency_audit.commands.attack.batch import Pair, Run, by_control
from saliency_audit.commands.attack.jobs import RANDOM, Job
from saliency_audit.commands.attack.search import search_options, tries
from saliency_audit.commands.costs import (
    FORWARD,
    GRADIENT,
    Passes,
    dear,
    is_large,
    passes_of_map,
    points,
    scalars_computed,
)
from saliency_audit.metrics.completeness import MIDPOINTS
from saliency_audit.metrics.completeness import SCALARS as COMPLETE


@dataclass(frozen=True)
class Economy:
    """What is not done, for its cost.

    Attributes:
        unattacked: methods by default that are not attacked.
        unmeasured: methods that are measured only where they are attacked.
        note: says so, and how to ask for it; empty where nothing is left out.
    """

    unattacked: Sequence[str] = ()
    unmeasured: Sequence[str] = ()
    note: str = ""


def economy(
    saliency: Sequence[str] | None,
    measure: Sequence[str] | None,
    *,
    by_default: Sequence[str],
    besides: Sequence[str] = (),
    options: Mapping[str, Any],
    sides: Sequence[int],
) -> Economy:
    """What a run leaves out: by the passes of a map, never by the machine.

    Args:
        saliency: methods to attack that were asked for; None for none.
        measure: methods to measure; likewise.
        by_default: methods that are attacked where none is asked for.
        besides: methods that a first look leaves out.
        options: of methods.
        sides: of an image.

    >>> found = economy(None, None, by_default=["smoothgrad"], options={}, sides=(224, 224))
    >>> found.unattacked, "smoothgrad" in found.unmeasured
    (['smoothgrad'], True)
    """
    if besides:
        return Economy(besides, () if measure else besides)
    many = dear(options, sides)
    attacked = by_default if saliency is None else saliency
    unattacked = [n for n in by_default if n in many and is_large(sides) and saliency is None]
    unmeasured = [] if measure or "all" in attacked else many
    parts = [f"{', '.join(unattacked)} not attacked (--saliency NAME)"] if unattacked else []
    told = [name for name in unmeasured if name not in attacked or name in unattacked]
    if told:
        parts.append(f"{', '.join(told)} not measured (--measure NAME, or all)")
    return Economy(unattacked, unmeasured, f"by their cost, {'; '.join(parts)}" if parts else "")


def passes_of_image(
    run: Run, work: Sequence[Job], stand_ins: int, *, at_once: float, batch_size: int
) -> Passes:
    """What attacking one image and measuring its maps takes, where no search ends early.

    Args:
        run: what all batches share.
        work: all jobs.
        stand_ins: smooth networks that are compared with the given one.
        at_once: images of a batch, on average.
        batch_size: most images the model sees at once.
    """
    sides = run.model.input_shape[1:]

    def of_map(name: str) -> Passes:
        return passes_of_map(name, run.options, sides, at_once=at_once, methods=run.methods)

    def of_pairs(pairs: Sequence[Pair]) -> Passes:
        scalars: dict[str, list[str]] = {}
        for name, scalar in pairs:
            scalars.setdefault(name, []).append(scalar)
        total = FORWARD * (3 * len(pairs))  # an image shown through a map
        for name, own in scalars.items():
            total += of_map(name) * len(scalars_computed(own, run.methods[name].parity))
        return total

    def searching(job: Job) -> Passes:
        found_by = search_options(job.attack, run.search, job.search)
        steps, starts = int(found_by["steps"]), int(found_by.get("restarts", 1))
        if not ATTACKS[job.attack].goal:
            return FORWARD + (GRADIENT + FORWARD) * (steps * starts)
        of_one = of_map(job.saliency)
        begin = of_one + FORWARD * (1 + bool(found_by.get("keep_prediction")))
        if job.search == EVOLUTION:
            return begin + (of_one * tries(job.attack, run.search, job.search)) + FORWARD * steps
        looked = points(run.methods[job.saliency], run.options, sides)
        step = Passes(second=of_one.count)
        if looked > 1:
            step += FORWARD  # the logits of the image itself
            if max(1, batch_size // at_once) < looked:
                step += of_one  # its graph is made again
        every = max(1, steps // LOOKS)
        looks = steps // every + bool(steps % every)
        return begin + (step * steps + (of_one + FORWARD) * looks) * starts

    planned = [job for job in work if job.attack != RANDOM]
    pairs = dict.fromkeys(pair for job in work for pair in run.pairs(run.scalars_of(job)))
    total = FORWARD
    if any(job.search != EVOLUTION for job in planned):
        steps = MIDPOINTS + MIDPOINTS // 2
        total += FORWARD * steps + GRADIENT * (len(COMPLETE) * steps)
    total += (FORWARD + GRADIENT) * (2 * stand_ins)
    for job in planned:
        total += searching(job) + FORWARD + of_pairs(run.pairs(run.scalars_of(job)))
    for name, _ in pairs:
        total += of_map(name) + FORWARD
    for same in by_control(work).values():
        scalars = list(dict.fromkeys(scalar for job in same for scalar in run.scalars_of(job)))
        total += (FORWARD + of_pairs(run.pairs(scalars))) * run.draws
    return total
