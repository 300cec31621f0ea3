"""What ``finetune`` does once its options are known: load, train, keep, audit, report."""

import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.markup import escape

from saliency_audit.cli.console import errors, progress, results
from saliency_audit.cli.finetune_data import open_training, validation_of
from saliency_audit.cli.finetune_plan import Plan, Request, planned
from saliency_audit.cli.finetune_table import show_verdicts
from saliency_audit.cli.processes import Processes, processes
from saliency_audit.cli.setup import (
    Setup,
    check_writable,
    common_settings,
    facts,
    fingerprint,
    measure_clean_accuracy,
    nothing_written_on_bad_input,
    prepare,
    remove_pictures,
)
from saliency_audit.errors import AuditError, InputError

if TYPE_CHECKING:
    from accelerate import Accelerator

    from saliency_audit.data import ImageData
    from saliency_audit.models import Classifier
    from saliency_audit.reports.folder import RunFolder
    from saliency_audit.reports.training_log import TrainingLog
    from saliency_audit.training import ByName

TEACHER_MAPS = "teacher-maps.npy"
OF_ANOTHER = ("model.safetensors", "model.pt2", "training.csv", "run.json", TEACHER_MAPS)
"""Files of an earlier run that a new one must not be taken for."""
EPS = {"linf": 2 / 255, "l2": 0.5}
"""Budgets of the audit unless one is given: a model of plain training is not at 0 there."""


def run(request: Request) -> None:
    """Train, audit before and after, and report.

    Raises:
        AuditError: in one line.
    """
    from saliency_audit.audits.finetune import CHECKPOINT, check_training_data, save_trained
    from saliency_audit.audits.finetune_audit import check_before_and_after
    from saliency_audit.models import reload, trainable
    from saliency_audit.reports.folder import RunFolder
    from saliency_audit.reports.training_log import TrainingLog
    from saliency_audit.training.checkpoint import read_checkpoint
    from saliency_audit.training.loop import accelerator, check_objective
    from saliency_audit.training.recipe import check_recipe

    plan = planned(request)
    eps = EPS[request.audit_norm] if request.audit_eps is None else request.audit_eps
    check_before_and_after(request.saliency, request.scalar, eps=eps, norm=request.audit_norm)
    group = processes(request.device)
    untrained = request.from_scratch and request.model is None and request.arch is not None
    setup = prepare(
        request.model,
        validation_of(request.data, request.val),
        arch=request.arch,
        size=request.size,
        channels=request.channels,
        mean=request.mean,
        std=request.std,
        trust_pickle=request.trust_pickle,
        precision=request.precision,
        layer=request.layer,
        classes=request.classes,
        resize=request.resize,
        max_samples=None,
        device=group.device(request.device),
        batch_size=request.batch_size,
        seed=request.seed,
        quiet=request.quiet or not group.main,
        untrained=untrained,
    )
    trainable(setup.model)
    train, setup.data = open_training(
        setup,
        data=request.data,
        val=request.val,
        classes=request.classes,
        resize=request.resize,
        max_train=request.max_train,
        max_val=request.max_val,
        seed=request.seed,
    )
    for line in check_training_data(train, setup.classes):
        setup.tell(line)
    if request.min_accuracy and not setup.data.labelled:
        raise InputError(
            f"--min-accuracy {request.min_accuracy:g} needs labels and {setup.data.name} has none"
        )
    check_recipe(
        plan.recipe, len(train), processes=group.world, replay=int(plan.options.get("replay", 1))
    )
    other, teacher = (
        setup.load(spec) if spec else None for spec in (request.other, request.teacher)
    )
    before = None if untrained else setup.model
    if request.against is not None:
        before = setup.load(request.against)
    model = _to_train(setup, request, plan)
    check_objective(model, plan.objective, plan.options, setup.classes)
    _try_audit(request, setup, model, [one for one in (before, other, teacher) if one])
    annotations = _annotations(request, plan, train, setup)
    settings = {
        **common_settings(
            setup,
            arch=request.arch,
            layer=request.layer,
            precision=request.precision,
            max_samples=request.max_samples,
            resize=request.resize,
            seed=request.seed,
        ),
        "objective": plan.name,
        "options": plan.options,
        "recipe": asdict(plan.recipe),
        "activation": model.activation,
        "from scratch": request.from_scratch,
        "training data": train.name,
        "training data fingerprint": train.fingerprint,
        "processes": group.world,
        "teacher": teacher and teacher.sha256,
        "teacher options": plan.teacher if "targets" in plan.objective.needs else {},
        "annotations": request.annotations and fingerprint(request.annotations),
        "checkpoint every": request.checkpoint_every,
        "min accuracy": request.min_accuracy,
        "against": request.against and before and before.sha256,
        "other": other and other.sha256,
        "saliency": request.saliency,
        "scalar": request.scalar,
        "target": request.target,
        "audit eps": eps,
        "audit norm": request.audit_norm,
    }
    path = request.output_dir
    with nothing_written_on_bad_input(path):
        check_writable(path)
        # A checkpoint whose settings are not beside it may be of any training.
        begun = (path / "partial" / "settings.json").is_file()
        folder = RunFolder(path, settings, resume=True) if request.resume else None
        clean = None
        if before is not None:
            measured = replace(setup, model=before, notes=setup.notes)
            clean = measure_clean_accuracy(measured, workers=request.workers, processes=group)
        state = None
        if folder is None:
            if group.main:
                # A training that fails must not leave an earlier one's model for its own.
                for name in (CHECKPOINT, *OF_ANOTHER):
                    (path / name).unlink(missing_ok=True)
                folder = RunFolder(path, settings, resume=False)
            group.wait()
            folder = folder or RunFolder(path, settings, resume=True)
        elif begun and (path / CHECKPOINT).is_file() and not folder.finished:
            state = read_checkpoint(path / CHECKPOINT)
            setup.tell(f"resuming after step {state['step']:,}")
        log = TrainingLog(
            path / "training.csv",
            until=-1 if folder.finished else (int(state["step"]) if state else 0),
        )
        terms: tuple[str, ...] = ()
        if not folder.finished:
            together = accelerator(model.mean.device, accumulate=plan.recipe.accumulate)
            targets = None
            if "targets" in plan.objective.needs:
                targets = _targets(teacher or setup.model, train, path, request, plan, setup, group)
            terms = _train(
                model,
                train,
                path,
                request,
                plan,
                setup,
                log,
                together,
                group,
                targets=targets,
                annotations=annotations,
                state=state,
            )
    with _after_training():
        passes = sum(group.gathered(model.passes))
        group.close()
        if not group.main:
            return
        if not folder.finished:
            save_trained(model, path, tell=setup.tell)
            (path / TEACHER_MAPS).unlink(missing_ok=True)
        after = reload(path / "model.safetensors", model)
        if clean is None:
            clean = measure_clean_accuracy(replace(setup, model=after), workers=request.workers)
        if not folder.finished:
            _audit(before, after, other, folder, request, setup, eps)
    facts_of_run = {
        **facts(setup, clean, sys.argv[1:], settings),
        "settings": settings,
        "training_images": len(train),
        "training_passes": passes,
        "processes": group.world,
    }
    _report(folder, log, terms, plan, facts_of_run, quiet=request.quiet)


@contextmanager
def _after_training() -> Iterator[None]:
    """Inside, nothing is wrong input any more: what was trained stays."""
    try:
        yield
    except InputError as error:
        raise AuditError(f"{error} (the training is kept in checkpoint/last.pt)") from error


def _try_audit(
    request: Request, setup: Setup, model: "Classifier", beside: "list[Classifier]"
) -> None:
    """Try on one grey image what will be asked of the models once hours of training are over.

    Raises:
        InputError: a method that the model does not allow, or models of different classes.
    """
    import torch

    from saliency_audit.audits.explain import supported

    grey = torch.full((1, *model.input_shape), 0.5, device=model.mean.device)
    for other in beside:
        with other.audited():
            outputs = other.check(grey)
        if outputs != setup.classes:
            raise InputError(
                f"{other.name} has {outputs} outputs and {model.name} has {setup.classes}; models "
                "in one run must know the same classes"
            )
    with model.audited():
        supported(
            list(request.saliency),
            model=model,
            images=grey,
            targets=torch.zeros(1, dtype=torch.long, device=grey.device),
            scalar=request.scalar,
            options={},
            tell=lambda line: None,
            refuse=True,
        )


def _to_train(setup: Setup, request: Request, plan: Plan) -> "Classifier":
    """The classifier that is trained: a copy, or one with random weights."""
    from saliency_audit.models import copied, reinitialised

    given = setup.model
    if request.from_scratch:
        model = given if request.model is None and request.arch else None
        model = model or reinitialised(given, seed=request.seed)
    else:
        model = given.replaced(copied(given))
    softened = plan.surrogate == "softplus" or (plan.surrogate == "auto" and plan.objective.smooth)
    if softened and model.activation is None:
        model.activation = ("softplus", plan.beta)
        setup.tell(
            f"softplus (beta {plan.beta:g}) takes the place of ReLU and its kin, in training and "
            "in the model that is written"
        )
    if plan.objective.smooth and model.activation is None:
        setup.tell(
            "WARNING: second derivatives of a ReLU network are 0 almost everywhere, so its trace "
            "says nothing; leave --surrogate none unless the network has smooth activations"
        )
    return model


def _annotations(request: Request, plan: Plan, train: "ImageData", setup: Setup) -> "ByName | None":
    from saliency_audit.data import read_annotations

    weighted = plan.options.get("penalty") == "weighted"
    needed = "annotations" in plan.objective.needs or weighted
    if needed and request.annotations is None:
        what = "--penalty weighted" if weighted else f"--objective {plan.name}"
        raise InputError(
            f"{what} needs what people marked on the training images; give --annotations FOLDER "
            "or FILE.csv"
        )
    if request.annotations is None:
        return None
    if not needed:
        raise InputError(
            "--annotations is for --objective harmonise and for adversarial with --penalty "
            f"weighted; leave it for {plan.name}"
        )
    marked = read_annotations(request.annotations, train)
    for line in marked.notes:
        setup.tell(line)
    return marked.read


def _targets(
    teacher: "Classifier",
    train: "ImageData",
    path: Path,
    request: Request,
    plan: Plan,
    setup: Setup,
    group: Processes,
) -> "ByName":
    """The teacher's maps of all training images, in a file; made once."""
    from saliency_audit.training.teacher_maps import (
        create_targets,
        finish_targets,
        read_targets,
        write_targets,
    )

    if request.teacher is None:
        setup.tell(
            "no --teacher: the model before training teaches, which is P4's non-robust control; "
            "for a robust teacher give the model.safetensors of --objective pgd"
        )
    file = path / TEACHER_MAPS
    if not file.is_file() or not request.resume:
        if group.main:
            file.unlink(missing_ok=True)
            create_targets(file, train)
        group.wait()
        made = 0
        with progress("finetune: teacher's maps", quiet=setup.quiet) as advance:

            def count(images: int) -> None:
                nonlocal made
                made += images * group.world
                advance(made, len(train))

            write_targets(
                file,
                teacher,
                train,
                **plan.teacher,
                seed=request.seed,
                batch_size=setup.batch_size,
                workers=request.workers,
                shard=(group.rank, group.world),
                advance=count,
            )
        group.wait()
        if group.main:
            finish_targets(file)
        group.wait()
    return read_targets(file, train)


def _train(
    model: "Classifier",
    train: "ImageData",
    path: Path,
    request: Request,
    plan: Plan,
    setup: Setup,
    log: "TrainingLog",
    together: "Accelerator",
    group: Processes,
    *,
    targets: "ByName | None",
    annotations: "ByName | None",
    state: Mapping[str, Any] | None,
) -> tuple[str, ...]:
    """Train to the end, a row of the log for each step; the terms of the loss."""
    from saliency_audit.audits.finetune import finetune

    terms = tuple(state["terms"]) if state else ()

    with (
        progress("finetune: steps", quiet=setup.quiet) as advance,
        _interruptible(setup.quiet) as stopping,
    ):
        for trained in finetune(
            model,
            train,
            setup.data,
            objective=plan.name,
            folder=path,
            recipe=plan.recipe,
            options=plan.options,
            targets=targets,
            annotations=annotations,
            every=request.checkpoint_every,
            min_accuracy=request.min_accuracy,
            seed=request.seed,
            batch_size=setup.batch_size,
            workers=request.workers,
            state=state,
            together=together,
            stopping=stopping,
        ):
            terms = trained.terms
            log.add(trained.step, trained.epoch, trained.values)
            advance(trained.step, trained.steps)
            if trained.keep and group.main:
                log.write()
            if "val_accuracy" in trained.values and not setup.quiet:
                errors.print(
                    _line(trained.step, trained.steps, trained.values, terms), soft_wrap=True
                )
    return terms


def _line(step: int, steps: int, values: Mapping[str, float], terms: tuple[str, ...]) -> str:
    parts = ", ".join(f"{name} {values[name]:.4g}" for name in terms)
    return (
        f"step {step:,} of {steps:,}: loss {values['loss']:.4g} ({parts}); accuracy "
        f"{values['train_accuracy']:.1%} of this batch, {values['val_accuracy']:.1%} of the "
        "validation images"
    )


@contextmanager
def _interruptible(quiet: bool) -> Iterator[Callable[[], bool]]:
    """Inside, Ctrl-C asks for an end after the present step; the second one does not wait."""
    asked = False

    def ask(*_: object) -> None:
        nonlocal asked
        if asked:
            raise KeyboardInterrupt
        asked = True
        if not quiet:
            errors.print(
                "stopping after this step; Ctrl-C again stops at once, without a checkpoint"
            )

    if threading.current_thread() is not threading.main_thread():
        yield lambda: asked
        return
    earlier = signal.signal(signal.SIGINT, ask)
    try:
        yield lambda: asked
    finally:
        signal.signal(signal.SIGINT, earlier)


def _audit(
    before: "Classifier | None",
    after: "Classifier",
    other: "Classifier | None",
    folder: "RunFolder",
    request: Request,
    setup: Setup,
    eps: float,
) -> None:
    from saliency_audit.audits.finetune_audit import before_and_after

    with progress("finetune: audit", quiet=setup.quiet) as advance:
        for batch in before_and_after(
            before,
            after,
            setup.data,
            saliency=request.saliency,
            scalar=request.scalar,
            target=request.target,
            max_samples=request.max_samples,
            eps=eps,
            norm=request.audit_norm,
            other=other,
            seed=request.seed,
            batch_size=setup.batch_size,
            workers=request.workers,
            begin=lambda: folder.done,
            tell=setup.tell,
            advance=advance,
        ):
            folder.write(batch)
    folder.write_results()


def _report(
    folder: "RunFolder",
    log: "TrainingLog",
    terms: tuple[str, ...],
    plan: Plan,
    run: Mapping[str, Any],
    *,
    quiet: bool,
) -> None:
    """Pictures, tables and the page, and the answer on the terminal."""
    import pandas as pd

    from saliency_audit import audits
    from saliency_audit.metrics import CHECKS
    from saliency_audit.reports.finetune import PICTURES, write_finetune_report
    from saliency_audit.reports.paired import between_models
    from saliency_audit.reports.summary import summarise
    from saliency_audit.reports.tables import read_results

    path = folder.path
    rows = read_results(folder.results)
    better = {name: check.higher_is_better for name, check in CHECKS.items()}
    chance = audits.finetune_chances(rows, run["classes"], run["input_shape"])
    # An attack stands beside noise of its size, all else beside the random map.
    attacked = rows["setting"].str.startswith("attack=")
    summary = pd.concat(
        [
            summarise(rows[~attacked], higher_is_better=better, chance=chance),
            summarise(
                rows[attacked],
                higher_is_better=better,
                chance=chance,
                controls=audits.attack_controls(rows[attacked]),
            ),
        ],
        ignore_index=True,
    )
    compared = between_models(rows)
    verdicts = audits.finetune_verdicts(summary, compared)
    sentence = audits.finetune_sentence(
        verdicts, objective=plan.name, images=min(run["images"], run["settings"]["max samples"])
    )
    if not folder.finished:
        remove_pictures(path, [*PICTURES, *CHECKS])
        write_finetune_report(
            path,
            training=log.table,
            terms=terms,
            summary=summary,
            verdicts=verdicts,
            curves=folder.curves(),
            examples=folder.examples(),
            sentence=sentence,
            run=run,
            words=audits.FINETUNE_WORDS,
            checks=CHECKS,
            compared=compared if summary["model"].nunique() > 1 else None,
        )
        log.write()
        folder.close({**run, "answer": sentence, "verdicts": verdicts.to_dict("records")})
    show_verdicts(verdicts, sentence)
    if not quiet:
        results.print(f"report: {escape(str(path / 'report.html'))}", soft_wrap=True)
