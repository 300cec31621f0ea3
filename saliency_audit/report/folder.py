"""The output folder of a run: batches in as they come, kept through a kill, one table out."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import astuple
from io import BytesIO
from math import nan, sqrt
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from saliency_audit.catalogue.metrics import OF_TRAININGS
from saliency_audit.errors import InputError
from saliency_audit.report.facts import RUN, plain, run_json
from saliency_audit.report.files import write_atomically
from saliency_audit.report.ledger import PARTIAL, SUBFOLDERS, Ledger
from saliency_audit.report.results import join_results, read_results, results_in
from saliency_audit.report.tables import csv_lines
from saliency_audit.stats.summary import student
from saliency_audit.types import COLUMNS, Batch, CurvePoint, Example
from saliency_audit.writing import remove_leftovers, replace_file

CURVE_COLUMNS = ("model", "saliency", "check", "x", "mean", "ci_low", "ci_high", "n")

_KINDS = ("csv", "npz", "curves")
TEACHER_MAPS = f"{PARTIAL}/teacher-maps.npy"
"""Maps that ``finetune`` trains towards, as long as it trains."""
RANKINGS = f"{PARTIAL}/rankings-*.npy"
"""Orders of pixels that ``evaluate`` replaces by, as long as it trains."""

_JOB = "[a-z0-9-]+"
_BATCH_FILE = re.compile(rf"(?:({_JOB})\.)?(\d{{6,}})\.({'|'.join(_KINDS)})")


class RunFolder:
    """Where one run writes, and what an earlier one left there.

    Every batch becomes a file in ``partial/``, named after its job and its index in that job, so
    what is done survives a kill. ``write_results`` joins them in the order of jobs and indices,
    whichever process or run wrote them; ``close`` declares the run finished and removes
    ``partial/``. Several processes may write different batches into one folder, once one of them
    has made it: the others join with ``resume=True``.

    Args:
        path: the output folder; made if missing.
        settings: the resolved options that determine the numbers, JSON-able.
        jobs: names of what batches belong to, in the order in which they are joined: of lower
            case letters, digits and hyphens. Batches of other jobs, which an earlier version of
            this program may have left, are not read.
        resume: keep what an earlier run with the same settings finished. Otherwise its partial
            batches are removed; its reports stay until this run's replace them.
        ledger: of the files in the folder; None for processes beside the one that writes reports.
        format: of the file that the batches are joined into, of `FORMATS`. It decides no number:
            a run that was killed may go on with another.

    Attributes:
        jobs: as given.
        results: the file that the batches are joined into.
        finished: the earlier run was complete; nothing is left to do.

    Raises:
        InputError: the folder cannot be written, or the earlier run had other settings.
        ValueError: a job cannot be called so.
    """

    def __init__(
        self,
        path: Path,
        settings: Mapping[str, Any],
        *,
        jobs: Sequence[str] = ("",),
        resume: bool,
        ledger: Ledger | None = None,
        format: str = "csv",
    ) -> None:
        for job in filter(None, jobs):
            if not re.fullmatch(_JOB, job):
                raise ValueError(f"'{job}' is no name of a job")
        self.path = path
        self.jobs = tuple(jobs)
        self._ledger = ledger
        self.settings: dict[str, Any] = plain(settings)
        self.results = path / f"results.{format}"
        self._partial = path / PARTIAL
        started = _read_json(self._partial / "settings.json") if resume else None
        closed = _finished_settings(path) if resume and started is None else None
        for earlier in (started, closed):
            if earlier is not None:
                _refuse_other_settings(earlier, self.settings)
        self.finished = closed is not None
        if self.finished and not self.results.is_file():
            there = results_in(path)[0]
            raise InputError(
                f"cannot resume: the rows of the finished run are in {there.name}, not in "
                f"{self.results.name}; give --format {there.suffix[1:]}, or drop --resume"
            )
        if started is not None or self.finished:
            return
        self._refuse_foreign_batches()
        try:
            if not resume:
                remove_partial(self.path)
            self._partial.mkdir(parents=True, exist_ok=True)
            if ledger is not None:
                ledger.start_over()
            replace_file(self._partial / "settings.json", json.dumps(self.settings, indent=2))
        except OSError as error:
            raise InputError(
                f"cannot write to output folder '{path}' ({error.strerror or error}); "
                "name another with --output-dir"
            ) from error

    def done(self, job: str = "") -> frozenset[int]:
        """Indices of the batches of a job that are on disk."""
        return frozenset(index for index, _ in self._files("csv", [job]))

    @property
    def batches(self) -> int:
        """How many batches are on disk, of all jobs."""
        return len(self._files("csv"))

    def write(self, batch: Batch) -> None:
        """Put one batch on disk.

        Raises:
            AuditError: the disk is full or the file cannot be written.
            ValueError: it is of a job that is none of this run's.
        """
        if batch.job not in self.jobs:
            raise ValueError(f"'{batch.job}' is none of the jobs {', '.join(self.jobs)}")
        name = f"{batch.job}.{batch.index:06d}".removeprefix(".")
        if batch.examples:
            write_atomically(self._partial / f"{name}.npz", _pack(batch.examples))
        if batch.curves:
            # As JSON: a CSV's six digits are too few for sums of squares.
            sums = json.dumps([astuple(point) for point in batch.curves])
            write_atomically(self._partial / f"{name}.curves", sums)
        # The rows come last: with them the batch counts as done.
        rows = ([row[column] for column in COLUMNS] for row in batch.rows)
        write_atomically(self._partial / f"{name}.csv", csv_lines(COLUMNS, rows))

    def write_results(self) -> Path:
        """Join all batches into one file, holding no more than a few of them in memory.

        Raises:
            AuditError: the disk is full or the file cannot be written.
        """
        return join_results(self.results, (path for _, path in self._files("csv")))

    def rows(self, job: str = "") -> pd.DataFrame:
        """The rows of a job, in the order of its batches, as `read_results` reads them."""
        return read_results(*(path for _, path in self._files("csv", [job])))

    def examples(self) -> list[Example]:
        """The pictures of all batches, in the order of jobs and indices."""
        return [example for _, path in self._files("npz") for example in _unpack(path)]

    def curves(self) -> pd.DataFrame:
        """The curves of all batches, joined in the order of jobs and indices.

        Returns:
            ``CURVE_COLUMNS``, the curves in order of first appearance and ``x`` ascending. The
            interval is the mean ± 1.96 standard errors (Student's over trainings), NaN for less
            than two images; the mean is NaN for none.
        """
        points = (
            CurvePoint(*point)
            for _, path in self._files("curves")
            for point in json.loads(path.read_text("utf-8"))
        )
        return _curves(points)

    def close(self, facts: Mapping[str, Any]) -> Path:
        """Write ``run.json``, which marks the run as finished, and remove ``partial/``.

        What runs before wrote and this one did not is removed too, unless it was changed since.

        Args:
            facts: what else ``run.json`` says.

        Returns:
            ``run.json``.

        Raises:
            AuditError: the file cannot be written.
        """
        facts = {**facts, "settings": self.settings, "finished": True}
        if self._ledger is not None:
            self._ledger.take_in()
            self._ledger.remove_earlier()
            facts["files"] = self._ledger.files()
        run = run_json(self.path, facts)
        for name in ("", *SUBFOLDERS):
            remove_leftovers(self.path / name)
        remove_partial(self.path)
        if self._ledger is not None:
            # After the settings: a run that looks unfinished needs it to know its own files.
            self._ledger.remove_journal()
            self._ledger.close()
        return run

    def _files(self, kind: str, jobs: Sequence[str] | None = None) -> list[tuple[int, Path]]:
        """Indices and files of a kind of some jobs, or all, in the order of jobs and indices."""
        place = {job: i for i, job in enumerate(self.jobs if jobs is None else jobs)}
        found = (
            (place[job], index, path)
            for job, index, of, path in _batch_files(self._partial)
            if of == kind and job in place
        )
        return [(index, path) for _, index, path in sorted(found)]

    def _refuse_foreign_batches(self) -> None:
        """Refuse a ``partial/`` of somebody else: what runs put there, they put beside settings."""
        if (self._partial / "settings.json").exists():
            return
        for *_, path in _batch_files(self._partial):
            raise InputError(
                f"'{path}' was there before any run; move it, or name another folder with "
                "--output-dir"
            )


def remove_partial(folder: Path) -> None:
    """Remove what runs put into ``partial/``, and the folder if nothing else is in it.

    Args:
        folder: the output folder.

    Raises:
        OSError: a file cannot be removed.
    """
    partial = folder / PARTIAL
    remove_leftovers(partial)
    # The settings go last: batches without settings would be taken for anyone's.
    for path in (
        *(path for *_, path in _batch_files(partial)),
        folder / TEACHER_MAPS,
        folder / f"{TEACHER_MAPS}.part",
        *folder.glob(RANKINGS),
        partial / "settings.json",
    ):
        path.unlink(missing_ok=True)
    with suppress(OSError):
        partial.rmdir()


def _batch_files(partial: Path) -> list[tuple[str, int, str, Path]]:
    """Job, index, kind and path of all files of batches in ``partial/``, in any order."""
    matches = ((_BATCH_FILE.fullmatch(path.name), path) for path in partial.glob("*"))
    return [(m[1] or "", int(m[2]), m[3], path) for m, path in matches if m]


def _read_json(path: Path) -> dict[str, Any] | None:
    """The object in a JSON file; None if there is no such file."""
    try:
        content = json.loads(path.read_text("utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        raise InputError(
            f"cannot resume: '{path}' is not readable as JSON ({error}); "
            "drop --resume to start again"
        ) from error
    return content if isinstance(content, dict) else {}


def _finished_settings(folder: Path) -> dict[str, Any] | None:
    """Settings of a finished run whose results are still there."""
    run = _read_json(folder / RUN)
    if run is None or not run.get("finished") or not results_in(folder):
        return None
    settings = run.get("settings")
    return settings if isinstance(settings, dict) else None


def _refuse_other_settings(earlier: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Name the first setting that differs, in the order of the present run's."""
    for name in dict.fromkeys((*now, *earlier)):
        if name not in earlier or name not in now or earlier[name] != now[name]:
            old, new = earlier.get(name), now.get(name)
            if isinstance(old, dict) and isinstance(new, dict) and old.keys() == new.keys():
                _refuse_other_settings(old, new)
            was, is_now = (
                json.dumps(settings[name]).strip('"') if name in settings else "absent"
                for settings in (earlier, now)
            )
            raise InputError(
                f"cannot resume: {name} was {was}, now {is_now}; drop --resume to start again"
            )


def _curves(points: Iterable[CurvePoint]) -> pd.DataFrame:
    """Means and intervals from sums."""
    sums: dict[tuple[str, str, str], dict[float, tuple[int, float, float]]] = {}
    for point in points:
        of_curve = sums.setdefault((point.model, point.saliency, point.check), {})
        n, total, squares = of_curve.get(point.x, (0, 0.0, 0.0))
        of_curve[point.x] = (n + point.n, total + point.total, squares + point.squares)
    rows = []
    for key, of_curve in sums.items():
        for x, (n, total, squares) in sorted(of_curve.items()):
            mean = total / n if n else nan
            # Round-off can leave less than nothing of the spread of equal values.
            spread = sqrt(max(0.0, squares - n * mean**2) / (n - 1)) if n > 1 else nan
            wide = student(n) if key[2] in OF_TRAININGS and n > 1 else 1.96
            half = wide * spread / sqrt(n) if n > 1 else nan
            rows.append((*key, x, mean, mean - half, mean + half, n))
    return pd.DataFrame(rows, columns=list(CURVE_COLUMNS))


def _pack(examples: list[Example]) -> bytes:
    """Examples as an npz file: the pixels as arrays, all else as JSON."""
    described = [
        {name: value for name, value in vars(example).items() if name != "pixels"}
        for example in examples
    ]
    pixels = {f"pixels{i}": example.pixels for i, example in enumerate(examples)}
    buffer = BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, examples=json.dumps(described), **pixels)
    return buffer.getvalue()


def _unpack(path: Path) -> list[Example]:
    """Examples from an npz file."""
    with np.load(path, allow_pickle=False) as file:
        described = json.loads(str(file["examples"]))
        return [Example(**fields, pixels=file[f"pixels{i}"]) for i, fields in enumerate(described)]
