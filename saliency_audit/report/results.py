"""All rows of a run in one file, in any format: written from its batches, read compactly."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from saliency_audit.catalogue.formats import FORMATS
from saliency_audit.report.files import write_atomically
from saliency_audit.types import CLASSES, COLUMNS, TEXTS


def results_in(folder: Path) -> list[Path]:
    """The files of rows that are in a folder: one, unless somebody kept that of another run."""
    paths = (folder / f"results.{name}" for name in FORMATS)
    return [path for path in paths if path.is_file()]


def join_results(path: Path, batches: Iterable[Path]) -> Path:
    """Join the rows of batches into one file, holding few of them in memory.

    Args:
        path: of the file; its format is its suffix.
        batches: CSV files, as `RunFolder.write` writes them.

    Returns:
        ``path``.

    Raises:
        AuditError: the disk is full or the file cannot be written.
    """
    return write_atomically(path, FORMATS[path.suffix[1:]].joined(batches))


def write_results(path: Path, rows: pd.DataFrame) -> Path:
    """Write rows that are in memory into one file.

    Args:
        path: of the file; its format is its suffix.
        rows: with `COLUMNS`.

    Returns:
        ``path``.

    Raises:
        AuditError: the file cannot be written.
    """
    return write_atomically(path, FORMATS[path.suffix[1:]].kept(rows))


def read_results(*paths: Path) -> pd.DataFrame:
    """Read the rows of a run in little memory, some 40 bytes a row.

    Args:
        paths: files of rows, one after the other; the format of each is its suffix.

    Returns:
        Their columns; ``label`` and ``target`` nullable integers, ``value`` float with NaN where
        undefined, the others text, never NaN, as categories in alphabetical order: pandas groups
        by those with ``observed=True`` only.

    Raises:
        OSError: a file cannot be read.
        ValueError: it is no such file.
    """
    columns: dict[Any, _Column] = {}
    pieces = (piece for path in paths for piece in FORMATS[path.suffix[1:]].pieces(path))
    for piece in pieces:
        for name, column in piece.items():
            columns.setdefault(name, _COLUMNS.get(str(name), _Column)()).append(column)
    # One after the other: both forms of all of them would be twice as much.
    whole = {name: columns.pop(name).whole() for name in list(columns)}
    return pd.DataFrame(whole, copy=False) if whole else pd.DataFrame(columns=[*COLUMNS])


class _Column:
    """A column that pieces are put behind, hardly larger than it is in the end.

    A list of its pieces would stand beside the whole.
    """

    def __init__(self) -> None:
        self._values: np.ndarray[Any, Any] = np.empty(0, bool)
        self._count = 0

    def append(self, piece: "pd.Series[Any]") -> None:
        """Put a piece behind."""
        more = self._numbers(piece)
        kind, end = np.promote_types(self._values.dtype, more.dtype), self._count + len(more)
        self._values = self._values.astype(kind, copy=False)
        if end > len(self._values):
            self._values.resize(max(end, len(self._values) * 5 // 4), refcheck=False)
        self._values[self._count : end] = more
        self._count = end

    def whole(self) -> Any:
        """All of it; nothing can be put behind then."""
        self._values.resize(self._count, refcheck=False)
        return self._values

    def _numbers(self, piece: "pd.Series[Any]") -> "np.ndarray[Any, Any]":
        return piece.to_numpy()


class _Classes(_Column):
    """Class indices, some of which are not known."""

    _NONE = np.iinfo(np.int64).min

    def whole(self) -> Any:
        values = super().whole()
        return pd.arrays.IntegerArray(values, values == self._NONE)

    def _numbers(self, piece: "pd.Series[Any]") -> "np.ndarray[Any, Any]":
        return piece.to_numpy("int64", na_value=self._NONE)


class _Texts(_Column):
    """Text, kept as the number of a word."""

    def __init__(self) -> None:
        super().__init__()
        self._words: dict[str, int] = {}

    def whole(self) -> Any:
        words = sorted(self._words)
        places = np.empty(len(words), np.min_scalar_type(-len(words) - 1))
        places[[self._words[word] for word in words]] = range(len(words))
        # Objects, whatever text is to this version of pandas.
        return pd.Categorical.from_codes(places[super().whole()], pd.Index(words, dtype=object))

    def _numbers(self, piece: "pd.Series[Any]") -> "np.ndarray[Any, Any]":
        known = self._words
        codes, words = pd.factorize(piece)
        if (codes < 0).any():
            raise ValueError(f"a row says nothing of its {piece.name}")
        numbers = [known.setdefault(word, len(known)) for word in words]
        return np.array(numbers, np.min_scalar_type(len(known)))[codes]


_COLUMNS = {**dict.fromkeys(TEXTS, _Texts), **dict.fromkeys(CLASSES, _Classes)}
