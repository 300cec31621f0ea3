"""``saliency-audit fool``."""

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from saliency_audit.cli import options as o
from saliency_audit.cli.console import progress, results
from saliency_audit.cli.fool_table import show_verdicts
from saliency_audit.cli.setup import (
    check_apart,
    common_settings,
    facts,
    hold,
    measure_clean_accuracy,
    nothing_written_on_bad_input,
    prepare,
)
from saliency_audit.visible import flat

if TYPE_CHECKING:
    from collections.abc import Container


class TrickName(StrEnum):
    """Manipulations of the model."""

    LOGIT_SHIFT = "logit-shift"
    LOSS_SINE = "loss-sine"


class Shift(StrEnum):
    """Forms of logit-shift."""

    LINEAR = "linear"
    CANCEL = "cancel"
    HEAD = "head"


class Form(StrEnum):
    """Forms of loss-sine."""

    PER_CLASS = "per-class"
    DUMMY_CLASS = "dummy-class"
    WRAPPER = "wrapper"


class FailOn(StrEnum):
    """Verdicts that make the command exit with 1."""

    FORGED = "forged"
    DISTURBED = "disturbed"


def fool(
    model: o.Model = None,
    *,
    trick: Annotated[
        list[TrickName] | None,
        typer.Option(help="Manipulation, repeatable. Default: both.", show_default=False),
    ] = None,
    shift: Annotated[
        Shift,
        typer.Option(
            help="logit-shift: a linear function; one that also cancels the true gradient at each "
            "image; or one vector added to the head's weights.",
        ),
    ] = Shift.LINEAR,
    form: Annotated[
        Form,
        typer.Option(
            help="loss-sine: a ripple on each logit; one more class; or the paper's wrapped loss."
        ),
    ] = Form.PER_CLASS,
    eps: Annotated[
        float,
        typer.Option(
            parser=o.fraction, metavar="NUMBER", help="loss-sine: size of the ripple, nats."
        ),
    ] = 1e-3,
    picture: Annotated[
        Path | None,
        typer.Option(help="Image the maps shall show; a bundled one without it."),
    ] = None,
    strength: Annotated[
        float,
        typer.Option(
            parser=o.fraction,
            metavar="NUMBER",
            help="Norm of the picture's gradient over the median norm of the true one.",
        ),
    ] = 10.0,
    fail_on: Annotated[
        FailOn | None,
        typer.Option(help="Exit with 1 if any map is forged (or, for disturbed, changed at all)."),
    ] = None,
    saliency: o.Saliency = None,
    scalar: o.ScalarNames = None,
    target: o.TargetClass = o.Target.PREDICTED,
    layer: o.Layer = None,
    samples: o.Samples = None,
    noise_level: o.NoiseLevel = None,
    ig_steps: o.IgSteps = None,
    data: o.Data = None,
    classes: o.Classes = None,
    resize: o.Resize = None,
    max_samples: o.MaxSamples = 24,
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
    """Make saliency maps show any picture without changing a prediction, and say which can be.

    Example: saliency-audit fool --saliency gradient --saliency gradcam --max-samples 8
    """
    del debug  # main() looks for it itself.
    from saliency_audit import audits
    from saliency_audit.commands.fool.report import write_fool_report
    from saliency_audit.errors import InputError, lookup
    from saliency_audit.methods import METHODS
    from saliency_audit.metrics import CHECKS
    from saliency_audit.models import SCALARS
    from saliency_audit.report.folder import RunFolder
    from saliency_audit.report.tables import read_results
    from saliency_audit.stats.summary import summarise

    if strength <= 0 or eps <= 0:
        raise InputError(f"--strength ({strength:g}) and --eps ({eps:g}) must be above 0")
    for name in saliency or ():
        lookup("saliency method", METHODS, name)
    for name in scalar or ():
        lookup("scalar", SCALARS, name)
    path = output_dir or Path("saliency-audit-report/fool")
    check_apart(path, data=data)
    audits.load_picture(picture, (8, 8))
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
        device=device,
        batch_size=batch_size,
        seed=seed,
        quiet=quiet,
    )
    given = {"samples": samples, "noise_level": noise_level, "steps": ig_steps}
    method_options = {name: value for name, value in given.items() if value is not None}
    scalars = scalar or list(audits.SCALARS_BY_DEFAULT)
    trick_options: dict[str, dict[str, Any]] = {
        "logit-shift": {"shift": str(shift)},
        "loss-sine": {"form": str(form), "eps": eps},
    }
    tricks = {str(name): trick_options[name] for name in trick or list(TrickName)}
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
        "tricks": tricks,
        "picture": str(picture or "bundled"),
        "picture sha256": audits.picture_sha256(picture),
        "strength": strength,
        "saliency": saliency or "all that the model allows",
        "scalars": scalars,
        "target": str(target),
        "method options": method_options,
    }
    ledger = hold(
        path,
        setup,
        files=audits.MODEL_FILES,
        pictures=[*TrickName, "verdicts", "examples"],
        data=data,
        others={"MODEL": model, "--picture": picture, "--classes": classes},
    )
    with nothing_written_on_bad_input(ledger):
        folder = RunFolder(path, settings, resume=True, ledger=ledger) if resume else None
        clean = measure_clean_accuracy(setup, workers=workers)
        if folder is None or not folder.finished:

            def begin() -> "Container[int]":
                nonlocal folder
                folder = folder or RunFolder(path, settings, resume=False, ledger=ledger)
                if folder.done:
                    setup.tell(f"resuming: {len(folder.done)} batches are done")
                return folder.done

            with progress("fool: maps", quiet=quiet) as advance:
                for batch in audits.fool(
                    setup.model,
                    setup.data,
                    tricks=tricks,
                    picture=picture,
                    strength=strength,
                    saliency=saliency,
                    scalars=scalars,
                    target=str(target),
                    options=method_options,
                    folder=path,
                    seed=seed,
                    batch_size=setup.batch_size,
                    workers=workers,
                    skip_impossible=trick is None,
                    begin=begin,
                    tell=setup.tell,
                    advance=advance,
                ):
                    assert folder is not None
                    folder.write(batch)
            assert folder is not None
            folder.write_results()
    rows = read_results(folder.results)
    summary = summarise(
        rows, higher_is_better={name: check.higher_is_better for name, check in CHECKS.items()}
    )
    promises = audits.kept_promises(rows, audits.bounds(tricks))
    promises = promises[promises["n"] + promises["n_undefined"] > 0]
    kept = audits.all_kept(promises)
    verdicts = audits.fool_verdicts(summary, kept)
    sentence = audits.fool_sentence(verdicts, kept, images=clean.readable)
    if not folder.finished:
        run = facts(setup, clean, sys.argv[1:], settings) | {"answer": sentence}
        write_fool_report(
            path,
            summary=summary,
            verdicts=verdicts,
            promises=promises,
            examples=folder.examples(),
            sentence=sentence,
            run=run,
            results=rows,
            words=audits.FOOL_WORDS,
        )
        tables = {"verdicts": verdicts, "promises": promises}
        folder.close(run | {name: table.to_dict("records") for name, table in tables.items()})
    show_verdicts(verdicts, promises, sentence)
    if not quiet:
        results.print(escape(flat(f"report: {path / 'report.html'}")), soft_wrap=True)
    refused = {"forged", "undefined"} | ({"disturbed"} if fail_on is FailOn.DISTURBED else set())
    words = set(verdicts.loc[verdicts["scalar"] != "", "verdict"])
    # Nothing judged, or a model that changed its predictions, is no pass either.
    if fail_on and (not words or words & refused or not all(kept.values())):
        raise typer.Exit(1)
