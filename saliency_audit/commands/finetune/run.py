"""One run of ``finetune``: train, keep, audit before and after, answer, report."""

import signal
import threading
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from saliency_audit.commands.finetune.data import teacher_targets
from saliency_audit.commands.finetune.plan import Plan
from saliency_audit.commands.life import Answer, Done
from saliency_audit.commands.output import wrote
from saliency_audit.commands.setup import Screen, Setup, measure_clean_accuracy
from saliency_audit.errors import AuditError, InputError
from saliency_audit.options import Given
from saliency_audit.processes import Processes

if TYPE_CHECKING:
    import pandas as pd

    from saliency_audit.commands.clean import Clean
    from saliency_audit.commands.finetune.training_log import TrainingLog
    from saliency_audit.data import ImageData
    from saliency_audit.models import Classifier
    from saliency_audit.training import ByName
    from saliency_audit.training.loop import Trained
    from saliency_audit.types import Batch


_TIMED = 2
"""The step by which it is said how long a training takes: the first one is slower."""


@dataclass
class Work:
    """What a run is to do, and what came of it.

    Attributes:
        given: options of the command.
        setup: the model as it is given, with the images to validate on.
        plan: what the options mean.
        path: the output folder.
        train: the images to train on.
        annotations: what people marked on them.
        model: is trained.
        before: is compared with the trained model; None where there is none.
        swapped: that with the activation that is trained, where it has another one.
        other: another training.
        teacher: makes the maps to train towards; None means ``setup.model``.
        checks: that are measured before and after.
        budgets: of the audit, pixel units, each with its norm.
        begun: whether an earlier run left its settings.
        processes: of this run.
        measure_clean: clean accuracy of the trained model, where there is no other.
        after: the trained model, as it was written.
        log: a row for each step.
        terms: of the loss.
        unreadable: training images that could not be read, over all steps.
    """

    given: Given
    setup: Setup
    plan: Plan
    path: Path
    train: "ImageData"
    annotations: "ByName | None"
    model: "Classifier"
    before: "Classifier | None"
    swapped: "Classifier | None"
    other: "Classifier | None"
    teacher: "Classifier | None"
    checks: Sequence[str]
    budgets: Sequence[tuple[float, str]]
    begun: bool
    processes: Processes
    measure_clean: "Callable[[], Clean] | None" = None
    after: "Classifier | None" = None
    log: "TrainingLog | None" = None
    terms: tuple[str, ...] = ()
    unreadable: int = 0

    def clean_of_trained(self) -> "Clean":
        """Clean accuracy of the trained model."""
        return measure_clean_accuracy(
            replace(self.setup, model=self.after or self.setup.model),
            workers=self.given.workers,
            processes=self.processes,
        )


def audit(
    work: Work,
    *,
    begin: Callable[..., Container[int]],
    tell: Callable[[str], None],
    advance: Callable[[int, int], None],
) -> "Iterator[Batch]":
    """Train, write the model, and measure it beside the one of before.

    Args:
        work: what is to do.
        begin: called with a job; returns the indices of its batches that need no work.
        tell: called with lines the user should read.
        advance: not called: training and audit have a bar each.

    Yields:
        Batches of rows.

    Raises:
        InputError: something that cannot be trained.
        AuditError: the training failed; the last checkpoint is kept.
    """
    from saliency_audit.commands.finetune.audit import save_trained
    from saliency_audit.commands.finetune.before_and_after import before_and_after
    from saliency_audit.models import reload
    from saliency_audit.report.folder import TEACHER_MAPS

    del advance
    given, setup, processes = work.given, work.setup, work.processes
    begin()
    _train(work)
    with _after_training():
        if processes.main:
            save_trained(work.model, work.path, tell=tell)
            (work.path / TEACHER_MAPS).unlink(missing_ok=True)
        processes.wait()
        work.after = reload(work.path / "model.safetensors", work.model)
        if work.measure_clean is not None:
            work.measure_clean()
        with setup.screen.progress("finetune: audit", quiet=setup.quiet) as bar:
            yield from before_and_after(
                work.before,
                work.after,
                replace(setup.data, class_names=list(setup.class_names or ()) or None),
                swapped=work.swapped,
                checks=work.checks,
                saliency=given.saliency or ("gradient",),
                scalar=given.scalar,
                target=given.target,
                max_samples=given.max_samples,
                budgets=work.budgets,
                other=work.other,
                seed=given.seed,
                batch_size=setup.batch_size,
                workers=given.workers,
                shard=(processes.rank, processes.world),
                begin=begin,
                tell=tell,
                advance=bar,
            )


@contextmanager
def _after_training() -> Iterator[None]:
    """Inside, nothing is wrong input any more: what was trained stays."""
    try:
        yield
    except InputError as error:
        raise AuditError(f"{error} (the training is kept in checkpoint/last.pt)") from error


def _train(work: Work) -> None:
    """Train to the end, from the checkpoint on if there is one, a row of the log for each step."""
    from saliency_audit.commands.finetune.audit import finetune
    from saliency_audit.commands.finetune.training_log import TrainingLog
    from saliency_audit.training.loop import accelerator

    given, setup, plan, state = work.given, work.setup, work.plan, _checkpoint(work)
    log, main = TrainingLog(work.path / "training.csv", until=_step(state)), work.processes.main
    work.log = log
    if state is not None:
        setup.tell(f"resuming after step {state['step']:,}")
        work.terms, work.unreadable = tuple(state["terms"]), int(state["unreadable"])
    together = accelerator(work.model.mean.device, accumulate=plan.recipe.accumulate)
    targets = None
    if "targets" in plan.objective.needs and _step(state) < plan.recipe.steps(len(work.train)):
        targets = teacher_targets(
            work.teacher or setup.model,
            work.train,
            work.path,
            given,
            plan,
            setup,
            work.processes,
            made=work.begun,
        )
    with (
        setup.screen.progress("finetune: steps", quiet=setup.quiet) as advance,
        _interruptible(setup.screen, quiet=setup.quiet) as stopping,
    ):
        try:
            for trained in finetune(
                work.model,
                work.train,
                setup.data,
                objective=plan.name,
                folder=work.path,
                recipe=plan.recipe,
                options=plan.options,
                targets=targets,
                annotations=work.annotations,
                every=given.checkpoint_every,
                min_accuracy=given.min_accuracy,
                seed=given.seed,
                batch_size=setup.batch_size,
                workers=given.workers,
                state=state,
                together=together,
                stopping=stopping,
            ):
                work.terms = trained.terms
                if trained.unreadable and not work.unreadable:
                    setup.tell(
                        "WARNING: training images that cannot be read are left out of their step"
                    )
                work.unreadable = trained.unreadable
                log.add(trained.step, trained.epoch, trained.values)
                advance(trained.step, trained.steps)
                if trained.step == _step(state) + _TIMED < trained.steps and not setup.quiet:
                    audit = ", then the audit" if work.checks else ""
                    setup.screen.note(_expected(trained, plan.recipe.batch_size) + audit)
                if trained.keep and main:
                    log.write()
                if "val_accuracy" in trained.values and not setup.quiet:
                    setup.screen.note(
                        _line(trained.step, trained.steps, trained.values, work.terms)
                    )
        finally:
            # Also where it ends in an error: the way there is what one wants to see.
            if main and len(log.table):
                log.write()
    if work.unreadable:
        setup.tell(f"training images that could not be read, over all steps: {work.unreadable}")


def _checkpoint(work: Work) -> Mapping[str, Any] | None:
    """The state to go on from: only this run's own; one that lay there may be of any."""
    from saliency_audit.commands.finetune.audit import CHECKPOINT
    from saliency_audit.training.checkpoint import read_checkpoint

    file = work.path / CHECKPOINT
    own = wrote(work.path, CHECKPOINT.as_posix()) and file.is_file()
    return read_checkpoint(file) if work.processes.gathered(own)[0] else None


def _step(state: Mapping[str, Any] | None) -> int:
    return 0 if state is None else int(state["step"])


def _expected(trained: "Trained", images: int) -> str:
    """What the training takes, by the step that was just done."""
    from saliency_audit.report.wording import duration

    left = (trained.steps - trained.step) * trained.values["seconds"]
    return f"{trained.steps:,} steps of {images} images, about {duration(left)} here"


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


def answer(done: Done, *, work: Work) -> Answer:
    """What training changed, in words."""
    from saliency_audit.commands.finetune.terminal import shown
    from saliency_audit.commands.finetune.verdict import finetune_sentence, finetune_verdicts
    from saliency_audit.stats.paired import between_models

    summary, compared = _summary(done), between_models(done.rows)
    verdicts = finetune_verdicts(summary, compared, done.rows)
    against = work.before.name if work.before and work.given.against is not None else None
    return Answer(
        finetune_sentence(
            verdicts,
            objective=work.plan.name,
            images=min(len(done.setup.data), work.given.max_samples),
            against=against,
        ),
        {"verdicts": verdicts},
        shown(verdicts, width=done.width),
        facts={"training_images": len(work.train), "training_unreadable": work.unreadable},
        beside={"summary": summary, "compared": compared},
    )


def report(done: Done, answer: Answer, about: Mapping[str, Any], *, work: Work) -> None:
    """Write tables, pictures and page."""
    from saliency_audit.commands.finetune.report import write_finetune_report
    from saliency_audit.commands.finetune.verdict import FINETUNE_WORDS
    from saliency_audit.metrics import CHECKS

    assert work.log is not None
    summary = answer.beside["summary"]
    write_finetune_report(
        work.path,
        training=work.log.table,
        terms=work.terms,
        summary=summary,
        verdicts=answer.tables["verdicts"],
        curves=done.folder.curves(),
        examples=done.folder.examples(),
        sentence=answer.sentence,
        run=about,
        words=FINETUNE_WORDS,
        checks=CHECKS,
        compared=answer.beside["compared"] if summary["model"].nunique() > 1 else None,
    )
    work.log.write()


def _summary(done: Done) -> "pd.DataFrame":
    """Means over images: an attack stands beside noise of its size, all else beside random."""
    import pandas as pd

    from saliency_audit.commands.attack.verdict import attack_controls
    from saliency_audit.commands.finetune.verdict import finetune_chances
    from saliency_audit.metrics import CHECKS
    from saliency_audit.stats.summary import summarise

    rows, setup = done.rows, done.setup
    better = {name: check.higher_is_better for name, check in CHECKS.items()}
    chance = finetune_chances(rows, setup.classes, list(setup.model.input_shape))
    attacked = rows["setting"].str.startswith("attack=")
    controls = attack_controls(rows[attacked])
    return pd.concat(
        [
            summarise(rows[~attacked], higher_is_better=better, chance=chance),
            summarise(rows[attacked], higher_is_better=better, chance=chance, controls=controls),
        ],
        ignore_index=True,
    )
