"""``saliency-audit evaluate``."""

import sys
from enum import StrEnum
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from saliency_audit.cli import options as o
from saliency_audit.cli.console import errors, progress, results
from saliency_audit.cli.evaluate_table import show_others, show_verdicts
from saliency_audit.cli.processes import processes
from saliency_audit.cli.setup import (
    check_apart,
    common_settings,
    facts,
    fingerprint,
    hold,
    measure_clean_accuracy,
    nothing_written_on_bad_input,
    prepare,
)
from saliency_audit.visible import flat

if TYPE_CHECKING:
    from collections.abc import Container, Mapping, Sequence

    from saliency_audit.types import SaliencyMethod

METRIC, MODELS, PERTURBING, SANITY, OTHERS = (
    "Metrics",
    "Further models, maps and annotations",
    "Replacing pixels",
    "Sanity checks",
    "Other metrics",
)


class PresetName(StrEnum):
    """Settings of the papers."""

    P0 = "p0"
    P0_CODE = "p0-code"
    P1 = "p1"
    P2 = "p2"
    ADEBAYO = "adebayo"


class Unit(StrEnum):
    """What aopc replaces at a time."""

    REGION = "region"
    PIXEL = "pixel"


class Reduce(StrEnum):
    """How a pixel's channels become one number."""

    MEAN = "mean"
    STD = "std"


class Randomise(StrEnum):
    """How the weights of a layer are drawn anew."""

    AUTO = "auto"
    REINIT = "reinit"
    SHUFFLE = "shuffle"


class Pixels(StrEnum):
    """Of which pixels stability takes a share."""

    ALL = "all"
    NONZERO = "nonzero"


class FailOn(StrEnum):
    """Verdicts that make the command exit with 1."""

    WORSE = "worse"
    NOT_DISTINGUISHABLE = "not-distinguishable"


def evaluate(
    model: o.Model = None,
    *,
    metric: Annotated[
        list[str] | None,
        typer.Option(
            help="Metric, repeatable; see `saliency-audit list metrics`. Default: deletion, "
            "preservation, sanity-cascade, scalar-agreement.",
            show_default=False,
            rich_help_panel=METRIC,
        ),
    ] = None,
    preset: Annotated[
        PresetName | None,
        typer.Option(
            help="Options of the metrics as in a paper; without --metric, its metrics.",
            rich_help_panel=METRIC,
        ),
    ] = None,
    base: Annotated[
        str | None,
        typer.Option(
            help="aopc: also report each method's relative drop against this one.",
            rich_help_panel=METRIC,
        ),
    ] = None,
    fail_on: Annotated[
        FailOn | None,
        typer.Option(
            help="Exit with 1 if any map is worse than random or undefined (for "
            "not-distinguishable, if any is not better).",
            rich_help_panel=METRIC,
        ),
    ] = None,
    saliency: Annotated[
        list[str] | None,
        typer.Option(
            help="Saliency method, repeatable; see `saliency-audit list saliency`. Default: "
            "gradient, smoothgrad, integrated-gradients, gradcam. The controls random and sobel "
            "are always measured too.",
            rich_help_panel=o.MAPS,
            show_default=False,
        ),
    ] = None,
    scalar: o.ScalarName = "logit",
    target: o.TargetClass = o.Target.PREDICTED,
    layer: o.Layer = None,
    samples: o.Samples = None,
    noise_level: o.NoiseLevel = None,
    ig_steps: o.IgSteps = None,
    compare: Annotated[
        list[str] | None,
        typer.Option(
            help="A further model measured on the same images, repeatable; the paired difference "
            "to the first is reported.",
            rich_help_panel=MODELS,
            show_default=False,
        ),
    ] = None,
    judge: Annotated[
        str | None,
        typer.Option(
            help="discriminative: the model whose accuracy is measured.", rich_help_panel=MODELS
        ),
    ] = None,
    other: Annotated[
        str | None,
        typer.Option(help="stability: the model to compare with.", rich_help_panel=MODELS),
    ] = None,
    maps: Annotated[
        Path | None,
        typer.Option(
            help="Folder of maps made elsewhere (.npy, .npz, .png), one per image, named like it.",
            rich_help_panel=MODELS,
        ),
    ] = None,
    explain: Annotated[
        str | None,
        typer.Option(
            help="A saliency method of yours, package.module:function or file.py:function, called "
            "as f(model, inputs, targets).",
            rich_help_panel=MODELS,
        ),
    ] = None,
    annotations: Annotated[
        Path | None,
        typer.Option(
            help="gaze-overlap, pointing-game: folder of maps, or a CSV of boxes "
            "(path,xmin,ymin,xmax,ymax).",
            rich_help_panel=MODELS,
        ),
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(
            help="Points of deletion, preservation, insertion; default 32.",
            rich_help_panel=PERTURBING,
        ),
    ] = None,
    fill: Annotated[
        str | None,
        typer.Option(
            help="What replaces pixels: image-mean, dataset-mean, zero, model-mean (the colour "
            "that becomes 0), a value in [0,1], blur, noise. Default by metric.",
            rich_help_panel=PERTURBING,
        ),
    ] = None,
    reduce: Annotated[
        Reduce | None,
        typer.Option(
            help="A pixel's relevance: mean magnitude over channels, or P0's spread over them.",
            rich_help_panel=PERTURBING,
        ),
    ] = None,
    points: Annotated[
        int | None,
        typer.Option(
            help="Shares of pixels of discriminative, density-perturbation; default 25.",
            rich_help_panel=PERTURBING,
        ),
    ] = None,
    regions: Annotated[
        list[int] | None,
        typer.Option(
            help="aopc: how many regions, repeatable; default 20, 50, 100.",
            rich_help_panel=PERTURBING,
            show_default=False,
        ),
    ] = None,
    unit: Annotated[
        Unit | None,
        typer.Option(
            help="aopc: squares of 9 pixels at 224, or pixels.", rich_help_panel=PERTURBING
        ),
    ] = None,
    randomise: Annotated[
        Randomise | None,
        typer.Option(
            help="The layer's own initialisation, or its weights in another order; auto takes the "
            "first where the format allows it.",
            rich_help_panel=SANITY,
        ),
    ] = None,
    draws: Annotated[
        int | None, typer.Option(help="Of random weights; default 2.", rich_help_panel=SANITY)
    ] = None,
    stages: Annotated[
        int | None,
        typer.Option(
            help="How many numbers of layers are tried; 0 tries all; default 10.",
            rich_help_panel=SANITY,
        ),
    ] = None,
    k: Annotated[
        float | None,
        typer.Option(
            parser=o.fraction,
            metavar="NUMBER",
            help="stability: share of the pixels; default 0.4.",
            rich_help_panel=OTHERS,
        ),
    ] = None,
    pixels: Annotated[
        Pixels | None,
        typer.Option(
            help="stability: of all pixels, or of those where the first map is not 0.",
            rich_help_panel=OTHERS,
        ),
    ] = None,
    top: Annotated[
        list[float] | None,
        typer.Option(
            help="gaze-overlap: share of the pixels, repeatable; default 0.05, 0.1.",
            rich_help_panel=OTHERS,
            show_default=False,
        ),
    ] = None,
    radius: Annotated[
        float | None,
        typer.Option(
            parser=o.fraction,
            metavar="NUMBER",
            help="max-sensitivity: largest change of a pixel value; default 0.02.",
            rich_help_panel=OTHERS,
        ),
    ] = None,
    sigma: Annotated[
        list[float] | None,
        typer.Option(
            help="Noise of density-profile (repeatable) and infidelity, pixel values.",
            rich_help_panel=OTHERS,
            show_default=False,
        ),
    ] = None,
    perturbations: Annotated[
        int | None,
        typer.Option(
            help="Noisy images of max-sensitivity (default 10), infidelity (50).",
            rich_help_panel=OTHERS,
        ),
    ] = None,
    explain_class: Annotated[
        list[int] | None,
        typer.Option(
            help="class-evidence: class to explain, repeatable; default the three runners-up.",
            rich_help_panel=OTHERS,
            show_default=False,
        ),
    ] = None,
    eps: Annotated[
        float | None,
        typer.Option(
            parser=o.fraction,
            metavar="NUMBER",
            help="robust-accuracy: budget; default 8/255.",
            rich_help_panel=OTHERS,
        ),
    ] = None,
    norm: Annotated[
        o.NormName | None,
        typer.Option(help="robust-accuracy: of the budget, default linf.", rich_help_panel=OTHERS),
    ] = None,
    attack_steps: Annotated[
        int | None,
        typer.Option(help="robust-accuracy: of one start; default 20.", rich_help_panel=OTHERS),
    ] = None,
    restarts: Annotated[
        int | None, typer.Option(help="robust-accuracy: starts; default 1.", rich_help_panel=OTHERS)
    ] = None,
    data: o.Data = None,
    classes: o.Classes = None,
    resize: o.Resize = None,
    max_samples: o.MaxSamples = 32,
    arch: o.Arch = None,
    size: o.Size = None,
    channels: o.Channels = None,
    mean: o.Mean = None,
    std: o.Std = None,
    trust_pickle: o.TrustPickle = False,
    device: o.Device = "auto",
    precision: o.PrecisionName = o.Precision.FP32,
    batch_size: o.BatchSize = "auto",
    seed: o.Seed = 0,
    workers: o.Workers = 0,
    output_dir: o.OutputDir = None,
    resume: o.Resume = False,
    quiet: o.Quiet = False,
    debug: o.Debug = False,
) -> None:
    """Measure whether saliency maps tell what the model uses, beside random maps.

    Example: saliency-audit evaluate --metric deletion --max-samples 16
    """
    del debug  # main() looks for it itself.
    import pandas as pd

    from saliency_audit import audits
    from saliency_audit.commands.evaluate.report import PICTURES, write_evaluate_report
    from saliency_audit.data import read_annotations
    from saliency_audit.errors import InputError, lookup
    from saliency_audit.methods import METHODS
    from saliency_audit.metrics import CHECKS, METRICS
    from saliency_audit.models import SCALARS
    from saliency_audit.report.folder import RunFolder
    from saliency_audit.report.tables import read_results
    from saliency_audit.stats.density import density_summary
    from saliency_audit.stats.paired import between_models, differences, relative_drop
    from saliency_audit.stats.summary import summarise

    for name in metric or ():
        lookup("metric", METRICS, name)
    for name in (*(saliency or ()), *([base] if base else ())):
        lookup("saliency method", METHODS, name)
    lookup("scalar", SCALARS, scalar)
    beside = {"other": other, "annotations": annotations}
    names = metric or _by_default(preset and str(preset), beside)
    metrics = _options_by_metric(
        names,
        {
            "--steps": {"steps": steps},
            "--fill": {"fill": fill},
            "--reduce": {"reduce": reduce and str(reduce)},
            "--points": {"points": points},
            "--regions": {"counts": regions and tuple(regions)},
            "--unit": {"unit": unit and str(unit)},
            "--randomise": {"randomise": randomise and str(randomise)},
            "--draws": {"draws": draws},
            "--stages": {"stages": stages},
            "--k": {"k": k},
            "--pixels": {"pixels": pixels and str(pixels)},
            "--top": {"top": top and tuple(top)},
            "--radius": {"radius": radius},
            "--sigma": {"sigmas": sigma and tuple(sigma), "sigma": sigma and sigma[0]},
            "--perturbations": {"perturbations": perturbations},
            "--explain-class": {"classes": explain_class and tuple(explain_class)},
            "--eps": {"eps": eps},
            "--norm": {"norm": norm and str(norm)},
            "--attack-steps": {"attack_steps": attack_steps},
            "--restarts": {"restarts": restarts},
        },
        preset and str(preset),
    )
    if sigma and len(sigma) > 1 and "infidelity" in metrics:
        raise InputError(
            f"infidelity takes one --sigma, and {len(sigma)} are given; leave the rest"
        )
    for need, given_one in beside.items():
        takers = [name for name, entry in METRICS.items() if need in entry.needs]
        if given_one is not None and not set(takers) & set(names):
            raise InputError(
                f"--{need} is for {', '.join(takers)}; add --metric {takers[0]} or leave --{need}"
            )
    if base is not None and "aopc" not in metrics:
        raise InputError("--base is for --metric aopc; add that or leave --base")
    path = output_dir or Path("saliency-audit-report/evaluate")
    check_apart(path, data=data, maps=maps, annotations=annotations)
    together = processes(device)
    setup = prepare(
        model,
        data,
        arch=arch,
        size=size,
        channels=channels,
        mean=mean,
        std=std,
        trust_pickle=trust_pickle,
        precision=precision,
        layer=layer,
        classes=classes,
        resize=resize,
        max_samples=max_samples,
        device=together.device(device),
        batch_size=batch_size,
        seed=seed,
        quiet=quiet or not together.main,
    )
    further = [setup.load(spec) for spec in compare or ()]
    judging, second = (setup.load(spec) if spec else None for spec in (judge, other))
    methods: dict[str, SaliencyMethod] = {}
    problems: dict[str, Mapping[str, str]] = {}
    if maps is not None:
        name, method, notes, problems_of = audits.maps_from_files(maps, setup.data)
        methods[name], problems[name] = method, problems_of
        for line in notes:
            setup.tell(line)
    if explain is not None:
        name, method = audits.maps_from_callable(explain)
        methods[name] = method
    marked = None if annotations is None else read_annotations(annotations, setup.data)
    for line in marked.notes if marked else ():
        setup.tell(line)
    given = {"samples": samples, "noise_level": noise_level, "steps": ig_steps}
    method_options = {name: value for name, value in given.items() if value is not None}
    settings = {
        **common_settings(
            setup,
            arch=arch,
            layer=layer,
            precision=str(precision),
            max_samples=max_samples,
            resize=resize,
            seed=seed,
        ),
        "metrics": metrics,
        "saliency": saliency or "default",
        "scalar": scalar,
        "target": str(target),
        "method options": method_options,
        "compared": [other_model.sha256 for other_model in further],
        "judge": judging and judging.sha256,
        "other": second and second.sha256,
        "maps": maps and str(maps),
        "explain": explain,
        "base": base,
        "annotations": annotations and str(annotations),
        "files": [
            fingerprint(place)
            for place in (maps, annotations, audits.file_of_callable(explain) if explain else None)
            if place
        ],
    }
    ledger = hold(
        path,
        setup,
        files=(),
        pictures=[*PICTURES, *CHECKS],
        data=data,
        others={
            "MODEL": model,
            "--compare": compare,
            "--judge": judge,
            "--other": other,
            "--maps": maps,
            "--explain": explain,
            "--annotations": annotations,
            "--classes": classes,
        },
        processes=together,
    )
    with nothing_written_on_bad_input(ledger):
        folder = RunFolder(path, settings, resume=True, ledger=ledger) if resume else None
        clean = measure_clean_accuracy(setup, workers=workers, processes=together)
        if folder is None or not folder.finished:

            def begin() -> "Container[int]":
                nonlocal folder
                if folder is None and together.main:
                    folder = RunFolder(path, settings, resume=False, ledger=ledger)
                together.wait()
                # The others join the folder that the first one has made.
                folder = folder or RunFolder(path, settings, resume=True)
                if folder.done:
                    setup.tell(f"resuming: {len(folder.done)} batches are done")
                return folder.done

            with progress("evaluate: measurements", quiet=setup.quiet) as advance:
                for batch in audits.evaluate(
                    setup.model,
                    setup.data,
                    metrics=metrics,
                    by_default=metric is None,
                    saliency=saliency,
                    scalar=scalar,
                    target=str(target),
                    options=method_options,
                    methods=methods,
                    problems=problems,
                    models=further,
                    judge=judging,
                    other=second,
                    annotations=marked.read if marked else None,
                    base=base,
                    seed=seed,
                    batch_size=setup.batch_size,
                    workers=workers,
                    shard=(together.rank, together.world),
                    begin=begin,
                    tell=setup.tell,
                    advance=advance,
                ):
                    assert folder is not None
                    folder.write(batch)
            assert folder is not None
            together.wait()
            if together.main:
                folder.write_results()
    everyone = [setup.model, *further, *filter(None, (judging, second))]
    passes = sum(together.gathered(sum(one.passes for one in everyone)))
    together.close()
    if not together.main:
        return
    rows = read_results(folder.results)
    chances = audits.evaluate_chances(rows, setup.classes)
    better = {name: check.higher_is_better for name, check in CHECKS.items()}
    summary = summarise(rows, higher_is_better=better, chance=chances)
    summary = pd.concat([summary, density_summary(rows)], ignore_index=True)
    verdicts = audits.evaluate_verdicts(summary, differences(rows))
    sentence = audits.evaluate_sentence(verdicts, images=clean.readable)
    if not folder.finished:
        run = facts(setup, clean, sys.argv[1:], settings)
        run |= {"answer": sentence, "model_passes": passes, "processes": together.world}
        write_evaluate_report(
            path,
            summary=summary,
            verdicts=verdicts,
            curves=folder.curves(),
            examples=folder.examples(),
            sentence=sentence,
            run=run,
            words=audits.EVALUATE_WORDS,
            checks=CHECKS,
            compared=between_models(rows) if further else None,
            drops=None if base is None else relative_drop(rows, base),
        )
        folder.close(run | {"verdicts": verdicts.to_dict("records")})
    show_others(summary)
    show_verdicts(verdicts, sentence)
    if not quiet:
        results.print(escape(flat(f"report: {path / 'report.html'}")), soft_wrap=True)
    _exit_on(fail_on, list(verdicts["verdict"]))


def _by_default(preset: str | None, beside: "Mapping[str, Any]") -> "Sequence[str]":
    """The metrics of a run that names none: those of the preset for which all is given."""
    from saliency_audit.audits import METRICS_BY_DEFAULT
    from saliency_audit.metrics import METRICS
    from saliency_audit.metrics.presets import PRESETS

    if preset is None:
        return METRICS_BY_DEFAULT
    missing = {need for need, given in beside.items() if given is None}
    return [name for name in PRESETS[preset].options if not missing & set(METRICS[name].needs)]


def _options_by_metric(
    names: "Sequence[str]",
    given: "Mapping[str, Mapping[str, Any]]",
    preset: str | None,
) -> dict[str, dict[str, Any]]:
    """The options of each metric: of the preset, and over them those of the command line.

    Raises:
        InputError: an option or the preset does nothing for any of the metrics.
    """
    from saliency_audit.errors import InputError
    from saliency_audit.metrics import METRICS
    from saliency_audit.metrics.presets import PRESETS

    known = {name: set(signature(METRICS[name].function).parameters) for name in names}
    chosen: dict[str, dict[str, Any]] = {name: {} for name in names}
    if preset is not None:
        options = PRESETS[preset].options
        if not set(options) & set(names):
            raise InputError(
                f"--preset {preset} is for {', '.join(options)}; add --metric {next(iter(options))}"
            )
        chosen |= {name: dict(options.get(name, {})) for name in names}
    for option, values in given.items():
        wanted = {parameter: value for parameter, value in values.items() if value is not None}
        takers = [name for name in names if known[name] & set(wanted)]
        if wanted and not takers:
            of = [
                n for n, m in METRICS.items() if set(wanted) & set(signature(m.function).parameters)
            ]
            raise InputError(
                f"{option} is for {', '.join(of)}, which is not measured; add --metric "
                f"{of[0]} or leave {option}"
            )
        for name in takers:
            chosen[name] |= {key: value for key, value in wanted.items() if key in known[name]}
    return chosen


def _exit_on(fail_on: FailOn | None, words: list[str]) -> None:
    """Exit with 1 if a verdict is among the refused ones; nothing judged is no pass either."""
    if fail_on is None:
        return
    refused = {"worse", "undefined"}
    if fail_on is FailOn.NOT_DISTINGUISHABLE:
        refused.add("not distinguishable")
    judged = [word for word in words if word]
    bad = [word for word in judged if word in refused]
    if bad or not judged:
        found = ", ".join(f"{bad.count(word)} {word}" for word in dict.fromkeys(bad))
        errors.print(f"--fail-on {fail_on}: {found or 'no map was judged'}")
        raise typer.Exit(1)
