"""Rows of a CSV file, with the lines they stand in."""

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

from saliency_audit.errors import InputError


def rows(path: Path, columns: Sequence[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """Line numbers and rows of a CSV file in UTF-8 whose first line names its columns.

    Args:
        path: the file.
        columns: that it must have; it may have others.

    Raises:
        InputError: it cannot be read, lacks a column, or a row has too few or too many values.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file, strict=True)
            found = [column.strip() for column in next(reader, [])]
            missing = [column for column in columns if column not in found]
            if missing:
                raise InputError(
                    f"{path} has no column {' and no column '.join(missing)}; its first line "
                    f"names {', '.join(found) or 'nothing'}, and must have {','.join(columns)}"
                )
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
