"""The one life of a run: prepare, measure, answer, write, show, exit."""

import os
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Any, Protocol

from rich.markup import escape

from saliency_audit.errors import InputError
from saliency_audit.options import Given, Option, place_of_report
from saliency_audit.processes import ALONE, Processes, processes
from saliency_audit.visible import flat

if TYPE_CHECKING:
    from collections.abc import Container

    import pandas as pd

    from saliency_audit.commands.clean import Clean
    from saliency_audit.data import ImageData
    from saliency_audit.models import Classifier
    from saliency_audit.report.folder import RunFolder
    from saliency_audit.report.ledger import Ledger
    from saliency_audit.report.lock import FolderLock
    from saliency_audit.types import Batch


Advance = Callable[[int, int], None]


class Screen(Protocol):
    """What the user sees while a command runs; the command line has one."""

    def tell(self, head: str, line: str) -> None:
        """Print a line on stderr, after a word of what kind it is."""

    def progress(self, what: str, *, quiet: bool) -> AbstractContextManager[Advance]:
        """Show how far something is; yields ``advance(done, total)``."""

    def note(self, line: str) -> None:
        """Print a line on stderr."""

    def write(self, text: str) -> None:
        """Print a file's text on stdout as it is."""

    def show(self, *things: Any) -> None:
        """Print lines and tables of the answer on stdout."""

    def width(self) -> int:
        """Characters of a line of it."""


@dataclass
class Setup:
    """A loaded model with its images.

    Attributes:
        model: on its device.
        data: what will be audited.
        classes: outputs of the model.
        batch_size: most images the model sees at once.
        quiet: whether to print the answer only.
        screen: what the user sees.
        notes: lines the user was told.
        load: loads a further model for the same images.
    """

    model: "Classifier"
    data: "ImageData"
    classes: int
    batch_size: int
    quiet: bool
    screen: "Screen"
    load: "Callable[[str], Classifier]"
    started: float = field(default_factory=time.time)
    notes: list[str] = field(default_factory=list)

    def tell(self, line: str) -> None:
        """Print a line on stderr and keep it for the report."""
        self.notes.append(line)
        if not self.quiet:
            self.screen.tell("[dim]note[/dim]", line)


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


TABLES = ("results", "summary", "verdicts", "curves", "compare", "relative-drop")
"""Tables that runs write."""

_HELD: list[tuple["FolderLock", "Ledger"]] = []
"""Output folders that the present command holds."""


def prepare(
    given: Given, screen: Screen, *, processes: Processes = ALONE, untrained: bool = False
) -> Setup:
    """Load model and images and try the one on the shape of the other; writes nothing.

    Args:
        given: the options of the command.
        screen: what the user sees.
        processes: of this run; only the first one tells the user anything.
        untrained: take the architecture alone, its weights drawn with the seed.

    Raises:
        InputError: anything that the user must change first.
    """
    import torch

    from saliency_audit.data import open_data
    from saliency_audit.models import auto_batch_size, fresh, kind_of, load, resolve_device

    place = resolve_device(processes.device(given.device))
    arch = given.arch
    how: dict[str, Any] = {
        "size": given.size,
        "mean": given.mean,
        "std": given.std,
        "channels": given.channels,
        "precision": "bf16" if given.precision == "bf16" else "fp32",
        "layer": given.layer,
        "device": place,
    }

    def loaded(spec: str | None, arch: str | None) -> "Classifier":
        return load(spec, arch=arch, trust_pickle=given.trust_pickle, **how)

    classifier = (
        fresh(arch, seed=given.seed, **how)
        if untrained and arch is not None
        else loaded(given.model, arch)
    )
    with classifier.audited():
        outputs = classifier.check(torch.full((2, *classifier.input_shape), 0.5, device=place))
    images = open_data(
        given.data,
        input_shape=classifier.input_shape,
        resize=classifier.resize if given.resize is None else given.resize,
        classes_file=given.classes,
        outputs=outputs,
        max_samples=given.max_samples,
        seed=given.seed,
    )
    at_once = (
        auto_batch_size(classifier.input_shape, place)
        if given.batch_size == "auto"
        else int(given.batch_size)
    )

    def further(spec: str) -> "Classifier":
        kind = kind_of(Path(spec)) if Path(spec).is_file() else ""
        other = loaded(spec, arch if kind in ("checkpoint", "safetensors") else None)
        if other.input_shape != classifier.input_shape:
            raise InputError(
                f"{other.name} takes images of {'x'.join(map(str, other.input_shape))} and "
                f"{classifier.name} of {'x'.join(map(str, classifier.input_shape))}; models in one "
                "run must take the same images"
            )
        return other

    setup = Setup(
        classifier, images, outputs, at_once, given.quiet or not processes.main, screen, further
    )
    for line in (*classifier.notes, *images.notes):
        setup.tell(line)
    return setup


def measure_clean_accuracy(setup: Setup, *, workers: int, processes: Processes = ALONE) -> "Clean":
    """Clean accuracy first: told, with a warning when the model seems to guess."""
    from saliency_audit.commands.clean import clean_accuracy, merged
    from saliency_audit.stats.summary import wilson_interval

    with setup.screen.progress("clean accuracy", quiet=setup.quiet) as advance:
        clean = clean_accuracy(
            setup.model,
            setup.data,
            batch_size=setup.batch_size,
            workers=workers,
            shard=(processes.rank, processes.world),
            advance=advance,
        )
    clean = merged(processes.gathered(clean))
    images = f"{len(setup.data)} images of {setup.data.name}"
    if clean.unreadable:
        setup.tell(
            f"WARNING: {clean.unreadable} of {images} cannot be read (rows with status=error); "
            f"the first is {clean.first_failure}"
        )
    if clean.accuracy is None:
        setup.tell(f"clean accuracy: undefined, the {images} have no labels")
    else:
        low, high = wilson_interval(clean.right, clean.n)
        setup.tell(
            f"clean accuracy: {clean.accuracy:.1%} of {images} [95 % {low:.1%} to {high:.1%}]"
        )
    if clean.at_chance:
        setup.tell(
            f"WARNING: clean accuracy {clean.accuracy:.1%} is that of guessing among "
            f"{setup.classes} classes: check --mean, --std and --classes before believing any map"
        )
    return clean


def check_writable(folder: Path) -> None:
    """Try the output folder before anything is computed.

    Raises:
        InputError: it cannot be made or written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise _unwritable(folder, error) from error


def _unwritable(folder: Path, error: OSError) -> InputError:
    return InputError(
        f"cannot write to output folder '{folder}' ({error.strerror or error}); "
        "name another with --output-dir"
    )


def fingerprint(place: Path) -> str:
    """sha256 over the names, sizes and times of the files in a folder, or of one file.

    Raises:
        InputError: there is no such place, or it cannot be looked at.
    """
    if not place.exists():
        raise InputError(f"'{place}' does not exist; check the path")
    digest = sha256()
    try:
        for path in sorted(place.rglob("*")) if place.is_dir() else [place]:
            # A link that leads nowhere, or to itself, counts as itself.
            about = path.stat() if path.exists() else path.lstat()
            digest.update(f"{path.name}\0{about.st_size}\0{about.st_mtime_ns}\n".encode())
    except (OSError, RuntimeError, UnicodeEncodeError) as error:  # RuntimeError: far too deep
        raise InputError(f"'{place}' cannot be looked through: {error}") from error
    return digest.hexdigest()


def hold(
    folder: Path,
    setup: Setup,
    *,
    files: Sequence[str],
    pictures: Sequence[str] = (),
    data: str | None,
    others: Mapping[str, object],
    processes: Processes = ALONE,
) -> "Ledger | None":
    """Make the output folder this run's alone until `let_go`; several processes hold it as one.

    Args:
        folder: made if missing.
        setup: told where the file system cannot keep other runs out.
        files: names of what this run writes there beside the tables and the page.
        pictures: how the names of its pictures begin.
        data: of the command line.
        others: what else this run reads, by option: a path, several, or a name that is none.
        processes: of this run.

    Returns:
        What is known of the files in the folder; None for processes beside the first.

    Raises:
        InputError: it cannot be written, another run holds it, or this run would write over or
            remove what it reads.
    """
    ledger, problem = None, ""
    if processes.main:
        try:
            ledger = _held(folder, setup)
            _refuse_reading(ledger, setup, files, pictures, data, others)
        except InputError as error:
            problem = str(error)
    # All end alike: the others would wait for the first one for ever.
    if problem := processes.gathered(problem)[0]:
        raise InputError(problem)
    check_writable(folder)
    return ledger


def let_go() -> None:
    """Let other runs into the output folders of the command that has ended."""
    while _HELD:
        lock, ledger = _HELD.pop()
        ledger.close()
        lock.release()
        # What failed on wrong input made it and left nothing there.
        ledger.remove_made()


def _held(folder: Path, setup: Setup) -> "Ledger":
    """Make the folder, lock it, and read whose files are in it."""
    from saliency_audit.report.ledger import Ledger
    from saliency_audit.report.lock import FolderLock

    made = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FolderLock(folder)
    except OSError as error:
        for path in made:
            with suppress(OSError):
                path.rmdir()
        raise _unwritable(folder, error) from error
    try:
        ledger = Ledger(folder, made)
    except BaseException:
        lock.release()
        raise
    ledger.open()
    _HELD.append((lock, ledger))
    if not lock.held:
        setup.tell(
            f"the file system of output folder '{folder}' has no locks; start no second run in it"
        )
    return ledger


def _refuse_reading(
    ledger: "Ledger",
    setup: Setup,
    files: Sequence[str],
    pictures: Sequence[str],
    data: str | None,
    others: Mapping[str, object],
) -> None:
    """Refuse to write over, or to remove, what this run reads; whatever it reads is protected."""
    folder = ledger.folder.resolve()
    written = {*files, *(f"{name}.csv" for name in TABLES), "report.html", "run.json"}
    drawn = re.compile(rf"({'|'.join(map(re.escape, pictures))})(-\d+)?\.png")
    ours: set[str] | None = None
    for option, place in (*_places(others), *_images(setup, data)):
        if not place.is_relative_to(folder):
            continue
        ours = set(ledger.names()) if ours is None else ours
        name = place.relative_to(folder).as_posix()
        inside = f"{name}/" if place.is_dir() else name
        if (
            name in written | ours
            or drawn.fullmatch(name)
            or (name != "." and any(one.startswith(inside) for one in ours))
        ):
            raise InputError(
                f"{option} {place} lies in output folder '{ledger.folder}', where this run would "
                "write over it or remove it; name another folder with --output-dir"
            )
        ledger.protect(place, option)


def _places(others: Mapping[str, object]) -> Iterator[tuple[str, Path]]:
    """The files and folders that options name."""
    for option, given in others.items():
        for one in given if isinstance(given, list | tuple) else (given,):
            # FILE, FILE.py:FUNCTION or KIND:PLACE@train; what is no path is nowhere.
            text = "" if one is None else str(one)
            for part in (text, text.rpartition(":")[0], text.partition(":")[2].partition("@")[0]):
                with suppress(OSError, ValueError, RuntimeError):
                    place = Path(part).expanduser()
                    if part and place.exists():
                        # What a link leads to, and the link itself.
                        yield option, place.resolve()
                        yield option, place.parent.resolve() / place.name


def _images(setup: Setup, data: str | None) -> Iterator[tuple[str, Path]]:
    """What ``--data`` names: a file, and the images wherever they lie."""
    yield from ((option, place) for option, place in _places({"--data": data}) if place.is_file())
    for _, place in _places({"--data": data}):
        root = place if place.is_dir() else place.parent
        for name in setup.data.names:
            yield "--data", Path(os.path.normpath(root / name))


def check_apart(output: Path, **given: str | Path | None) -> None:
    """Refuse folders that the report would lie in, and data that lies in the output folder.

    A folder of images or maps is taken with all that is in it, so the pictures of a report would
    be taken for them. A file that names images may lie anywhere, and maps in the output folder
    are read and left alone.

    Args:
        output: the output folder, which need not be there.
        given: what was given for options, by their names: specs of data, and folders or files.

    Raises:
        InputError: one holds the other, or is the same.
    """
    from saliency_audit.data import place_of

    real = Path(os.path.realpath(output.expanduser()))
    for name, value in given.items():
        spec = None if value is None else str(value)
        place = place_of(spec)
        if place is None or not place.is_dir():
            continue
        folder = Path(os.path.realpath(place))
        if real.is_relative_to(folder):
            how = "is" if real == folder else "holds"
            raise InputError(
                f"--{name} {spec} {how} the output folder {output}, so the report would be taken "
                "for what is read there; name another with --output-dir"
            )
        if folder.is_relative_to(real) and name in ("data", "val"):
            raise InputError(
                f"--{name} {spec} lies in the output folder {output}; name another with "
                "--output-dir"
            )


def check_not_in(data: str | None, folder: Path) -> None:
    """Refuse images that are named in a folder which this run will empty.

    Raises:
        InputError: the data lies in it.
    """
    from saliency_audit.data import place_of

    place = place_of(data)
    if place and Path(os.path.realpath(place)).is_relative_to(os.path.realpath(folder)):
        raise InputError(
            f"--data {data} lies in {folder}, where this run puts its own images; name another "
            "folder with --output-dir"
        )


def check_kept(data: "ImageData", folder: Path) -> None:
    """Refuse images that lie in a folder which this run will empty, wherever they are named.

    Raises:
        InputError: one does.
    """
    root = getattr(data.read, "root", None)
    if root is None or not folder.is_dir():
        return
    real = os.path.realpath(folder)
    inside = (
        name for name in data.names if Path(os.path.realpath(root / name)).is_relative_to(real)
    )
    if (name := next(inside, None)) is not None:
        raise InputError(
            f"--data {data.name} names {name}, which lies in {folder}, where this run puts its "
            "own images; name another folder with --output-dir"
        )


@contextmanager
def nothing_written_on_bad_input(ledger: "Ledger | None") -> Iterator[None]:
    """Take away what a run made before its input turned out to be impossible.

    Args:
        ledger: of `hold`. A run that goes on in what an earlier one began takes nothing away.
    """
    from saliency_audit.report.folder import remove_partial

    try:
        yield
    except InputError:
        if ledger is not None and not ledger.began:
            with suppress(OSError):
                remove_partial(ledger.folder)
            ledger.undo()
        raise


def common_settings(setup: Setup, given: Given) -> dict[str, Any]:
    """What of any command's options determines its numbers; a run with others cannot resume it."""
    model, data = setup.model, setup.data
    return {
        "model": model.name,
        "model sha256": model.sha256,
        "arch": given.arch,
        "input shape": list(model.input_shape),
        "mean": model.mean.flatten().tolist(),
        "std": model.std.flatten().tolist(),
        "layer": given.layer,
        "precision": given.precision,
        "data": data.name,
        "max samples": given.max_samples,
        "resize": given.resize,
        "data fingerprint": data.fingerprint,
        "batch size": setup.batch_size,
        "seed": given.seed,
        "device": model.mean.device.type,
        "torch": version("torch"),
    }


def facts(
    setup: Setup, clean: "Clean", command: list[str], options: Mapping[str, Any]
) -> dict[str, Any]:
    """What ``run.json`` says about any run."""
    from saliency_audit.report.facts import environment

    model, data = setup.model, setup.data
    return {
        "command": " ".join(["saliency-audit", *command]),
        "options": dict(options),
        "model": model.source,
        "model_sha256": model.sha256,
        "model_format": model.format,
        "input_shape": list(model.input_shape),
        "mean": [round(value, 6) for value in model.mean.flatten().tolist()],
        "std": [round(value, 6) for value in model.std.flatten().tolist()],
        "data": data.name,
        "data_fingerprint": data.fingerprint,
        "images": len(data),
        "unreadable": clean.unreadable,
        "classes": setup.classes,
        "clean_accuracy": clean.accuracy,
        "clean_accuracy_n": clean.n,
        "device": str(model.mean.device),
        "seconds": round(time.time() - setup.started, 1),
        "model_passes": model.passes,
        "notes": setup.notes,
        "versions": environment(),
    }
