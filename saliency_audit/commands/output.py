"""The output folder of a run: held alone, apart from what is read, undone on bad input."""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from tempfile import NamedTemporaryFile, TemporaryFile
from typing import TYPE_CHECKING

from saliency_audit.catalogue.formats import FORMATS
from saliency_audit.commands.setup import Setup
from saliency_audit.errors import InputError
from saliency_audit.processes import ALONE, Processes

if TYPE_CHECKING:
    from saliency_audit.data import ImageData
    from saliency_audit.report.ledger import Ledger
    from saliency_audit.report.lock import FolderLock


TABLES = ("summary", "verdicts", "curves", "compare", "relative-drop")
"""Tables that runs write, beside that of all rows."""


_HELD: list[tuple["FolderLock | None", "Ledger"]] = []
"""Output folders that the present command holds; the lock is that of its first process."""


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
    from saliency_audit.report.ledger import Ledger

    ledger, problem = None, ""
    if processes.main:
        try:
            ledger = _held(folder, setup)
            _refuse_reading(ledger, setup, files, pictures, data, others)
        except InputError as error:
            problem = str(error)
    # All end alike: the others would wait for the first one for ever.
    problem, protected = processes.gathered((problem, ledger and ledger.protected))[0]
    if problem:
        raise InputError(problem)
    check_writable(folder)
    refuse_folders_apart(folder, processes)
    if ledger is None:
        beside = Ledger(folder, rank=processes.rank, protected=protected)
        beside.open()
        _HELD.append((None, beside))
    return ledger


def refuse_folders_apart(folder: Path, processes: Processes) -> None:
    """Refuse several machines whose folders of this name are not one folder, before any work.

    Args:
        folder: the output folder; exists.
        processes: of this run; each calls it.

    Raises:
        InputError: a process does not see what the first one has put there.
    """
    if processes.world == 1:
        return
    with ExitStack() as stack:
        # A name that no other run has, so that what one left behind is not taken for this one's.
        file = processes.main and stack.enter_context(NamedTemporaryFile(dir=folder))
        name = processes.gathered(Path(file.name).name if file else None)[0]
        seen = processes.gathered((folder / name).is_file())
    apart = [str(rank) for rank, there in enumerate(seen) if not there]
    if apart:
        raise InputError(
            f"process {', '.join(apart)} of {processes.world} does not see the files that process "
            f"0 writes into '{folder}'; name a folder on a disk that all machines share with "
            "--output-dir"
        )


def wrote(folder: Path, name: str) -> bool:
    """Whether the run that holds the folder wrote a file of this name, also before a kill.

    Args:
        folder: as it was given to `hold`.
        name: of a file in it.

    Returns:
        That; False in processes beside the first, which do not know.
    """
    return any(
        ledger.folder == folder and ledger.wrote(name) for lock, ledger in _HELD if lock is not None
    )


def let_go() -> None:
    """Let other runs into the output folders of the command that has ended."""
    while _HELD:
        lock, ledger = _HELD.pop()
        ledger.close()
        if lock is not None:
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
    _HELD.append((lock, ledger))
    try:
        ledger.open()
    except OSError as error:
        raise _unwritable(folder, error) from error
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
    tables = {f"{name}.csv" for name in TABLES} | {f"results.{name}" for name in FORMATS}
    written = {*files, *tables, "report.html", "run.json"}
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
