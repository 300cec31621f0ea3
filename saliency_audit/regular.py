"""Only regular files are read: a pipe would hang the run, and a device never ends."""

import os
import stat
from pathlib import Path

from saliency_audit.errors import InputError

KINDS = {
    stat.S_IFDIR: "folder",
    stat.S_IFIFO: "pipe",
    stat.S_IFCHR: "character device",
    stat.S_IFBLK: "block device",
    stat.S_IFSOCK: "socket",
}


def why_irregular(path: Path) -> str | None:
    """What else than a regular file stands at ``path``, in words; links are followed.

    Args:
        path: looked at, never opened.

    Returns:
        None for a regular file, and where nothing can be looked at: whoever opens that says so.

    >>> why_irregular(Path("/dev/null"))
    'is a character device, not a regular file'
    >>> why_irregular(Path("/no/such/file")) is None
    True
    """
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError):  # a NUL in a name is a ValueError
        return None
    if stat.S_ISREG(mode):
        return None
    return f"is a {KINDS.get(stat.S_IFMT(mode), 'special file')}, not a regular file"


def refuse_irregular(path: Path, what: str) -> None:
    """Refuse what is there but is no regular file.

    Args:
        path: looked at, never opened; a link to a regular file is fine.
        what: it is, for the message ("image").

    Raises:
        InputError: a folder, a pipe, a device or a socket.

    >>> refuse_irregular(Path("/dev/null"), "image")
    Traceback (most recent call last):
    ...
    saliency_audit.errors.InputError: image '/dev/null' is a character device, not a regular file
    """
    reason = why_irregular(path)
    if reason is not None:
        raise InputError(f"{what} '{path}' {reason}")
