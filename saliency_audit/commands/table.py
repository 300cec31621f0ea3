"""Rows as a data frame."""

from collections.abc import Iterable

import pandas as pd

from saliency_audit.types import COLUMNS, Batch


def table(batches: Iterable[Batch]) -> pd.DataFrame:
    """All rows of an audit, one row per measured value.

    Args:
        batches: what an audit yields.

    Returns:
        A frame with `COLUMNS`, in the order the values were measured.
    """
    return pd.DataFrame([row for batch in batches for row in batch.rows], columns=list(COLUMNS))
