"""Which files in an output folder are a run's own: those it wrote and nobody changed since."""

import json
import os
import re
import stat
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from hashlib import file_digest, sha256
from pathlib import Path, PurePosixPath
from typing import Any

from saliency_audit.errors import AuditError, InputError
from saliency_audit.report.facts import RUN
from saliency_audit.writing import remove_leftovers, replace_file, unwatch, watch

PARTIAL = "partial"
"""The folder of what a run needs while it goes, and of nothing else."""
SUBFOLDERS = (PARTIAL, "images", "samples", "checkpoint")
"""Folders that runs make in theirs."""

_JOURNAL = re.compile(rf"{PARTIAL}/files(\.\d+)?\.jsonl")


class Ledger:
    """What this run writes into its folder, and what runs before it wrote there.

    ``run.json`` lists the files of a finished run with their sha256, ``partial/files.jsonl``
    those of a run that goes on or was killed. A file is a run's own if it is listed and its
    content still is what was written; nothing else is ever removed. Both lists may come from
    anybody: a name that leads out of the folder names nothing.

    Of several processes of a run, the first one knows and removes; each of the others only writes
    down its own files, in a list of its own that the first one takes in.

    Args:
        folder: the output folder; exists.
        made: the folders that were missing and were made for this run, innermost first.
        rank: of this process.
        protected: as the first process has them.

    Attributes:
        protected: files that are neither written nor removed, and the option that named each.

    Raises:
        InputError: a folder that runs write into is a link to elsewhere.
    """

    def __init__(
        self,
        folder: Path,
        made: Iterable[Path] = (),
        *,
        rank: int = 0,
        protected: Mapping[str, str] | None = None,
    ) -> None:
        self.folder = folder
        self._root = os.path.abspath(folder)
        self._rank = rank
        self._journal = folder / PARTIAL / (f"files.{rank}.jsonl" if rank else "files.jsonl")
        self._made = list(made)
        for name in SUBFOLDERS:
            if (folder / name).is_symlink():
                raise InputError(
                    f"'{folder / name}' is a link, and a run writes into its own folder only; "
                    "remove it, or name another folder with --output-dir"
                )
        self._there = {name for name in SUBFOLDERS if (folder / name).exists()}
        self._earlier: dict[str, set[str]] = {}
        self._own: dict[str, str] = {}
        self._now: dict[str, str] = {}
        self.protected = dict(protected or {})
        if not rank:
            self._read_run()
            self._read_journal(self._journal)

    @property
    def began(self) -> bool:
        """Whether ``partial/`` was there when this run came."""
        return PARTIAL in self._there

    def open(self) -> None:
        """Write down all files from now on.

        Raises:
            OSError: the journal of a run that was killed cannot be written.
        """
        if not self._rank:
            self.take_in()
        watch(self._wrote)

    def close(self) -> None:
        """Write down nothing more."""
        unwatch(self._wrote)

    def wrote(self, name: str) -> bool:
        """Whether this run, also before a kill, wrote a file of this name."""
        return name in self._own

    def names(self) -> list[str]:
        """All files that runs wrote here and nobody changed since."""
        known = {*self._earlier, *self._own}
        return sorted(name for name in known if self._unchanged(name) is not None)

    def protect(self, path: Path, said: str) -> None:
        """Never write or remove a file, whatever the lists say.

        Args:
            path: what this run reads.
            said: the option that named it.
        """
        self.protected[os.path.realpath(path)] = said

    def take_in(self) -> None:
        """Take in what other processes wrote down: of this run, or of one that was killed.

        Raises:
            OSError: the journal cannot be written.
        """
        for path in sorted(set(self._journals()) - {self._journal}):
            self._read_journal(path)
            with self._journal.open("ab") as file:
                file.write(path.read_bytes())
            path.unlink()

    def start_over(self) -> None:
        """Begin a run anew: all that was written before this process is an earlier run's.

        Raises:
            OSError: the journal cannot be written.
        """
        for name, digest in self._own.items():
            if name not in self._now:
                self._earlier.setdefault(name, set()).add(digest)
        self._own = {name: self._now[name] for name in self._own if name in self._now}
        lines = [_line(name, one, True) for name in self._earlier for one in self._earlier[name]]
        lines += [_line(name, digest, False) for name, digest in self._own.items()]
        self._journal.parent.mkdir(parents=True, exist_ok=True)
        replace_file(self._journal, "".join(lines))

    def remove_earlier(self, names: Collection[str] | None = None) -> None:
        """Remove files of runs before that this one has not written anew.

        Args:
            names: of files, or of folders with a ``/`` at the end; None means all but
                ``run.json``, which takes its own place.
        """
        for name in list(self._earlier):
            wanted = (
                name != RUN
                if names is None
                else name in names or any(n.endswith("/") and name.startswith(n) for n in names)
            )
            if wanted and name not in self._own:
                self._remove(name)

    def files(self) -> dict[str, str]:
        """sha256 by name of the files that this run wrote, for ``run.json``."""
        return {
            name: digest
            for name, digest in sorted(self._own.items())
            if _inside(self.folder, name) is not None
        }

    def remove_journal(self) -> None:
        """Remove the list of a run that has ended, once ``run.json`` has it."""
        for path in (self._journal, *self._journals()):
            path.unlink(missing_ok=True)
        with suppress(OSError):
            self._journal.parent.rmdir()

    def undo(self) -> None:
        """Remove what this process wrote, and nothing that anybody put beside it."""
        for name in list(self._now):
            self._remove(name)
        if not self.began:
            self.remove_journal()
        for name in SUBFOLDERS:
            if name not in self._there:
                remove_leftovers(self.folder / name)
                with suppress(OSError):
                    (self.folder / name).rmdir()

    def remove_made(self) -> None:
        """Remove the folders that were made for this run and are empty."""
        for path in self._made:
            with suppress(OSError):
                path.rmdir()

    def _wrote(self, path: Path, digest: str) -> None:
        """Write down a file that is about to take its place."""
        try:
            name = Path(os.path.abspath(path)).relative_to(self._root).as_posix()
        except ValueError:
            return  # of another folder
        if _JOURNAL.fullmatch(name):
            return
        if said := self.protected.get(os.path.realpath(path)):
            raise AuditError(
                f"this run reads '{path}' ({said}) and does not write over it; name another "
                "folder with --output-dir"
            )
        self._now[name] = digest
        if name == RUN or name.startswith(f"{PARTIAL}/"):
            return
        if self._own.get(name) != digest:
            self._journal.parent.mkdir(parents=True, exist_ok=True)
            with self._journal.open("ab") as file:
                file.write(_line(name, digest, False).encode())
            self._own[name] = digest

    def _read_run(self) -> None:
        """Take in what the ``run.json`` of a finished run lists."""
        path = _inside(self.folder, RUN)
        try:
            content = b"" if path is None else path.read_bytes()
            run: Any = json.loads(content)
        except (OSError, ValueError, RecursionError):
            return
        # One of another program's is not a run's own.
        if not isinstance(run, dict) or run.get("finished") is not True or "settings" not in run:
            return
        self._earlier[RUN] = {sha256(content).hexdigest()}
        files = run.get("files")
        for name, digest in files.items() if isinstance(files, dict) else ():
            if isinstance(digest, str):
                self._earlier.setdefault(name, set()).add(digest)

    def _journals(self) -> list[Path]:
        """The lists of all processes; a link is none."""
        names = (f"{PARTIAL}/{path.name}" for path in (self.folder / PARTIAL).glob("files*"))
        found = (_inside(self.folder, name) for name in names if _JOURNAL.fullmatch(name))
        return [path for path in found if path is not None]

    def _read_journal(self, journal: Path) -> None:
        """Take in what a process has written that was killed, or has done its part."""
        path = _inside(self.folder, f"{PARTIAL}/{journal.name}")
        try:
            lines = [] if path is None else path.read_bytes().splitlines()
        except OSError:
            return
        for line in lines:
            try:
                said = json.loads(line)
                name, digest, earlier = said["path"], said["sha256"], bool(said.get("earlier"))
            except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
                continue  # torn by a kill
            if not isinstance(name, str) or not isinstance(digest, str):
                continue
            if earlier:
                self._earlier.setdefault(name, set()).add(digest)
            else:
                # Of two contents the older one may still stand there: the kill came in between.
                if name in self._own:
                    self._earlier.setdefault(name, set()).add(self._own[name])
                self._own[name] = digest

    def _unchanged(self, name: str) -> Path | None:
        """The file of a name, if it is what a run wrote."""
        path = _inside(self.folder, name)
        known = {*self._earlier.get(name, ()), self._own.get(name), self._now.get(name)}
        return path if path is not None and _digest(path) in known - {None} else None

    def _remove(self, name: str) -> None:
        """Remove a file that is a run's own, and the folders that it leaves empty."""
        path = self._unchanged(name)
        if path is None or os.path.realpath(path) in self.protected:
            return
        with suppress(OSError):
            path.unlink()
            for parent in PurePosixPath(name).parents:
                if parent.name:
                    (self.folder / parent).rmdir()


def _line(name: str, digest: str, earlier: bool) -> str:
    said = {"path": name, "sha256": digest} | ({"earlier": True} if earlier else {})
    # The end of a line comes first: one that a full disk has cut short spoils no other.
    return "\n" + json.dumps(said)


def _inside(folder: Path, name: str) -> Path | None:
    """The file of a name that somebody listed, if it is a file in the folder and no link."""
    parts = PurePosixPath(name).parts
    # A backslash or a colon would be more than a name on Windows; we write neither.
    if not parts or ".." in parts or name.startswith("/") or any(c in name for c in "\\:\0"):
        return None
    path = folder
    try:
        for part in parts[:-1]:
            path /= part
            if not stat.S_ISDIR(path.lstat().st_mode):
                return None
        path /= parts[-1]
        return path if stat.S_ISREG(path.lstat().st_mode) else None
    except (OSError, ValueError):
        return None


def _digest(path: Path) -> str | None:
    """sha256 of a file, read in pieces; None if it cannot be read."""
    try:
        with path.open("rb") as file:
            return file_digest(file, "sha256").hexdigest()
    except OSError:
        return None
