"""Rows of a CSV file, with the lines they stand in."""

import csv
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

from saliency_audit.errors import InputError
from saliency_audit.regular import refuse_irregular

MOST_BYTES = 1 << 30
"""Of one file; 14 million pictures with a label take half of it."""

MOST_COLUMNS = 1_000
LONGEST = 1 << 20
"""Characters of a line."""


def rows(path: Path, columns: Sequence[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """Line numbers and rows of a CSV file in UTF-8 whose first line names its columns.

    Args:
        path: the file.
        columns: that it must have; it may have others.

    Raises:
        InputError: it cannot be read, lacks a column or has one twice, a row has too few or too
            many values, or a line is far too long.
    """
    refuse_irregular(path, "CSV file")
    try:
        if path.stat().st_size > MOST_BYTES:
            raise InputError(
                f"{path} has {path.stat().st_size:,} bytes; at most {MOST_BYTES:,} are read"
            )
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(_lines(path, file), strict=True)
            found = [column.strip() for column in next(reader, [])]
            _check_columns(path, found, columns)
            for values in reader:
                if not values:
                    continue
                if len(values) != len(found):
                    raise InputError(
                        f"{path} line {reader.line_num} has {len(values)} values but there are "
                        f"{len(found)} columns; quote values that hold commas"
                    )
                yield reader.line_num, dict(zip(found, values, strict=True))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise InputError(f"{path} cannot be read as CSV in UTF-8: {reason}") from error


def _check_columns(path: Path, found: Sequence[str], columns: Sequence[str]) -> None:
    if len(found) > MOST_COLUMNS:
        raise InputError(
            f"{path} has {len(found):,} columns; keep at most {MOST_COLUMNS:,}, among them "
            f"{','.join(columns)}"
        )
    missing = [column for column in columns if column not in found]
    if missing:
        shown = ", ".join(column[:40] for column in found[:20])
        raise InputError(
            f"{path} has no column {' and no column '.join(missing)}; its first line "
            f"names {shown or 'nothing'}, and must have {','.join(columns)}"
        )
    # Spreadsheets leave columns without a name; nothing is read out of those.
    twice = next((c for c, count in Counter(found).items() if c and count > 1), None)
    if twice is not None:
        raise InputError(
            f"{path} has the column {twice[:40]} {found.count(twice)} times; keep one of them"
        )


def _lines(path: Path, file: IO[str]) -> Iterator[str]:
    """The lines of a file, none of which is read as a whole where it does not end."""
    number = 0
    while line := file.readline(LONGEST + 1):
        number += 1
        if len(line) > LONGEST:
            raise InputError(
                f"{path} line {number} has more than {LONGEST:,} characters; is it a CSV file?"
            )
        if "\0" in line:
            raise InputError(
                f"{path} line {number} holds a NUL character; save it as plain text in UTF-8"
            )
        yield line
