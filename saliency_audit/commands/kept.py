"""Weights that a run trains once, before its audit, and keeps in a file of its output folder."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from importlib.metadata import version
from json import dumps
from pathlib import Path
from typing import TYPE_CHECKING, Any

from saliency_audit.errors import InputError
from saliency_audit.processes import Processes
from saliency_audit.regular import refuse_irregular, why_irregular

if TYPE_CHECKING:
    from saliency_audit.models import Classifier

DECIDED = "decided by"
"""Key of the metadata under which a file says what decided its weights."""


@dataclass(frozen=True)
class Preparation:
    """What a run does before its audit.

    Attributes:
        files: that it writes into the output folder.
        make: does it.
        settings: what of it decides the numbers of the run.
    """

    files: Sequence[str] = ()
    make: Callable[[], None] = lambda: None
    settings: Mapping[str, Any] = field(default_factory=dict)


def in_turn(*preparations: Callable[[], None]) -> Callable[[], None]:
    """One after the other."""

    def make() -> None:
        for prepare in preparations:
            prepare()

    return make


def decided_by(model: "Classifier | None", *, arch: str | None = None, **more: Any) -> str:
    """sha256 of all that decides weights that are trained.

    Args:
        model: that is audited; None for what is trained on no model.
        arch: of the command line; the same weights may be of two architectures.
        **more: training data, seed, options.
    """
    from saliency_audit.models import is_channels_last

    of_model = model and {
        "model": model.sha256,
        "arch": arch,
        "input shape": model.input_shape,
        "colours": [model.mean.flatten().tolist(), model.std.flatten().tolist()],
        "precision": model.precision,
        "channels last": is_channels_last(model),
        "device": model.mean.device.type,
    }
    said = {
        **(of_model or {}),
        "versions": [version("torch"), version("saliency-audit")],
        **more,
    }
    return sha256(dumps(said, sort_keys=True).encode()).hexdigest()


def trained_once(
    path: Path, decides: str, train: Callable[[], None], *, processes: Processes
) -> None:
    """Have trained weights in a file; every process calls this alike.

    The first process trains, unless the file has what the training would give.

    Args:
        path: the file, in the output folder that this run holds.
        decides: what decides the weights, which the metadata of the file says, too.
        train: writes the file.
        processes: of this run.

    Raises:
        InputError: there can be no such training.
        AuditError: it failed.
    """
    processes.by_first(lambda: None if _kept(path, decides) else train())


def metadata(path: Path) -> Mapping[str, str]:
    """What a file of weights says beside them; nothing where it is none."""
    from safetensors import SafetensorError, safe_open

    if why_irregular(path) is not None:
        return {}
    try:
        with safe_open(path, framework="pt") as file:
            return dict(file.metadata() or {})
    except (OSError, SafetensorError):
        return {}


def metadata_of(
    path: Path, need: str, *, keys: Collection[str], what: str, again: str
) -> Mapping[str, str]:
    """What a file says that the user gave for a need, beside its weights.

    Args:
        path: of the file.
        need: its option, "masker".
        keys: what it must say.
        what: it is, for a message: "masking network".
        again: what to do, for a message.

    Raises:
        InputError: there is no such file, or it is something else.
    """
    refuse_irregular(path, need)
    if not path.exists():
        raise InputError(f"--{need} {path}: there is no such file; {again}")
    said = metadata(path)
    if not set(keys) <= set(said):
        raise InputError(f"--{need} {path} is no {what}; {again}")
    return said


def _kept(path: Path, decides: str) -> bool:
    """Whether a file holds what the training would give; it is then this run's own."""
    from saliency_audit.writing import replace_file

    if metadata(path).get(DECIDED) != decides:
        return False
    replace_file(path, path.read_bytes())
    return True
