"""Files that are either whole or not there, and who is told of them."""

import os
import re
from collections.abc import Callable, Iterable
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from uuid import uuid4

Watcher = Callable[[Path, str], None]
"""Told of a file and the sha256 of what it is about to hold; may raise to prevent it."""

_WATCHERS: list[Watcher] = []
_TEMPORARY = re.compile(r"\.saliency-audit-[0-9a-f]{32}\.tmp")


def watch(watcher: Watcher) -> None:
    """Tell ``watcher`` of every file from now on, before the file takes its place."""
    _WATCHERS.append(watcher)


def unwatch(watcher: Watcher) -> None:
    """Tell it no more."""
    with suppress(ValueError):
        _WATCHERS.remove(watcher)


def replace_file(path: Path, content: bytes | str | Iterable[bytes], *, sync: bool = True) -> Path:
    """Write a file so that a kill at any moment leaves the old one or the new one.

    Everything that a run leaves in its folder goes through here, so that it is known whose it is.

    Args:
        path: where to; an existing file is replaced.
        content: bytes, text (UTF-8; what it cannot encode is escaped) or pieces that are
            written as they come.
        sync: wait until the disk has it, so that it outlives a power cut too.

    Returns:
        ``path``.

    Raises:
        OSError: the file cannot be written.

    >>> from tempfile import mkdtemp
    >>> replace_file(Path(mkdtemp()) / "note.txt", "done").read_text()
    'done'
    """
    if isinstance(content, str):
        # File names need not be valid Unicode; no name may cost a run.
        content = content.encode("utf-8", "backslashreplace")
    pieces = [content] if isinstance(content, bytes) else content
    temporary = path.with_name(f".saliency-audit-{uuid4().hex}.tmp")
    digest = sha256()
    try:
        with temporary.open("xb") as file:
            for piece in pieces:
                digest.update(piece)
                file.write(piece)
            file.flush()
            if sync:
                os.fsync(file.fileno())
        # Before, not after: a kill in between must not leave a file that is nobody's.
        for watcher in tuple(_WATCHERS):
            watcher(path, digest.hexdigest())
        os.replace(temporary, path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise
    return path


def remove_leftovers(folder: Path) -> None:
    """Remove what killed runs left of files that they had not finished.

    Their names are 128 random bits of our own making, so nobody else's file has one.

    Args:
        folder: where to look; not below it. One that is missing holds nothing.
    """
    with suppress(OSError):
        for path in folder.iterdir():
            if _TEMPORARY.fullmatch(path.name):
                path.unlink(missing_ok=True)
