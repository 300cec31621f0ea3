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

from saliency_audit.commands.finetune.data import (
    open_annotations,
    open_training,
    teacher_targets,
    validation_of,
)
from saliency_audit.commands.finetune.model import to_train, try_audit
from saliency_audit.commands.finetune.plan import Plan, planned
from saliency_audit.commands.output import check_apart, hold, nothing_written_on_bad_input
from saliency_audit.commands.setup import (
    Screen,
    Setup,
    common_settings,
    facts,
    fingerprint,
    measure_clean_accuracy,
    prepare,
)
from saliency_audit.errors import AuditError, InputError
from saliency_audit.options import Given, place_of_report
from saliency_audit.processes import Processes, processes
from saliency_audit.visible import flat

if TYPE_CHECKING:
    from accelerate import Accelerator

    from saliency_audit.commands.finetune.training_log import TrainingLog
    from saliency_audit.data import ImageData
    from saliency_audit.models import Classifier
    from saliency_audit.report.folder import RunFolder
    from saliency_audit.training import ByName

MODELS = ("model.safetensors", "model.pt2")
OF_ANOTHER = (*MODELS, "training.csv", "run.json")
"""Files of an earlier run that a new one must not be taken for."""
EPS = {"linf": 2 / 255, "l2": 0.5}
"""Budgets of the audit unless one is given: a model of plain training is not at 0 there."""


def run(given: Given, screen: Screen) -> int:
    """Train, audit before and after, and report.

    Raises:
        AuditError: in one line.
    """
    from saliency_audit.commands.finetune.audit import CHECKPOINT, check_training_data, save_trained
    from saliency_audit.commands.finetune.before_and_after import JOBS, check_before_and_after
    from saliency_audit.commands.finetune.report import PICTURES
    from saliency_audit.commands.finetune.training_log import TrainingLog
    from saliency_audit.metrics import CHECKS
    from saliency_audit.models import reload, trainable
    from saliency_audit.report.folder import TEACHER_MAPS, RunFolder
    from saliency_audit.training.checkpoint import read_checkpoint
    from saliency_audit.training.loop import accelerator, check_objective
    from saliency_audit.training.recipe import check_recipe

    plan = planned(given)
    saliency = tuple(given.saliency or ("gradient",))
    path = place_of_report(given, "finetune")
    eps = EPS[given.audit_norm] if given.audit_eps is None else given.audit_eps
    check_before_and_after(saliency, given.scalar, eps=eps, norm=given.audit_norm)
    check_apart(path, data=given.data, val=given.val, annotations=given.annotations)
    group = processes(given.device)
    untrained = given.from_scratch and given.model is None and given.arch is not None
    setup = prepare(
        given.but(data=validation_of(given.data, given.val), max_samples=None),
        screen,
        processes=group,
        untrained=untrained,
    )
    trainable(setup.model)
    train, setup.data = open_training(
        setup,
        data=given.data,
        val=given.val,
        classes=given.classes,
        resize=given.resize,
        max_train=given.max_train,
        max_val=given.max_val,
        seed=given.seed,
    )
    for line in check_training_data(train, setup.classes):
        setup.tell(line)
    if given.min_accuracy and not setup.data.labelled:
        raise InputError(
            f"--min-accuracy {given.min_accuracy:g} needs labels and {setup.data.name} has none"
        )
    check_recipe(
        plan.recipe, len(train), processes=group.world, replay=int(plan.options.get("replay", 1))
    )
    other, teacher = (setup.load(spec) if spec else None for spec in (given.other, given.teacher))
    before = None if untrained else setup.model
    if given.against is not None:
        before = setup.load(given.against)
        setup.tell(f"'before' is {before.name} (--against), not the model that is trained")
    if untrained and teacher is None and "targets" in plan.objective.needs:
        raise InputError(
            f"--objective {plan.name} of random weights has nobody to learn from; give --teacher, "
            "such as the model.safetensors of --objective pgd"
        )
    model = to_train(setup, given, plan)
    check_objective(model, plan.objective, plan.options, setup.classes)
    try_audit(given, setup, model, [one for one in (before, other, teacher) if one])
    annotations = open_annotations(given, plan, train, setup)
    settings = {
        **common_settings(setup, given),
        "objective": plan.name,
        "options": plan.options,
        "recipe": asdict(plan.recipe),
        "activation": model.activation,
        "from scratch": given.from_scratch,
        "training data": train.name,
        "training data fingerprint": train.fingerprint,
        "processes": group.world,
        "teacher": teacher and teacher.sha256,
        "teacher options": plan.teacher if "targets" in plan.objective.needs else {},
        "annotations": given.annotations and fingerprint(given.annotations),
        "checkpoint every": given.checkpoint_every,
        "min accuracy": given.min_accuracy,
        "against": given.against and before and before.sha256,
        "other": other and other.sha256,
        "saliency": saliency,
        "scalar": given.scalar,
        "target": given.target,
        "audit eps": eps,
        "audit norm": given.audit_norm,
    }
    checkpoint = CHECKPOINT.as_posix()
    ledger = hold(
        path,
        setup,
        files=(*MODELS, checkpoint, "training.csv"),
        pictures=[*PICTURES, *CHECKS],
        data=given.val or given.data,
        others={
            "MODEL": given.model,
            "--data": given.data,
            "--teacher": given.teacher,
            "--against": given.against,
            "--other": given.other,
            "--annotations": given.annotations,
            "--classes": given.classes,
        },
        processes=group,
    )
    with nothing_written_on_bad_input(ledger):
        # A teacher's maps whose settings are not beside them may be of any training.
        begun = (path / "partial" / "settings.json").is_file()
        group.wait()
        folder = (
            RunFolder(path, settings, jobs=JOBS, resume=True, ledger=ledger)
            if given.resume
            else None
        )
        clean = None
        if not untrained:
            clean = measure_clean_accuracy(setup, workers=given.workers, processes=group)
        state = None
        if folder is None:
            if group.main:
                folder = RunFolder(path, settings, jobs=JOBS, resume=False, ledger=ledger)
            group.wait()
            folder = folder or RunFolder(path, settings, jobs=JOBS, resume=True)
        if ledger is not None and not folder.finished:
            # A training that fails must not leave an earlier one's model for its own.
            ledger.remove_earlier([checkpoint, *OF_ANOTHER])
        # Only this training's own: one that lay there may be of any.
        kept = ledger is not None and ledger.wrote(checkpoint) and (path / checkpoint).is_file()
        if group.gathered(kept)[0] and not folder.finished:
            state = read_checkpoint(path / CHECKPOINT)
            setup.tell(f"resuming after step {state['step']:,}")
        log = TrainingLog(
            path / "training.csv",
            until=int(state["step"]) if state else 0,
        )
        terms: tuple[str, ...] = ()
        unreadable = 0
        if not folder.finished:
            together = accelerator(model.mean.device, accumulate=plan.recipe.accumulate)
            targets = None
            trained = state is not None and state["step"] >= plan.recipe.steps(len(train))
            if "targets" in plan.objective.needs and not trained:
                targets = teacher_targets(
                    teacher or setup.model, train, path, given, plan, setup, group, made=begun
                )
            terms, unreadable = _train(
                model,
                train,
                path,
                given,
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
        elsewhere = sum(group.gathered(model.passes)[1:])
        group.close()
        if not group.main:
            return 0
        if not folder.finished:
            save_trained(model, path, tell=setup.tell)
            (path / TEACHER_MAPS).unlink(missing_ok=True)
            after = reload(path / "model.safetensors", model)
            if clean is None:
                clean = measure_clean_accuracy(replace(setup, model=after), workers=given.workers)
            _audit(before, after, other, folder, given, setup, eps)
        clean = clean or measure_clean_accuracy(setup, workers=given.workers)
    beside = {id(one): one.passes for one in (before, other, teacher) if one is not None}
    beside.pop(id(setup.model), None)
    run = facts(setup, clean, sys.argv[1:], settings)
    run |= {
        "settings": settings,
        "training_images": len(train),
        "training_unreadable": unreadable,
        "model_passes": run["model_passes"] + elsewhere + sum(beside.values()),
        "processes": group.world,
    }
    against = before.name if before is not None and given.against is not None else None
    _report(folder, log, terms, plan, run, setup, against=against, quiet=given.quiet)
    return 0


@contextmanager
def _after_training() -> Iterator[None]:
    """Inside, nothing is wrong input any more: what was trained stays."""
    try:
        yield
    except InputError as error:
        raise AuditError(f"{error} (the training is kept in checkpoint/last.pt)") from error


def _train(
    model: "Classifier",
    train: "ImageData",
    path: Path,
    given: Given,
    plan: Plan,
    setup: Setup,
    log: "TrainingLog",
    together: "Accelerator",
    group: Processes,
    *,
    targets: "ByName | None",
    annotations: "ByName | None",
    state: Mapping[str, Any] | None,
) -> tuple[tuple[str, ...], int]:
    """Train to the end, a row of the log for each step; terms of the loss, and images not read."""
    from saliency_audit.commands.finetune.audit import finetune

    terms = tuple(state["terms"]) if state else ()
    unreadable = int(state["unreadable"]) if state else 0

    with (
        setup.screen.progress("finetune: steps", quiet=setup.quiet) as advance,
        _interruptible(setup.screen, quiet=setup.quiet) as stopping,
    ):
        try:
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
                every=given.checkpoint_every,
                min_accuracy=given.min_accuracy,
                seed=given.seed,
                batch_size=setup.batch_size,
                workers=given.workers,
                state=state,
                together=together,
                stopping=stopping,
            ):
                terms = trained.terms
                if trained.unreadable and not unreadable:
                    setup.tell(
                        "WARNING: training images that cannot be read are left out of their step"
                    )
                unreadable = trained.unreadable
                log.add(trained.step, trained.epoch, trained.values)
                advance(trained.step, trained.steps)
                if trained.keep and group.main:
                    log.write()
                if "val_accuracy" in trained.values and not setup.quiet:
                    setup.screen.note(_line(trained.step, trained.steps, trained.values, terms))
        finally:
            # Also where it ends in an error: the way there is what one wants to see.
            if group.main and len(log.table):
                log.write()
    if unreadable:
        setup.tell(f"training images that could not be read, over all steps: {unreadable}")
    return terms, unreadable


def _line(step: int, steps: int, values: Mapping[str, float], terms: tuple[str, ...]) -> str:
    parts = ", ".join(f"{name} {values[name]:.4g}" for name in terms)
    return (
        f"step {step:,} of {steps:,}: loss {values['loss']:.4g} ({parts}); accuracy "
        f"{values['train_accuracy']:.1%} of this batch, {values['val_accuracy']:.1%} of the "
        "validation images"
    )


@contextmanager
def _interruptible(screen: Screen, *, quiet: bool) -> Iterator[Callable[[], bool]]:
    """Inside, Ctrl-C asks for an end after the present step; the second one does not wait."""
    asked = False

    def ask(*_: object) -> None:
        nonlocal asked
        if asked:
            raise KeyboardInterrupt
        asked = True
        if not quiet:
            screen.note(
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
    given: Given,
    setup: Setup,
    eps: float,
) -> None:
    from saliency_audit.commands.finetune.before_and_after import before_and_after

    with setup.screen.progress("finetune: audit", quiet=setup.quiet) as advance:
        for batch in before_and_after(
            before,
            after,
            setup.data,
            saliency=given.saliency or ("gradient",),
            scalar=given.scalar,
            target=given.target,
            max_samples=given.max_samples,
            eps=eps,
            norm=given.audit_norm,
            other=other,
            seed=given.seed,
            batch_size=setup.batch_size,
            workers=given.workers,
            begin=folder.done,
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
    setup: Setup,
    *,
    against: str | None,
    quiet: bool,
) -> None:
    """Pictures, tables and the page, and the answer on the terminal."""
    import pandas as pd

    from saliency_audit.commands.attack.verdict import attack_controls
    from saliency_audit.commands.finetune.report import write_finetune_report
    from saliency_audit.commands.finetune.terminal import shown
    from saliency_audit.commands.finetune.verdict import (
        FINETUNE_WORDS,
        finetune_chances,
        finetune_sentence,
        finetune_verdicts,
    )
    from saliency_audit.metrics import CHECKS
    from saliency_audit.report.tables import read_results
    from saliency_audit.stats.paired import between_models
    from saliency_audit.stats.summary import summarise

    path = folder.path
    rows = read_results(folder.results)
    better = {name: check.higher_is_better for name, check in CHECKS.items()}
    chance = finetune_chances(rows, run["classes"], run["input_shape"])
    # An attack stands beside noise of its size, all else beside the random map.
    attacked = rows["setting"].str.startswith("attack=")
    summary = pd.concat(
        [
            summarise(rows[~attacked], higher_is_better=better, chance=chance),
            summarise(
                rows[attacked],
                higher_is_better=better,
                chance=chance,
                controls=attack_controls(rows[attacked]),
            ),
        ],
        ignore_index=True,
    )
    compared = between_models(rows)
    verdicts = finetune_verdicts(summary, compared)
    sentence = finetune_sentence(
        verdicts,
        objective=plan.name,
        images=min(run["images"], run["settings"]["max samples"]),
        against=against,
    )
    if not folder.finished:
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
            words=FINETUNE_WORDS,
            checks=CHECKS,
            compared=compared if summary["model"].nunique() > 1 else None,
        )
        log.write()
        folder.close({**run, "answer": sentence, "verdicts": verdicts.to_dict("records")})
    setup.screen.show(*shown(verdicts), escape(flat(sentence)))
    if not quiet:
        setup.screen.show(escape(flat(f"report: {path / 'report.html'}")))
