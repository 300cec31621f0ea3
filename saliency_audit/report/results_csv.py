"""The rows of a run as CSV."""

from collections.abc import Iterable, Iterator
from io import BytesIO
from pathlib import Path

import pandas as pd

from saliency_audit.report.tables import csv_lines
from saliency_audit.types import CLASSES, COLUMNS, TEXTS

ROWS = 1 << 16
"""Rows that are read at once."""


def joined(paths: Iterable[Path]) -> Iterator[bytes]:
    """One CSV file of several, a MiB at a time: one heading, then the rows of each."""
    yield heading()
    for path in paths:
        with path.open("rb") as file:
            file.readline()
            while piece := file.read(1 << 20):
                yield piece


def kept(frame: pd.DataFrame) -> Iterator[bytes]:
    """The CSV file of a frame, without its index."""
    text = csv_lines(frame.columns, frame.itertuples(index=False))
    # File names need not be valid Unicode.
    yield text.encode("utf-8", "backslashreplace")


def pieces(source: Path | BytesIO) -> Iterator[pd.DataFrame]:
    """The rows of a CSV file, some ten thousand at a time.

    Args:
        source: the file, or one in memory.

    Yields:
        Its columns; text as Python's and never NaN (an image may well be called "NA"), classes as
        nullable integers, ``value`` float with NaN where undefined.

    Raises:
        OSError: it cannot be read.
        ValueError: it is no such file.
    """
    # Not as categories: those that look like numbers would become some.
    types = {**dict.fromkeys(TEXTS, "object"), **dict.fromkeys(CLASSES, "Int64")}
    with pd.read_csv(
        source,
        dtype={**types, "value": "float64"},
        keep_default_na=False,
        na_values={column: [""] for column in (*CLASSES, "value")},
        chunksize=ROWS,
        low_memory=False,
    ) as read:
        yield from read


def heading() -> bytes:
    """The first line of the file."""
    return csv_lines(COLUMNS, ()).encode()
