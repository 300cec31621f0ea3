"""Files that are either whole or not there."""

import errno
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

from saliency_audit.errors import AuditError

TEMPORARY = ".saliency-audit-*.tmp"
"""Matches what a killed run may leave behind."""

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def write_atomically(path: Path, content: bytes | str | Iterable[bytes]) -> Path:
    """Write a file so that a kill at any moment leaves the old one or the new one.

    Args:
        path: where to; an existing file is replaced.
        content: bytes, text (UTF-8; what it cannot encode is escaped) or pieces that are
            written as they come.

    Returns:
        ``path``.

    Raises:
        AuditError: the disk is full or the file cannot be written.

    >>> from tempfile import mkdtemp
    >>> write_atomically(Path(mkdtemp()) / "note.txt", "done").read_text()
    'done'
    """
    try:
        return replace_file(path, content)
    except OSError as error:
        problem = "disk full" if error.errno in _FULL else error.strerror or str(error)
        fix = "free space and" if error.errno in _FULL else "mend that and"
        raise AuditError(
            f"{problem} while writing '{path}'; what was finished is kept, {fix} add --resume"
        ) from error


def replace_file(path: Path, content: bytes | str | Iterable[bytes]) -> Path:
    """As ``write_atomically``, with the system's own errors.

    Raises:
        OSError: the file cannot be written.
    """
    if isinstance(content, str):
        # File names need not be valid Unicode; no name may cost a run.
        content = content.encode("utf-8", "backslashreplace")
    pieces = [content] if isinstance(content, bytes) else content
    temporary = path.with_name(TEMPORARY.replace("*", uuid4().hex))
    try:
        with temporary.open("xb") as file:
            for piece in pieces:
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise
    return path
