"""Files of a report: whole or not there, and a full disk told in one line."""

import errno
from collections.abc import Iterable
from pathlib import Path

from saliency_audit.errors import AuditError
from saliency_audit.writing import replace_file

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
