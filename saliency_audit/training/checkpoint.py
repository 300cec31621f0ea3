"""The state of a training, in one file that is whole or not there."""

import io
from collections.abc import Collection
from pathlib import Path
from typing import Any

import torch

from saliency_audit.errors import InputError
from saliency_audit.writing import replace_file

_PARTS = ("state_dict", "optimizer", "schedule", "memory", "step", "terms", "unreadable")


def write_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write a training's state; what was there before is replaced once all is written.

    Args:
        path: where to; folders that are missing are made.
        state: what `train` gives. Its "state_dict" holds the weights under their own names, so
            that the file is a checkpoint like any other, to be given with ``--arch``.

    Raises:
        OSError: it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()
    torch.save(state, buffer)
    replace_file(path, buffer.getvalue())


def read_checkpoint(path: Path, parts: Collection[str] = _PARTS) -> dict[str, Any]:
    """The state of a training; no code in the file is run.

    Args:
        path: of the file.
        parts: what it must have.

    Raises:
        InputError: it is no such file.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        if set(parts) <= set(state):
            return dict(state)
    except Exception as error:
        raise InputError(
            f"cannot resume: '{path}' is no checkpoint of a training ({error}); drop --resume to "
            "start again"
        ) from error
    raise InputError(
        f"cannot resume: '{path}' is no checkpoint of a training; drop --resume to start again"
    )
