"""The rows of a run as Parquet: smaller than CSV, and quicker to read.

The values are those of the CSV, six digits: what is summarised is the same from either.
"""

from collections.abc import Iterable, Iterator
from io import BytesIO, RawIOBase
from pathlib import Path
from typing import Any

import pandas as pd

from saliency_audit.report import results_csv
from saliency_audit.types import CLASSES, COLUMNS, TEXTS

_AT_ONCE = 6 << 20
"""Bytes of CSV that batches come to when they are made a row group."""


def joined(paths: Iterable[Path]) -> Iterator[bytes]:
    """One Parquet file of several CSV files; a row group is some 50,000 rows of whole ones."""
    return _file(frame for text in _texts(paths) for frame in results_csv.pieces(BytesIO(text)))


def kept(frame: pd.DataFrame) -> Iterator[bytes]:
    """The Parquet file of a frame, without its index."""
    rows = results_csv.ROWS
    return _file(frame.iloc[start : start + rows] for start in range(0, len(frame), rows))


def pieces(path: Path) -> Iterator[pd.DataFrame]:
    """The rows of a Parquet file, a row group at a time.

    Yields:
        What `results_csv.pieces` does, text as categories.

    Raises:
        OSError: it cannot be read.
        ValueError: it is no such file.
    """
    import pyarrow
    from pyarrow import parquet

    whole, ours = {pyarrow.int64(): pd.Int64Dtype()}, _schema()
    there = parquet.read_schema(path)
    known = [name for name in COLUMNS if name in there.names]
    for name in known:
        if there.field(name).type != (right := ours.field(name).type):
            raise ValueError(f"its {name} is {there.field(name).type}, not {right}")
    words = [name for name in known if name in TEXTS]
    yield there.empty_table().to_pandas(types_mapper=whole.get)
    with parquet.ParquetFile(path, read_dictionary=words, pre_buffer=False) as file:
        for group in range(file.num_row_groups):
            yield file.read_row_group(group, use_threads=False).to_pandas(
                types_mapper=whole.get, use_threads=False
            )


def _texts(paths: Iterable[Path]) -> Iterator[bytes]:
    """CSV files in memory, each of several."""
    heading = results_csv.heading()
    parts, size = [heading], 0
    for path in paths:
        parts.append(path.read_bytes().removeprefix(heading))
        size += len(parts[-1])
        if size > _AT_ONCE:
            yield b"".join(parts)
            parts, size = [heading], 0
    if size:
        yield b"".join(parts)


def _file(frames: Iterable[pd.DataFrame]) -> Iterator[bytes]:
    """A Parquet file, a row group for each frame; its end when all are in."""
    import pyarrow
    from pyarrow import parquet

    sink, schema = _Sink(), _schema()
    with parquet.ParquetWriter(sink, schema, compression="zstd") as writer:
        for frame in frames:
            writer.write_table(pyarrow.Table.from_pandas(frame, schema, preserve_index=False))
            yield sink.taken()
    yield sink.taken()


def _schema() -> Any:
    import pyarrow

    types = {**dict.fromkeys(TEXTS, pyarrow.string()), **dict.fromkeys(CLASSES, pyarrow.int64())}
    return pyarrow.schema(
        pyarrow.field(name, types.get(name, pyarrow.float64()), nullable=name not in TEXTS)
        for name in COLUMNS
    )


class _Sink(RawIOBase):
    """A file that is handed on as it grows."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._at = 0

    def writable(self) -> bool:
        return True

    def write(self, part: Any) -> int:
        self._parts.append(bytes(part))
        self._at += len(self._parts[-1])
        return len(self._parts[-1])

    def tell(self) -> int:
        return self._at

    def taken(self) -> bytes:
        """What was written since the last time."""
        parts, self._parts = self._parts, []
        return b"".join(parts)
