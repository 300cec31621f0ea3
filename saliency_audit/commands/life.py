"""The one life of a run: prepare, measure, answer, write, show, exit."""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rich.markup import escape

from saliency_audit.commands.output import check_apart, hold, nothing_written_on_bad_input
from saliency_audit.commands.setup import (
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
    from collections.abc import Container

    import pandas as pd

    from saliency_audit.commands.clean import Clean
    from saliency_audit.models import Classifier
    from saliency_audit.report.folder import RunFolder
    from saliency_audit.types import Batch


@dataclass(frozen=True)
class Answer:
    """What a run found.

    Attributes:
        sentence: in words.
        tables: frames, by the name that they have in ``run.json``.
        shown: tables and lines for the terminal, above the sentence.
        refused: why the run ends with exit code 1; None where it does not.
    """

    sentence: str
    tables: "Mapping[str, pd.DataFrame]"
    shown: Sequence[Any]
    refused: str | None = None


@dataclass(frozen=True)
class Done:
    """What was measured, for the answer and the report.

    Attributes:
        rows: of ``results.csv``.
        clean: accuracy on the images as they are.
        folder: the output folder with its batches.
        setup: model and images.
        width: of the screen, characters.
    """

    rows: "pd.DataFrame"
    clean: "Clean"
    folder: "RunFolder"
    setup: Setup
    width: int


@dataclass(frozen=True)
class Job:
    """What one run of a command does, once its model and images are there.

    Attributes:
        settings: what determines its numbers, beside what determines those of any command.
        audit: yields batches of rows; takes ``begin``, ``tell`` and ``advance``.
        answer: from what was measured.
        report: writes tables, pictures and page; is handed the answer and the facts of the run.
        files: that it writes beside the tables and the page.
        pictures: how the names of its pictures begin.
        reads: files and folders that it reads beside the images, by option.
        models: further models whose passes count.
        clear: what a run that does not go on from an earlier one removes first.
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


def live(
    given: Given,
    screen: Screen,
    *,
    command: str,
    doing: str,
    check: Callable[[Given], None],
    plan: Callable[[Given, Setup, Processes], Job],
    parallel: bool = False,
) -> int:
    """Run a command from its options to its exit code.

    Args:
        given: its options.
        screen: what the user sees.
        command: its name.
        doing: what its progress bar calls the work.
        check: refuses what is wrong before anything is loaded.
        plan: what is to be done with a model and its images.
        parallel: whether it shares its batches out over processes.

    Returns:
        The exit code.

    Raises:
        InputError: the user must change something first; nothing is left behind.
        AuditError: it failed while running; what was finished is kept.
    """
    from saliency_audit.report.folder import RunFolder
    from saliency_audit.report.tables import read_results

    check(given)
    path = place_of_report(given, command)
    check_apart(
        path,
        **{name: getattr(given, name, None) for name in ("data", "maps", "annotations")},
    )
    together = processes(given.device) if parallel else ALONE
    setup = prepare(given, screen, processes=together)
    job = plan(given, setup, together)
    settings = {**common_settings(setup, given), **job.settings}
    ledger = hold(
        path,
        setup,
        files=job.files,
        pictures=job.pictures,
        data=given.data,
        others={"MODEL": given.model, "--classes": given.classes, **job.reads},
        processes=together,
    )
    with nothing_written_on_bad_input(ledger):
        folder = RunFolder(path, settings, resume=True, ledger=ledger) if given.resume else None
        clean = measure_clean_accuracy(setup, workers=given.workers, processes=together)
        if folder is None or not folder.finished:

            def begin() -> "Container[int]":
                nonlocal folder
                if folder is None and together.main:
                    folder = RunFolder(path, settings, resume=False, ledger=ledger)
                    if ledger is not None and job.clear:
                        ledger.remove_earlier(job.clear)
                together.wait()
                # The others join the folder that the first one has made.
                folder = folder or RunFolder(path, settings, resume=True)
                if folder.done:
                    setup.tell(f"resuming: {len(folder.done)} batches are done")
                return folder.done

            with screen.progress(f"{command}: {doing}", quiet=setup.quiet) as advance:
                for batch in job.audit(begin=begin, tell=setup.tell, advance=advance):
                    assert folder is not None
                    folder.write(batch)
            assert folder is not None
            together.wait()
            if together.main:
                folder.write_results()
    everyone = [setup.model, *job.models]
    passes = sum(together.gathered(sum(model.passes for model in everyone)))
    together.close()
    if not together.main:
        return 0
    done = Done(read_results(folder.results), clean, folder, setup, screen.width())
    answer = job.answer(done)
    if not folder.finished:
        about = facts(setup, clean, sys.argv[1:], settings)
        about |= {"answer": answer.sentence, "model_passes": passes}
        if parallel:
            about["processes"] = together.world
        job.report(done, answer, about)
        tables = {name: table.to_dict("records") for name, table in answer.tables.items()}
        folder.close(about | tables)
    screen.show(*answer.shown, escape(flat(answer.sentence)))
    if not given.quiet:
        screen.show(escape(flat(f"report: {path / 'report.html'}")))
    if answer.refused is None:
        return 0
    if answer.refused:
        screen.note(answer.refused)
    return 1
