"""Does the map tell what the model uses, and does it depend on the model at all?"""

from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any, Unpack

import torch
from torch import Tensor

from saliency_audit.catalogue.entries import SaliencyMethod
from saliency_audit.catalogue.methods import CONTROLS
from saliency_audit.commands.beside import refuse_idle_needs, refuse_lacking
from saliency_audit.commands.costs import Told, listeners, of_batches
from saliency_audit.commands.evaluate.batch import Judged, measured
from saliency_audit.commands.evaluate.costs import REPEATED, Plan, passes_of_image
from saliency_audit.commands.explain import predict, supported
from saliency_audit.commands.known import first_images
from saliency_audit.commands.reason import no_meaning
from saliency_audit.commands.rows import failure_rows, image_example
from saliency_audit.data import ImageData, batches, images_of
from saliency_audit.errors import InputError, UnsupportedError, lookup
from saliency_audit.methods import METHODS
from saliency_audit.metrics import METRICS
from saliency_audit.models import Classifier, resolve_randomisation, weight_layers
from saliency_audit.outputs import Outputs
from saliency_audit.types import Batch, CurvePoint

METRICS_BY_DEFAULT = ("deletion", "preservation", "sanity-cascade", "scalar-agreement")
SALIENCY_BY_DEFAULT = ("gradient", "smoothgrad", "integrated-gradients", "gradcam")
IMAGES_AT_ONCE = 32
"""Most images of one batch of rows: what a kill can lose."""
EXAMPLES = 4
"""Images drawn with their maps; what a metric did is drawn for the first."""


def evaluate(
    model: Classifier,
    data: ImageData,
    *,
    metrics: Mapping[str, Mapping[str, Any]] | Sequence[str] = METRICS_BY_DEFAULT,
    by_default: bool = False,
    saliency: Sequence[str] | None = None,
    scalar: str = "logit",
    target: str = "predicted",
    options: Mapping[str, Any] | None = None,
    methods: Mapping[str, SaliencyMethod] | None = None,
    problems: Mapping[str, Mapping[str, str]] | None = None,
    models: Sequence[Classifier] = (),
    base: str | None = None,
    left_out: Sequence[tuple[str, str]] = (),
    unusual: Container[str] = (),
    seed: int = 0,
    batch_size: int = IMAGES_AT_ONCE,
    workers: int = 0,
    beside: Mapping[str, Any] | None = None,
    further: Callable[..., Iterator[Batch]] | None = None,
    **told: Unpack[Told],
) -> Iterator[Batch]:
    """Measure every metric of every method's maps, and of the two controls beside them.

    A map is computed once for each image, model and method, and shared by all metrics.

    Args:
        model: the classifier; its flags and weights are as before afterwards.
        data: the images.
        metrics: names in ``METRICS``, optionally with their options.
        by_default: nobody asked for these metrics: those that the methods do not allow are told
            and left out.
        saliency: names in ``METHODS``; None means the usual four that the model's format allows,
            or none where ``methods`` are given.
        scalar: a name in ``SCALARS``.
        target: "predicted" or "label", the explained class.
        options: of saliency methods, given to those that have them.
        methods: further saliency methods by name, such as maps made elsewhere.
        problems: of those, by name and image, why a map cannot be used.
        models: further classifiers for the same images, measured in the same way.
        base: a method that must be among those measured, since others will be compared with it.
        unusual: methods that are not measured unless asked for.
        left_out: metrics and methods that are not measured together.
        seed: of every random draw.
        batch_size: most images the model sees at once; halved when memory runs out.
        workers: processes that read images.
        beside: what single metrics need, by name in ``NEEDS``.
        further: ``(begin, advance)``, gives batches of what is measured of no image; see
            `Retraining` and `Sampling`.
        told: see `Told`.

    Yields:
        One `Batch` of rows per at most 32 images.

    Raises:
        InputError: an unknown name, a metric without what it needs, a method asked for by name
            that the model does not allow, or images that cannot be read at all.
    """
    tell, advance, begin, expect = listeners(told)
    shard = told.get("shard", (0, 1))
    methods, beside = methods or {}, beside or {}
    known_methods = {**METHODS, **methods}
    if not isinstance(metrics, Mapping):
        metrics = {name: {} for name in metrics}
    for name in metrics:
        lookup("metric", METRICS, name)
    model.scalar(scalar)
    recorded = [name for name, method in methods.items() if method.recorded]
    metrics = _possible(
        metrics,
        recorded,
        labelled=data.labelled,
        outputs=model.outputs,
        by_default=by_default,
        tell=tell,
        beside=beside,
        alone=further is None,
    )
    usual = [name for name in SALIENCY_BY_DEFAULT if name not in unusual]
    asked = list(dict.fromkeys(saliency or (() if methods else usual)))
    for name in asked:
        lookup("saliency method", METHODS, name)
    everyone = _named_apart([model, *models])
    at_once = min(IMAGES_AT_ONCE, batch_size)
    device = model.mean.device

    helpers = [value for value in beside.values() if isinstance(value, Classifier)]
    with _audited([*everyone, *helpers]):
        known, labels, _ = first_images(data, 2, at_once, device=device, workers=workers)
        _check_outputs([*everyone, *helpers], known)
        for given in metrics.values():
            if given.get("randomise") == "reinit":
                for one in everyone:
                    resolve_randomisation(one, weight_layers(one, known[:1]), "reinit")
        reads_maps = [name for name in metrics if METRICS[name].of != "model"]
        chosen: list[str] = []
        if reads_maps:
            classes = predict(model, known[:1], batch_size=1).argmax(1)
            tried = partial(
                supported,
                model=model,
                images=known[:1],
                targets=labels[:1].clamp_min(0) if target == "label" else classes,
                scalar=scalar,
                options=options or {},
                tell=tell,
                methods=known_methods,
            )
            chosen = list(recorded)
            callables = [name for name in methods if name not in recorded]
            chosen += tried(callables, refuse=True, option="--explain")
            chosen += tried(list(dict.fromkeys([*asked, *CONTROLS])), refuse=saliency is not None)
        if base is not None and base not in chosen:
            raise InputError(
                f"--base {base} is not measured in this run (that are {', '.join(chosen)}); add "
                f"--saliency {base}"
            )
        mean = _mean_colour(data, metrics, at_once, device=device, workers=workers)
        done = begin()
        run = Judged(
            metrics={name: dict(given) for name, given in metrics.items()},
            methods=chosen,
            known=known_methods,
            problems=problems or {},
            scalar=scalar,
            options=options or {},
            beside=beside,
            dataset_mean=mean,
            left_out=left_out,
            seed=seed,
            batch_size=batch_size,
            tell=tell,
        )
        mine = images_of(len(data), at_once, shard=shard, done=done)
        total, made = mine * len(everyone) * run.measurements, 0
        if not methods and not beside:
            plan = Plan(
                metrics,
                chosen,
                left_out,
                options or {},
                model.input_shape,
                len(weight_layers(model, known[:1])) if REPEATED in metrics else 0,
                at_once=of_batches(mine, at_once),
            )
            if (each := passes_of_image(plan)) is not None:
                expect(each * (mine * len(everyone)))
        for batch in batches(
            data, batch_size=at_once, workers=workers, device=device, skip=done, shard=shard
        ):
            rows = failure_rows(batch, model.name)
            curves: list[CurvePoint] = []
            seen = max(0, EXAMPLES - batch.index * at_once)
            examples = [
                image_example(name, image)
                for name, image in zip(batch.names[:seen], batch.images, strict=False)
            ]
            for one in everyone if batch.names else ():

                def count(measurements: int, images: int = len(batch.names)) -> None:
                    nonlocal made
                    made += measurements * images
                    advance(made, total)

                found = measured(run, one, batch, target=target, seen=seen, count=count)
                rows += found.rows
                curves += found.curves
                examples += found.examples
            yield Batch(batch.index, rows, examples, curves)
        if further is not None:
            yield from further(begin, advance)


def _possible(
    metrics: Mapping[str, Mapping[str, Any]],
    recorded: Sequence[str],
    *,
    labelled: bool,
    outputs: Outputs,
    by_default: bool,
    tell: Callable[[str], None],
    beside: Mapping[str, Any],
    alone: bool,
) -> dict[str, Mapping[str, Any]]:
    """The metrics, less those by default that these maps or outputs have none of."""
    kept = dict(metrics)
    refuse_lacking(metrics, beside)
    for name in metrics:
        metric = METRICS[name]
        if metric.exclusive and not outputs.exclusive:
            if not by_default:
                raise UnsupportedError(f"{no_meaning(name, outputs.name)}; leave it")
            tell(f"{no_meaning(name, outputs.name)}: left out")
            del kept[name]
        elif metric.of == "method" and recorded:
            why = (
                f"{name} needs the method itself, to make maps again, and {recorded[0]} are maps "
                "made elsewhere"
            )
            if not by_default:
                raise UnsupportedError(
                    f"{why}; leave --metric {name}, or give the method with --explain"
                )
            tell(f"{why}: left out")
            del kept[name]
        elif "labels" in metric.needs and not labelled:
            tell(f"{name} needs labels and the images have none: undefined")
    if alone:  # else what is measured of no image may look at them
        there = [name for name, value in beside.items() if value is not None]
        refuse_idle_needs(there, metrics)
    return kept


def _named_apart(models: Sequence[Classifier]) -> list[Classifier]:
    """The models, renamed where two have one name: rows go by it."""
    taken: set[str] = set()
    for model in models:
        name, number = model.name, 1
        while model.name in taken:
            number += 1
            model.name = f"{name} ({number})"
        taken.add(model.name)
    return list(models)


@contextmanager
def _audited(models: Sequence[Classifier]) -> Iterator[None]:
    """Inside, all the models are in eval mode with frozen weights."""
    with ExitStack() as stack:
        for model in models:
            stack.enter_context(model.audited())
        yield


def _check_outputs(models: Sequence[Classifier], known: Tensor) -> None:
    """Try the models on the first images.

    Raises:
        InputError: one does not take them or has another number of outputs.
    """
    first, *others = [(model.name, model.check(known)) for model in models]
    for name, outputs in others:
        if outputs != first[1]:
            raise InputError(
                f"{name} has {outputs} outputs and {first[0]} has {first[1]}; models in one run "
                "must know the same classes"
            )


def _mean_colour(
    data: ImageData,
    metrics: Mapping[str, Mapping[str, Any]],
    at_once: int,
    *,
    device: torch.device,
    workers: int,
) -> Tensor | None:
    """Mean of all images by channel, ``(c,)``, if a fill asks for it."""
    if all(given.get("fill") != "dataset-mean" for given in metrics.values()):
        return None
    total, images = torch.zeros(data.input_shape[0], dtype=torch.float64, device=device), 0
    for batch in batches(data, batch_size=at_once, workers=workers, device=device):
        total += batch.images.double().mean((2, 3)).sum(0)
        images += len(batch.names)
    return (total / images).float()
