"""What `evaluate` measures on one batch of images with one model."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor

from saliency_audit.attacks import ATTACKS
from saliency_audit.catalogue.entries import SaliencyMethod
from saliency_audit.catalogue.needs import NEEDS
from saliency_audit.commands.explain import explain, predict, tell_zero
from saliency_audit.commands.reason import refusing
from saliency_audit.commands.rows import Subject, map_example, one_reason
from saliency_audit.data import ImageBatch
from saliency_audit.errors import AuditError, InputError, UnsupportedError
from saliency_audit.metrics import METRICS, Measured, View
from saliency_audit.models import Classifier, halve_on_oom
from saliency_audit.seeding import generators
from saliency_audit.types import CurvePoint, Example, Row


@dataclass
class Judged:
    """What all batches of a run have in common.

    Attributes:
        metrics: names and their options.
        methods: names of those whose maps are measured, controls included.
        known: all saliency methods by name.
        problems: by method and image, why a recorded map cannot be used.
        scalar: that is explained.
        options: of saliency methods.
        beside: what single metrics need.
        dataset_mean: see `View`.
        left_out: metrics and methods that are not measured together.
        seed: of the run.
        batch_size: as given, or what was found to fit into memory.
        tell: called with lines the user should read, each of them once.
        told: those it was called with.
    """

    metrics: dict[str, dict[str, Any]]
    methods: list[str]
    known: Mapping[str, SaliencyMethod]
    problems: Mapping[str, Mapping[str, str]]
    scalar: str
    options: Mapping[str, Any]
    beside: Mapping[str, Any]
    dataset_mean: Tensor | None
    left_out: Sequence[tuple[str, str]]
    seed: int
    batch_size: int
    tell: Callable[[str], None]
    told: set[str] = field(default_factory=set)

    @property
    def of_model(self) -> list[str]:
        """Metrics that read no map of the run."""
        return [name for name in self.metrics if METRICS[name].of == "model"]

    @property
    def of_maps(self) -> list[str]:
        """The other ones."""
        return [name for name in self.metrics if METRICS[name].of != "model"]

    def of_maps_by(self, method: str) -> list[str]:
        """Those of them that are measured of a method's maps."""
        return [name for name in self.of_maps if (name, method) not in self.left_out]

    @property
    def measurements(self) -> int:
        """Of one image and model."""
        return len(self.of_model) + sum(len(self.of_maps_by(name)) for name in self.methods)

    def tell_once(self, line: str) -> None:
        """Tell a line unless it has been told."""
        if line not in self.told:
            self.told.add(line)
            self.tell(line)


@dataclass
class Found:
    """Rows, curves and pictures of one batch and model."""

    rows: list[Row] = field(default_factory=list)
    curves: list[CurvePoint] = field(default_factory=list)
    examples: list[Example] = field(default_factory=list)


def measured(
    run: Judged,
    model: Classifier,
    batch: ImageBatch,
    *,
    target: str,
    seen: int,
    count: Callable[[int], None],
) -> Found:
    """Every metric of one model on one batch.

    Args:
        run: what is measured; its batch size shrinks when memory runs out.
        model: the classifier.
        batch: at least one image.
        target: "predicted" or "label".
        seen: how many of the images are drawn.
        count: called with measurements of each image that are done.
    """
    logits = predict(model, batch.images, batch_size=min(run.batch_size, len(batch.images)))
    targets = logits.argmax(1) if target == "predicted" else batch.labels
    subject = Subject(batch.names, batch.labels, targets, model.name)
    explained = targets.clamp_min(0)
    view = View(
        model=model,
        images=batch.images,
        names=batch.names,
        labels=batch.labels,
        targets=explained,
        logits=logits,
        method="",
        saliency=torch.full_like(batch.images[:, :1], torch.nan),
        explain=partial(_explained, run, ""),
        batch_size=run.batch_size,
        seed=run.seed,
        scalar=run.scalar,
        dataset_mean=run.dataset_mean,
        beside={
            name: value(batch.names).to(batch.images) if NEEDS[name].per_image else value
            for name, value in run.beside.items()
        },
        attack=partial(_attacked, run.seed),
        draw=batch.index == 0,
    )
    found = Found()
    for metric in run.of_model:
        _measure(run, found, metric, view, subject)
        count(1)
    for name in run.methods if run.of_maps else ():
        scalar = "" if run.known[name].control else run.scalar
        refused = dict(run.problems.get(name, {}))
        try:
            maps = halve_on_oom(
                partial(_maps, run, model, batch, explained, name, refused),
                run.batch_size,
                tell=run.tell_once,
            )
        except AuditError as error:
            reason = reason_of(error)
            run.tell_once(f"{name} failed: {reason}")
            for metric in run.of_maps_by(name):
                found.rows += failed(subject, metric, name, scalar, reason)
            count(len(run.of_maps_by(name)))
            continue
        found.rows += subject.without_map(maps, saliency=name, scalar=scalar, refused=refused)
        if view.draw:
            tell_zero(
                name,
                maps,
                model,
                batch.images,
                explained,
                names=batch.names,
                scalar=run.scalar,
                tell=run.tell_once,
                methods=run.known,
            )
        found.examples += [
            map_example(image, maps[i], saliency=name, scalar=scalar, setting="", role="map")
            for i, image in enumerate(batch.names[:seen])
        ]
        of_method = View(
            **{
                **vars(view),
                "method": name,
                "saliency": maps,
                "control": run.known[name].control,
                "explain": partial(_explained, run, name),
                "shared_by_method": {},
            }
        )
        for metric in run.of_maps_by(name):
            _measure(run, found, metric, of_method, subject)
            count(1)
    return found


def _maps(
    run: Judged,
    model: Classifier,
    batch: ImageBatch,
    targets: Tensor,
    name: str,
    refused: dict[str, str],
    size: int,
) -> Tensor:
    run.batch_size = size
    return explain(
        name,
        model,
        batch.images,
        targets,
        names=batch.names,
        scalar=run.scalar,
        seed=run.seed,
        batch_size=size,
        options=run.options,
        methods=run.known,
        refused=refused,
    )


def _explained(
    run: Judged,
    name: str,
    model: Classifier,
    images: Tensor,
    targets: Tensor,
    *,
    names: Sequence[str],
    method: str = "",
    scalar: str = "",
    seed: int | None = None,
) -> Tensor:
    """What `View.explain` calls."""
    return explain(
        method or name,
        model,
        images,
        targets,
        names=names,
        scalar=scalar or run.scalar,
        seed=run.seed if seed is None else seed,
        batch_size=run.batch_size,
        options=run.options,
        methods=run.known,
    )


def _attacked(
    seed: int,
    model: Classifier,
    images: Tensor,
    *,
    names: Sequence[str],
    attack: str = "pgd",
    eps: float | Tensor,
    **options: Any,
) -> Tensor:
    """What `View.attack` calls: PGD on the predicted class, or noise."""
    attacked: Tensor = ATTACKS[attack].function(
        model,
        None,
        None,
        images,
        None,
        eps=eps,
        generators=generators(seed, names, attack, images.device),
        **options,
    )
    return attacked


def _measure(run: Judged, found: Found, metric: str, view: View, subject: Subject) -> None:
    """One metric; where it fails, rows that say so, and the others go on."""
    function, given = METRICS[metric].function, run.metrics[metric]

    def compute(size: int) -> list[Measured]:
        run.batch_size = size
        with refusing():
            results: list[Measured] = function(View(**{**vars(view), "batch_size": size}), **given)
        return results

    scalar = "" if not view.method or view.control else run.scalar
    try:
        results = halve_on_oom(compute, run.batch_size, tell=run.tell_once)
    except AuditError as error:
        reason = reason_of(error)
    else:
        missing = subject.targets < 0
        for one in results:
            check = one.check or metric
            saliency = view.method if one.saliency is None else one.saliency
            of = scalar if saliency == view.method else ""
            if one.rows:
                found.rows += subject.rows(
                    check,
                    one.values.double().masked_fill(missing, torch.nan),
                    setting=one.setting,
                    saliency=saliency,
                    scalar=of,
                )
            if one.curve is not None:
                curve = one.curve.double().masked_fill(missing.unsqueeze(1), torch.nan)
                found.curves += _sums(view.model.name, saliency, check, one.x, curve)
            for setting, picture in one.pictures.items():
                role = one.roles[picture.ndim == 2]
                found.examples.append(_pictured(view, check, saliency, of, setting, role, picture))
        return
    run.tell_once(f"{metric} of {view.method or view.model.name} failed: {reason}")
    found.rows += failed(subject, metric, view.method, scalar, reason)


def _sums(
    model: str, saliency: str, check: str, x: Sequence[float], curve: Tensor
) -> list[CurvePoint]:
    finite = curve.isfinite()
    values = curve.where(finite, 0.0)
    sums = torch.stack([finite.sum(0).double(), values.sum(0), values.square().sum(0)], dim=1)
    return [
        CurvePoint(model, saliency, check, float(at), int(n), total, squares)
        for at, (n, total, squares) in zip(x, sums.tolist(), strict=True)
    ]


def _pictured(
    view: View, check: str, saliency: str, scalar: str, setting: str, role: str, picture: Tensor
) -> Example:
    pixels = picture if picture.ndim == 2 else picture.permute(1, 2, 0).squeeze(2)
    return Example(
        view.names[0],
        saliency,
        scalar,
        f"check={check};{setting}",
        role,
        pixels.float().cpu().numpy(),
    )


def failed(subject: Subject, metric: str, saliency: str, scalar: str, reason: str) -> list[Row]:
    """Rows that say why a metric has no values."""
    blank = torch.full((len(subject.names),), torch.nan)
    rows = subject.rows(metric, blank, setting=f"reason={reason}", saliency=saliency, scalar=scalar)
    return [row | {"status": "error"} for row in rows]


def reason_of(error: AuditError) -> str:
    """One line, fit for a setting; what the user must change is raised."""
    if isinstance(error, InputError) and not isinstance(error, UnsupportedError):
        raise error
    return one_reason(str(error))
