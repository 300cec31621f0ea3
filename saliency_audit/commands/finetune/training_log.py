"""``training.csv``: a row for each step, kept through a stop."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from saliency_audit.report.tables import write_csv

FIRST = ("step", "epoch", "lr", "train_accuracy", "val_accuracy", "loss")
LAST = ("seconds", "images_per_second")


class TrainingLog:
    """The steps of a training.

    Args:
        path: ``training.csv``.
        until: the last step that counts of those an earlier run wrote; 0 begins anew.
    """

    def __init__(self, path: Path, *, until: int = 0) -> None:
        self.path = path
        self._rows: list[dict[Any, Any]] = []
        if until and path.is_file():
            earlier = pd.read_csv(path)
            self._rows = earlier[earlier["step"] <= until].to_dict("records")

    def add(self, step: int, epoch: float, values: Mapping[str, float]) -> None:
        """Add a step."""
        self._rows.append({"step": step, "epoch": epoch, **values})

    @property
    def table(self) -> pd.DataFrame:
        """All steps: what every training has, then the loss terms and what else was measured."""
        table = pd.DataFrame(self._rows)
        between = [name for name in table.columns if name not in (*FIRST, *LAST)]
        return table.reindex(columns=[*FIRST, *between, *LAST])

    def write(self) -> Path:
        """Write the file.

        Raises:
            AuditError: it cannot be written.
        """
        return write_csv(self.path, self.table)
