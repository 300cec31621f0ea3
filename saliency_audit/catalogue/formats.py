"""Formats that the rows of a run are kept in; one entry a format.

From it come the choices of ``--format``, the name of the file, and what writes and reads it.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from saliency_audit.catalogue.entries import Code, function_of
from saliency_audit.errors import InputError

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Format:
    """How a table of rows becomes a file and comes back.

    Attributes:
        join: ``(paths) -> bytes, piece by piece``, of the rows in CSV files of batches.
        keep: ``(frame) -> bytes, piece by piece``, of rows that are in memory.
        read: ``(path) -> frames``, the rows of a file piece by piece, text as categories.
        needs: a library that all three need and that does not come with this package. The extra
            that brings it is called as the format.
    """

    join: Code
    keep: Code
    read: Code
    needs: str = ""

    def joined(self, paths: Iterable[Path]) -> Iterator[bytes]:
        """The content of a file with the rows of all batches."""
        pieces: Iterator[bytes] = function_of(self.join)(paths)
        return pieces

    def kept(self, frame: "pd.DataFrame") -> Iterator[bytes]:
        """The content of a file with the rows of a frame."""
        pieces: Iterator[bytes] = function_of(self.keep)(frame)
        return pieces

    def pieces(self, path: Path) -> "Iterator[pd.DataFrame]":
        """The rows of a file."""
        frames: Iterator[pd.DataFrame] = function_of(self.read)(path)
        return frames


FORMATS = {
    "csv": Format(
        "report.results_csv:joined", "report.results_csv:kept", "report.results_csv:pieces"
    ),
    "parquet": Format(
        "report.results_parquet:joined",
        "report.results_parquet:kept",
        "report.results_parquet:pieces",
        needs="pyarrow",
    ),
}


def refuse_absent(name: str, *, said: str = "") -> None:
    """Refuse a format whose library is not installed, before any work.

    Args:
        name: of `FORMATS`.
        said: what asked for it, where that is not ``--format``.

    Raises:
        InputError: says what to install.
    """
    needs = FORMATS[name].needs
    if needs and find_spec(needs) is None:
        raise InputError(
            f"{said or f'--format {name}'}: {needs} is not installed; "
            f"pip install 'saliency-audit[{name}]'"
        )
