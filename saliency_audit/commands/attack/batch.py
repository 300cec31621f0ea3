"""One batch of images under every attack and its control, measured on what the files hold."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from saliency_audit.attacks import ATTACKS, EVOLUTION, GRADIENT
from saliency_audit.catalogue.entries import SaliencyMethod
from saliency_audit.commands.attack.files import file_of, write_and_read
from saliency_audit.commands.attack.jobs import (
    RANDOM,
    RANDOM_WORST,
    STAND_IN,
    WORST_CASE,
    Job,
    attack_setting,
)
from saliency_audit.commands.attack.rows import (
    Retrieval,
    Values,
    averaged,
    image_values,
    map_values,
    rows_of,
    target_values,
    worst,
)
from saliency_audit.commands.attack.search import run_job, search_options, tries
from saliency_audit.commands.attack.targets import Targets
from saliency_audit.commands.costs import points
from saliency_audit.commands.explain import Maps, predict, tell_zero
from saliency_audit.commands.rows import Subject, image_example, map_example
from saliency_audit.data import ImageBatch
from saliency_audit.errors import UnsupportedError
from saliency_audit.maps import unit_sum
from saliency_audit.metrics.completeness import MIDPOINTS, completeness
from saliency_audit.metrics.completeness import SCALARS as COMPLETE
from saliency_audit.metrics.view import View
from saliency_audit.models import Classifier, agreement, halve_on_oom
from saliency_audit.seeding import generators
from saliency_audit.types import Example, Row

LOW_AGREEMENT = 0.5
"""Mean cosine of gradients below which a stand-in is told of."""
MEASURED_PER_STEP = 8
"""Maps measured in about the time of one step of a search that follows a gradient."""

Pair = tuple[str, str]
"""A measured method and a scalar."""


@dataclass(frozen=True)
class Run:
    """What all batches of a run share.

    Attributes:
        model: the classifier.
        precise: the same in full precision, for second derivatives.
        measured: methods whose maps are measured.
        scalars: explained.
        target: "predicted" or "label".
        targets: what goals want.
        folder: where attacked images go.
        k: most salient pixels.
        draws: of the control.
        seed: of every random draw.
        search: options of searches.
        options: of saliency methods.
        methods: saliency methods by name.
        followed: whether a search can follow the maps: whether they have a derivative.
        tell: takes a line for the user.
        count: takes work done, in steps of one image.
    """

    model: Classifier
    precise: Classifier
    measured: Sequence[str]
    scalars: Sequence[str]
    target: str
    targets: Targets
    folder: Path
    k: int
    draws: int
    seed: int
    search: Mapping[str, Any]
    options: Mapping[str, Any]
    methods: Mapping[str, SaliencyMethod]
    followed: bool
    tell: Callable[[str], None]
    count: Callable[[float], None]

    def pairs(self, scalars: Sequence[str]) -> list[Pair]:
        """What is measured where maps of these scalars are; controls, which have none, once."""
        return [
            (name, scalar)
            for name in self.measured
            for scalar in scalars
            if not self.methods[name].control or scalar == self.scalars[0]
        ]

    def scalars_of(self, job: Job) -> Sequence[str]:
        """Scalars under which the images of a job are explained."""
        return [job.scalar] if job.scalar else self.scalars

    def attacked(self, job: Job) -> Pair:
        """What a job attacks, as it is measured."""
        return job.saliency, job.scalar or self.scalars[0]

    def passes(self, saliency: str) -> int:
        """About how many passes a map takes; 1 for none."""
        if not saliency:
            return 1
        return points(self.methods[saliency], self.options, self.model.input_shape[1:])

    def measuring(self, pairs: Sequence[Pair]) -> float:
        """Work of measuring one image's maps, in steps."""
        return sum(self.passes(name) for name, _ in pairs) / MEASURED_PER_STEP

    def trying(self, job: Job) -> float:
        """Work of one map of a search, in steps."""
        passes = self.passes(job.saliency)
        return passes / MEASURED_PER_STEP if job.search == EVOLUTION else float(passes)

    def searching(self, job: Job) -> float:
        """Work of attacking one image, in steps."""
        return tries(job.attack, self.search, job.search) * self.trying(job)

    @property
    def completing(self) -> float:
        """Work of measuring completeness on one image, in steps."""
        steps = MIDPOINTS + MIDPOINTS // 2
        return (len(COMPLETE) + 1) * steps / MEASURED_PER_STEP

    def work(self, planned: Sequence[Job]) -> float:
        """Work of one image, in steps."""
        controls = {
            key: dict.fromkeys(scalar for job in same for scalar in self.scalars_of(job))
            for key, same in by_control(planned).items()
        }
        planned = [job for job in planned if job.attack != RANDOM]
        sets = [self.scalars_of(job) for job in planned]
        sets += [list(scalars) for scalars in controls.values() for _ in range(self.draws)]
        follow = any(job.search == GRADIENT for job in planned)
        return (
            sum(self.searching(job) for job in planned)
            + sum(self.measuring(self.pairs(scalars)) for scalars in sets)
            + follow * self.completing
        )


def by_control(planned: Sequence[Job]) -> dict[tuple[float | None, str, str], list[Job]]:
    """Jobs that share their control: those of one budget; each alone that has none."""
    found: dict[tuple[float | None, str, str], list[Job]] = {}
    for job in planned:
        key = (job.eps, "", "") if job.eps is not None else (None, job.saliency, job.scalar)
        found.setdefault(key, []).append(job)
    return found


def _no_map(*_: Any, **__: Any) -> Tensor:
    raise NotImplementedError("what is measured of the model alone reads no map")


def _moved(images: Tensor, clean: Tensor) -> Tensor:
    """Whether each image differs from the clean one, ``(n,)`` bool."""
    return (images != clean).flatten(1).any(1)


def _only(values: Values, valid: Tensor) -> Values:
    """The values of the valid images; NaN elsewhere."""
    return {name: value.double().where(valid, torch.nan) for name, value in values.items()}


class AttackedBatch:
    """One batch of images, and what the attacks made of it.

    Args:
        run: what all batches share.
        batch: the images; at least one.
        batch_size: most images the model sees at once.

    Attributes:
        batch_size: as given, or what was found to fit into memory.
        similar: of each attack on maps how alike the attacked method's maps still are, ``(n,)``.
        without_map: rows of the images that have no clean map of a method, with the reason.
    """

    def __init__(self, run: Run, batch: ImageBatch, *, batch_size: int) -> None:
        self.run = run
        self.index = batch.index
        self.names = batch.names
        self.batch_size = batch_size
        # A file holds 8 bits; pictures that were read from one stay as they are.
        self.images = ((batch.images.double() * 255).round() / 255).to(batch.images.dtype)
        self.logits = predict(run.model, self.images, batch_size=batch_size)
        classes = self.logits.argmax(1)
        targets = classes if run.target == "predicted" else batch.labels
        self.subject = Subject(batch.names, batch.labels, targets, run.model.name)
        self.targets = targets.clamp_min(0)
        self.similar: dict[Job, Tensor] = {}
        self.without_map: list[Row] = []
        self._attacked: dict[Job, Tensor] = {}
        self._wanted: dict[Job, Tensor] = {}
        self._drawn: dict[Job, tuple[Tensor, Tensor]] = {}
        self._values: dict[Job, Values] = {}
        self._before: dict[Pair, Tensor] = {}

    @cached_property
    def _retrieval(self) -> Retrieval:
        return Retrieval(self.run.model, self.images, self.logits, self.batch_size)

    def rows_of_stand_in(self, smooth: str, beta: float, scalar: str) -> list[Row]:
        """How near the smooth stand-in's gradient map is to the network's; NaN if none helps."""
        run = self.run
        about = {
            "setting": f"surrogate={smooth};beta={beta:g}",
            "saliency": "gradient",
            "scalar": scalar,
        }
        if not run.followed:
            nothing = torch.full((len(self.names),), torch.nan)
            return rows_of(self.subject, {STAND_IN: nothing}, **about)
        if smooth == "none":
            return []
        found = halve_on_oom(
            lambda size: agreement(
                run.precise,
                self.images,
                self.targets,
                kind=smooth,  # type: ignore[arg-type]
                beta=beta,
                scalar=scalar,
                batch_size=size,
            ),
            self.batch_size,
            tell=run.tell,
        )
        cosine = float(found.cosine.nanmean())
        if not self.index and (found.predictions < 1 or cosine < LOW_AGREEMENT):
            run.tell(
                f"the stand-in {smooth} at beta {beta:g} predicts as the network on "
                f"{found.predictions:.0%} of the first images, its gradient has a cosine of "
                f"{cosine:.2f} with the network's; a steady map may mean no more than that"
            )
        return rows_of(
            self.subject,
            {STAND_IN: found.cosine.double()},
            **about,
        )

    def rows_of_completeness(self) -> list[Row]:
        """Do gradients add up to what the output does? Where not, no attack could follow them."""
        run = self.run
        view = View(
            run.precise,
            self.images,
            names=self.names,
            labels=self.subject.labels,
            targets=self.targets,
            logits=self.logits
            if run.precise is run.model
            else predict(run.precise, self.images, batch_size=self.batch_size),
            method="",
            saliency=self.images[:, :0],
            explain=_no_map,
            batch_size=self.batch_size,
            seed=run.seed,
        )
        found = halve_on_oom(
            lambda size: completeness(replace(view, batch_size=size)),
            self.batch_size,
            tell=run.tell,
        )
        run.count(len(self.names) * run.completing)
        rows = []
        for one in found:
            values = one.values.masked_fill(self.subject.targets < 0, torch.nan)
            rows += rows_of(self.subject, {one.check: values}, setting=one.setting)
        return rows

    def rows_of_job(self, job: Job) -> list[Row]:
        """Search, write, read back, and measure."""
        run = self.run
        goal = ATTACKS[job.attack].goal
        reference = None
        if goal:
            before = self._map_before(run.attacked(job))
            clean = unit_sum(before)
            reference = run.targets(job, clean, self.names)
            if goal.wants != "clean":
                self._wanted[job] = reference
        made = 0.0

        def tick(images: int) -> None:
            nonlocal made
            step = images * run.trying(job)
            made += step
            run.count(step)

        found, self.batch_size, trace = run_job(
            job,
            run.precise,
            self.images,
            self.targets,
            reference,
            names=self.names,
            overrides=run.search,
            goal_options={"k": run.k, "seed": run.seed},
            options=run.options,
            seed=run.seed,
            batch_size=self.batch_size,
            tell=run.tell,
            methods=run.methods,
            tick=tick,
        )
        run.count(max(0.0, len(self.names) * run.searching(job) - made))
        paths = [run.folder / file_of(name, job.setting, job.scalar) for name in self.names]
        attacked = write_and_read(found, paths)
        logits = predict(run.model, attacked, batch_size=self.batch_size)
        kept = self.run.model.kept(logits, self.logits)
        values = image_values(run.model, attacked, self.images, logits, self.logits)
        moved = _moved(attacked, self.images)
        success = (moved & kept if goal else ~kept).double()
        smooth = run.search.get("smooth") if job.search == GRADIENT else None
        if goal and smooth == "none" and not bool(success.any()):
            run.tell(
                f"{job.attack} found nothing on {job.saliency}: without a stand-in the map may "
                "have no derivative to follow (ReLU); such a map is not shown to be steady"
            )
        if goal:
            success = success.masked_fill(self.subject.targets < 0, torch.nan)
        rows = rows_of(
            self.subject,
            {"attack-success": success, **values},
            setting=job.setting,
            scalar=job.scalar,
        )
        if goal:
            attacked = self._where_kept(attacked, logits)
        self._attacked[job] = attacked
        for step, (goal_term, prediction_term) in trace.items():
            if search_options(job.attack, run.search, job.search).get("keep_prediction"):
                rows += rows_of(
                    self.subject,
                    {"map-term": goal_term, "prediction-term": prediction_term},
                    setting=f"{job.setting};step={step}",
                    scalar=job.scalar,
                )
        for pair, (measured, after) in self._measure(
            attacked, run.scalars_of(job), rows=rows, setting=job.setting
        ).items():
            if goal and pair == run.attacked(job):
                if job in self._wanted:
                    measured |= self._toward(job, after)
                if job.beside:
                    rows += self._rows(pair, measured, job.setting)
                    continue
                if job in self._wanted:
                    rows += self._rows_before(job)
                self.similar[job] = measured["topk-intersection"]
                self._drawn[job] = (self._map_before(pair), after.cpu())
                self._values[job] = measured
            rows += self._rows(pair, measured, job.setting)
        return rows

    def rows_of_controls(self, planned: Sequence[Job]) -> list[Row]:
        """Noise of the same size beside every budget, mean over the draws."""
        return [row for same in by_control(planned).values() for row in self._rows_of_control(same)]

    def rows_of_worst_case(self) -> list[Row]:
        """Of each image the attack that moved its map most, where several had the same budget."""
        rows: list[Row] = []
        groups: dict[tuple[Any, ...], list[Job]] = {}
        for job in self._values:
            key = (job.eps, job.norm, job.saliency, job.scalar, job.search)
            groups.setdefault(key, []).append(job)
        for (eps, norm, saliency, scalar, search), same in groups.items():
            if len(same) < 2:
                continue
            # Not what single attacks aim at.
            shared = set.intersection(*(set(self._values[job]) for job in same))
            shared = {name for name in shared if not name.endswith("-target")}
            rows += self._rows(
                (saliency, scalar),
                worst(
                    [{n: v for n, v in self._values[job].items() if n in shared} for job in same]
                ),
                attack_setting(WORST_CASE, eps, norm, attacked=saliency, search=search),
            )
        return rows

    def examples(self, chosen: Mapping[Job, Sequence[int]]) -> list[Example]:
        """Images, attacked images and maps of the chosen images of each job."""
        drawn: dict[int, None] = {}
        found: list[Example] = []
        for job, positions in chosen.items():
            before, after = self._drawn[job]
            named = {"saliency": job.saliency, "scalar": job.scalar, "setting": job.setting}
            for i in positions:
                drawn[i] = None
                name = self.names[i]
                pixels = image_example(name, self._attacked[job][i]).pixels
                found.append(Example(name, **named, role="attacked", pixels=pixels))
                found.append(map_example(name, before[i], **named, role="before"))
                found.append(map_example(name, after[i], **named, role="after"))
                if job in self._wanted:
                    wanted = self._wanted[job][i].unsqueeze(0)
                    found.append(map_example(name, wanted, **named, role="target"))
        return [image_example(self.names[i], self.images[i]) for i in drawn] + found

    def _rows_of_control(self, same: Sequence[Job]) -> list[Row]:
        run, job = self.run, same[0]
        scalars = list(dict.fromkeys(scalar for job in same for scalar in run.scalars_of(job)))
        wanted = [job for job in same if job in self._wanted and not job.beside]
        attacked = job.saliency if job.eps is None else ""
        setting = partial(attack_setting, eps=job.eps, norm=job.norm, attacked=attacked)
        # Without a budget: as far, in L2, as the attack went.
        size = (
            job.eps
            if job.eps is not None
            else (self._attacked[job] - self.images).flatten(1).norm(dim=1)
        )
        norm = job.norm if job.eps is not None else "l2"
        of_images: list[Values] = []
        of_maps: dict[Pair, list[Values]] = {}
        toward: dict[Job, list[Values]] = {}
        for draw in range(run.draws):
            noise = ATTACKS[RANDOM].function(
                run.model,
                None,
                None,
                self.images,
                self.targets,
                eps=size,
                norm=norm,
                generators=generators(
                    run.seed, self.names, f"{setting(RANDOM)}|{draw}", self.images.device
                ),
            )
            logits = predict(run.model, noise, batch_size=self.batch_size)
            of_images.append(image_values(run.model, noise, self.images, logits, self.logits))
            # Noise that changed the prediction, or none at all, is no control: undefined.
            valid = run.model.kept(logits, self.logits) & _moved(noise, self.images)
            for pair, (every, after) in self._measure(noise, scalars).items():
                measured = _only(every, valid)
                of_maps.setdefault(pair, []).append(measured)
                for other in wanted:
                    if pair == run.attacked(other):
                        near = _only(self._toward(other, after), valid)
                        toward.setdefault(other, []).append(near)
        scalar = job.scalar if job.eps is None else ""
        rows = rows_of(self.subject, averaged(of_images), setting=setting(RANDOM), scalar=scalar)
        for pair, draws in of_maps.items():
            rows += self._rows(pair, averaged(draws), setting(RANDOM))
            rows += self._rows(pair, worst(draws), setting(RANDOM_WORST))
        for other, draws in toward.items():
            pair = run.attacked(other)
            rows += self._rows(pair, averaged(draws), setting(RANDOM, toward=other.attack))
        return rows

    def _where_kept(self, images: Tensor, logits: Tensor) -> Tensor:
        """Images of the clean prediction; where it changed the attack failed: the clean image."""
        kept = self.run.model.kept(logits, self.logits)
        return images.where(kept.view(-1, 1, 1, 1), self.images)

    def _rows(self, pair: Pair, values: Values, setting: str) -> list[Row]:
        name, scalar = pair
        scalar = "" if self.run.methods[name].control else scalar
        return rows_of(self.subject, values, setting=setting, saliency=name, scalar=scalar)

    def _rows_before(self, job: Job) -> list[Row]:
        """How near the clean map is to what the attack wants."""
        pair = self.run.attacked(job)
        setting = f"attack=none;toward={job.attack}"
        return self._rows(pair, self._toward(job, self._map_before(pair)), setting)

    def _toward(self, job: Job, saliency: Tensor) -> Values:
        return target_values(saliency, self._wanted[job], region=job.wants == "region")

    def _measure(
        self,
        images: Tensor,
        scalars: Sequence[str],
        *,
        rows: list[Row] | None = None,
        setting: str = "",
    ) -> dict[Pair, tuple[Values, Tensor]]:
        """Every measured map of some images against the clean ones; ``rows`` what has none."""
        run = self.run
        found: dict[Pair, tuple[Values, Tensor]] = {}
        map_of = self._maps(images)
        for pair in run.pairs(scalars):
            before = self._map_before(pair)
            problem = ""
            try:
                after = map_of(run.model, *pair)
            except UnsupportedError as error:
                problem, after = str(error), torch.full_like(before, torch.nan)
            if rows is not None:
                rows += self._without_map(pair, after, map_of, setting=setting, problem=problem)
            values = map_values(after, before, k=run.k, seed=run.seed)
            values |= self._retrieval(images, after, before, pair=pair)
            found[pair] = (values, after)
            run.count(len(images) * run.measuring([pair]))
        self.batch_size = map_of.batch_size
        return found

    def _map_before(self, pair: Pair) -> Tensor:
        if pair not in self._before:
            map_of, problem = self._maps(self.images), ""
            try:
                maps = map_of(self.run.model, *pair)
                self._before[pair] = maps
                if not self.index:
                    name, scalar = pair
                    tell_zero(
                        name,
                        maps,
                        self.run.model,
                        self.images,
                        self.targets,
                        names=self.names,
                        scalar=scalar or "logit",
                        tell=self.run.tell,
                        methods=self.run.methods,
                    )
            except UnsupportedError as error:
                self.run.tell(f"{pair[0]} is undefined on {self.names[0]} and others: {error}")
                problem = str(error)
                self._before[pair] = torch.full_like(self.images[:, :1], torch.nan)
            self.without_map += self._without_map(pair, self._before[pair], map_of, problem=problem)
        return self._before[pair]

    def _without_map(
        self, pair: Pair, maps: Tensor, map_of: Maps, *, setting: str = "", problem: str = ""
    ) -> list[Row]:
        """Why images have no map."""
        name, scalar = pair
        return self.subject.without_map(
            maps,
            saliency=name,
            scalar="" if self.run.methods[name].control else scalar,
            setting=setting,
            refused=dict.fromkeys(self.names, f"failed: {problem}")
            if problem
            else map_of.refused(self.run.model, scalar),
        )

    def _maps(self, images: Tensor) -> Maps:
        return Maps(
            images,
            self.targets,
            names=self.names,
            seed=self.run.seed,
            batch_size=self.batch_size,
            options=self.run.options,
            tell=self.run.tell,
            methods=self.run.methods,
        )
