"""The one life of a run: prepare, measure, answer, write, show, exit."""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import cache, cached_property, partial
from typing import TYPE_CHECKING, Any

from rich.markup import escape

from saliency_audit.catalogue.formats import refuse_absent
from saliency_audit.commands.output import check_apart, hold, nothing_written_on_bad_input
from saliency_audit.commands.quick import FirstLook, quickened
from saliency_audit.commands.setup import (
    Advance,
    Screen,
    Setup,
    common_settings,
    facts,
    measure_clean_accuracy,
    prepare,
)
from saliency_audit.options import Given, Option, place_of_report
from saliency_audit.processes import ALONE, Processes, processes
from saliency_audit.visible import flat

if TYPE_CHECKING:
    import pandas as pd

    from saliency_audit.commands.clean import Clean
    from saliency_audit.models import Classifier
    from saliency_audit.report.folder import RunFolder
    from saliency_audit.report.ledger import Ledger
    from saliency_audit.types import Batch


@dataclass(frozen=True)
class Answer:
    """What a run found.

    Attributes:
        sentence: in words.
        tables: frames, by the name that they have in ``run.json``.
        shown: tables and lines for the terminal, above the sentence.
        refused: why the run ends with exit code 1; None where it does not.
        spoken: the sentence as the terminal shows it; as it is where there is none.
        facts: what else ``run.json`` says.
        beside: frames that the report needs and ``run.json`` does not have.
    """

    sentence: str
    tables: "Mapping[str, pd.DataFrame]"
    shown: Sequence[Any]
    refused: str | None = None
    spoken: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)
    beside: "Mapping[str, pd.DataFrame]" = field(default_factory=dict)


@dataclass(frozen=True)
class Done:
    """What was measured, for the answer and the report.

    Attributes:
        folder: the output folder with its batches.
        measure_clean: measures the accuracy on the images as they are, unless that is done.
        setup: model and images.
        width: of the screen, characters.
    """

    folder: "RunFolder"
    measure_clean: "Callable[[], Clean]"
    setup: Setup
    width: int

    @cached_property
    def rows(self) -> "pd.DataFrame":
        """All rows, as they were written."""
        from saliency_audit.report.results import read_results

        return read_results(self.folder.results)

    @cached_property
    def explained(self) -> Mapping[str, str]:
        """What stands below each image: the class that its maps explain."""
        from saliency_audit.commands.class_names import explained

        return explained(self.rows, self.setup.class_names)

    @property
    def clean(self) -> "Clean":
        """Accuracy on the images as they are."""
        return self.measure_clean()


@dataclass(frozen=True)
class Job:
    """What one run of a command does, once its model and images are there.

    Attributes:
        settings: what determines its numbers, beside what determines those of any command.
        audit: yields batches of rows; takes ``begin``, ``tell`` and ``advance``. ``begin`` is
            called with the name of each of ``parts``, and gives the indices that need no work.
        answer: from what was measured.
        report: writes tables, pictures and page; is handed the answer and the facts of the run.
        files: that it writes beside the tables and the page.
        pictures: how the names of its pictures begin.
        reads: files and folders that it reads beside the images, by option.
        models: further models whose passes count.
        clear: files of earlier runs that this one must not be mixed with, removed first.
        parts: jobs that its batches belong to, in the order in which they are joined.
        measure_clean: clean accuracy, where the model gets its weights in the audit only.
        ready: makes what the audit needs and has its own bar for, before the audit's begins; every
            process calls it.
    """

    settings: Mapping[str, Any]
    audit: "Callable[..., Iterator[Batch]]"
    answer: Callable[[Done], Answer]
    report: Callable[[Done, Answer, dict[str, Any]], None]
    files: Sequence[str] = ()
    pictures: Sequence[str] = ()
    reads: Mapping[str, object] = field(default_factory=dict)
    models: "Sequence[Classifier]" = ()
    clear: Sequence[str] = ()
    parts: Sequence[str] = ("",)
    measure_clean: "Callable[[], Clean] | None" = None
    ready: Callable[[], None] = lambda: None


@dataclass(frozen=True)
class Entry:
    """What the command line knows of a command.

    Attributes:
        name: on the command line.
        options: in the order of the help.
        help: what it does, and an example that works.
        run: from options to exit code.
    """

    name: str
    options: Sequence[Option]
    help: str
    run: Callable[[Given, Screen], int]


@contextmanager
def _text_of_any_kind() -> Iterator[None]:
    """Inside, pandas keeps text as Python does.

    Where pyarrow is installed it is UTF-8, which names of files need not be.
    """
    import pandas as pd

    with pd.option_context("mode.string_storage", "python"):
        yield


@_text_of_any_kind()
def live(
    given: Given,
    screen: Screen,
    *,
    command: str,
    plan: Callable[[Given, Setup, Processes], Job],
    check: Callable[[Given], None] = lambda given: None,
    prepare: Callable[..., Setup] = prepare,
    doing: str = "",
    first_look: FirstLook | None = None,
) -> int:
    """Run a command from its options to its exit code.

    Args:
        given: its options.
        screen: what the user sees.
        command: its name.
        plan: what is to be done with a model and its images.
        check: refuses what is wrong before anything is loaded.
        prepare: loads both; takes options, screen and ``processes``.
        doing: what its progress bar calls the work; nothing where the audit has bars of its own.
        first_look: what ``--quick`` means; None for a command without.

    Returns:
        The exit code.

    Raises:
        InputError: the user must change something first; nothing is left behind.
        AuditError: it failed while running; what was finished is kept.
    """
    from saliency_audit.report.folder import RunFolder
    from saliency_audit.report.wording import told_assumed

    given, line = quickened(given, first_look)
    check(given)
    refuse_absent(given.format)
    path = place_of_report(given, command)
    read = {name: getattr(given, name, None) for name in ("data", "val", "annotations")}
    check_apart(path, **read)
    together = processes(given.device)
    setup = prepare(given, screen, processes=together)
    if line:
        setup.tell(line)
    job = plan(given, setup, together)
    settings = {**common_settings(setup, given), **job.settings}
    ledger = hold(
        path,
        setup,
        files=job.files,
        pictures=job.pictures,
        data=read["val"] or given.data,
        others={
            "MODEL": given.model,
            "--classes": given.classes,
            "--class-names": getattr(given, "class_names", None),
            **job.reads,
        },
        processes=together,
    )
    with nothing_written_on_bad_input(ledger):
        place = partial(RunFolder, path, settings, jobs=job.parts, format=given.format)
        folder = place(resume=True, ledger=ledger) if given.resume else None
        finished = folder is not None and folder.finished
        clean = job.measure_clean or partial(
            measure_clean_accuracy,
            setup,
            workers=given.workers,
            processes=ALONE if finished else together,
        )
        measure_clean = cache(clean)
        if not finished:
            if job.measure_clean is None:
                measure_clean()
            job.ready()
            enter = cache(partial(_enter, folder, place, job.clear, ledger, together, setup.tell))
            with _bar(setup, command, doing) as advance:
                for batch in job.audit(
                    begin=lambda part="": enter().done(part), tell=setup.tell, advance=advance
                ):
                    enter().write(batch)
            folder = enter()
            together.wait()
            if together.main:
                folder.write_results()
    everyone = [setup.model, *job.models]
    passes = sum(together.gathered(sum(model.passes for model in everyone)))
    together.close()
    if not together.main:
        return 0
    assert folder is not None
    done = Done(folder, measure_clean, setup, screen.width())
    answer = job.answer(done)
    if not finished:
        about = facts(setup, done.clean, sys.argv[1:], settings)
        about |= {"answer": answer.sentence, "model_passes": passes, "processes": together.world}
        about |= answer.facts
        job.report(done, answer, about)
        tables = {name: table.to_dict("records") for name, table in answer.tables.items()}
        folder.close(about | tables)
    screen.show(*answer.shown, answer.spoken or escape(flat(answer.sentence)))
    if setup.assumed:
        screen.show(f"[yellow]{escape(flat(told_assumed(setup.assumed)))}[/]")
    if not given.quiet:
        screen.show(escape(flat(f"report: {path / 'report.html'}")))
    if answer.refused is None:
        return 0
    if answer.refused:
        screen.note(answer.refused)
    return 1


def _enter(
    folder: "RunFolder | None",
    place: "Callable[..., RunFolder]",
    clear: Sequence[str],
    ledger: "Ledger | None",
    together: Processes,
    tell: Callable[[str], None],
) -> "RunFolder":
    """The folder that this run goes on in, or that its first process makes and the others join."""
    if folder is None and together.main:
        folder = place(resume=False, ledger=ledger)
    if ledger is not None:
        ledger.remove_earlier(clear)
    together.wait()
    folder = folder or place(resume=True)
    if folder.batches:
        tell(f"resuming: {folder.batches} batches are done")
    return folder


def _bar(setup: Setup, command: str, doing: str) -> AbstractContextManager[Advance]:
    """How far the run is; nothing where its audit shows that itself."""
    if doing:
        return setup.screen.progress(f"{command}: {doing}", quiet=setup.quiet)
    return nullcontext(lambda done, total: None)
