"""Tables as CSV: one way to write a number."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from saliency_audit.report.files import write_atomically


def cell(value: Any) -> str:
    """A value as it stands in a CSV file: six digits, nothing for what is undefined.

    >>> [cell(value) for value in (0.1234567, 3, True, None, float("nan"), 'a "b", c')]
    ['0.123457', '3', 'true', '', '', '"a ""b"", c"']
    """
    if value is None or value is pd.NA:
        return ""
    if isinstance(value, bool | np.bool_):
        return "true" if value else "false"
    if isinstance(value, float | np.floating):
        # Adding zero turns -0 into 0.
        return "" if np.isnan(value) else f"{value + 0.0:.6g}"
    text = str(value)
    # The csv module of Python 3.11 leaves a lone carriage return unquoted.
    if any(mark in text for mark in ',"\n\r'):
        return '"' + text.replace('"', '""') + '"'
    return text


def csv_lines(columns: Iterable[str], rows: Iterable[Iterable[Any]]) -> str:
    r"""A whole CSV file: heading, rows, LF line ends.

    >>> csv_lines(["a", "b"], [[1, None], ["x", 0.5]])
    'a,b\n1,\nx,0.5\n'
    """
    return "".join(",".join(map(cell, row)) + "\n" for row in (columns, *rows))


def write_csv(path: Path, frame: pd.DataFrame) -> Path:
    """Write a frame without its index, atomically.

    Raises:
        AuditError: the file cannot be written.
    """
    return write_atomically(path, csv_lines(frame.columns, frame.itertuples(index=False)))
