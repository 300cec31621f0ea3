"""Why one thing cannot be measured, so that it is left out and all others go on."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from saliency_audit.errors import AuditError, UnsupportedError
from saliency_audit.models.files import one_line


def no_meaning(name: str, outputs: str) -> str:
    """That something means nothing where outputs do not exclude each other."""
    return (
        f"{name} needs classes that exclude each other, which the outputs of a {outputs} model do "
        "not"
    )


@contextmanager
def refusing() -> Iterator[None]:
    """Inside, any error of a method, metric, attack or trick says that this one does not hold.

    Passed on as they are: errors that already say what the user can do, memory that ran out, files
    that cannot be written, and Ctrl-C.

    Raises:
        UnsupportedError: in place of any other error, with what it says in one line.
    """
    try:
        yield
    except (AuditError, MemoryError, OSError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        raise UnsupportedError(f"it failed with {one_line(error)}") from error
