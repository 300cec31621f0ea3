"""One run at a time in an output folder; what holds it dies with the process."""

import errno
import json
import os
import re
import socket
import stat
import sys
from contextlib import suppress
from pathlib import Path

from saliency_audit.errors import InputError

LOCK = ".saliency-audit.lock"
"""The file that a run holds; gone with it, unless it was killed."""

_TAKEN = {errno.EACCES, errno.EAGAIN, errno.EDEADLK}
_TRIES = 100
_HELD: set[str] = set()
"""Folders of this process: the system's locks keep other processes out, not their own."""

if sys.platform == "win32":
    import msvcrt

    def _lock(file: int) -> None:
        # Beyond the text, which others are to read.
        os.lseek(file, 1 << 20, os.SEEK_SET)
        msvcrt.locking(file, msvcrt.LK_NBLCK, 1)

else:

    def _lock(file: int) -> None:
        try:
            import fcntl
        except ImportError as error:  # a Python without them
            raise OSError(errno.ENOSYS, "no locks") from error
        # Not flock: children that read images would inherit it and outlive a killed run with it.
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


class FolderLock:
    """Keeps other runs out of a folder until `release`, or until this process ends.

    Args:
        folder: the output folder; exists.

    Attributes:
        held: False on a file system without locks, where nobody is kept out.

    Raises:
        InputError: another run holds it.
        OSError: its file cannot be made.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / LOCK
        self._key = os.path.realpath(folder)
        if self._key in _HELD:
            raise _taken(folder, f"process {os.getpid()}, which is this one")
        self._file: int | None = _acquired(folder, self._path)
        self.held = self._file is not None
        _HELD.add(self._key)

    def release(self) -> None:
        """Let other runs in, and leave no file behind."""
        _HELD.discard(self._key)
        if self._file is None:
            return
        file, self._file = self._file, None
        # Removed while it is held: whoever opened it before sees that it is no longer there.
        with suppress(OSError):
            self._path.unlink()
        os.close(file)
        if sys.platform == "win32":  # which removes no open file
            with suppress(OSError):
                self._path.unlink()


def _acquired(folder: Path, path: Path) -> int | None:
    """The open file that is locked, or None where there are no locks."""
    flags = os.O_RDWR | os.O_CREAT
    for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC", "O_BINARY"):
        flags |= getattr(os, name, 0)
    for _ in range(_TRIES):
        file = os.open(path, flags, 0o666)
        try:
            if not stat.S_ISREG(os.fstat(file).st_mode):
                raise OSError(errno.EINVAL, f"{path.name} is no file")
            _lock(file)
            if _still_there(file, path):
                _sign(file)
                return file
        except OSError as error:
            holder = _holder(file)
            os.close(file)
            if error.errno in _TAKEN:
                raise _taken(folder, holder) from None
            if error.errno in {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP}:
                with suppress(OSError):
                    path.unlink()
                return None
            raise
        # The run before removed it between our opening and locking it.
        os.close(file)
    raise _taken(folder, "others that come and go")


def _still_there(file: int, path: Path) -> bool:
    with suppress(OSError):
        return os.path.samestat(os.fstat(file), os.stat(path, follow_symlinks=False))
    return False


def _sign(file: int) -> None:
    """Say who holds it, for the message of those who come later."""
    text = json.dumps({"pid": os.getpid(), "host": socket.gethostname()})
    os.ftruncate(file, 0)
    os.lseek(file, 0, os.SEEK_SET)
    os.write(file, text.encode())


def _holder(file: int) -> str:
    """Who holds it, as far as the file says something that can be believed and printed."""
    with suppress(OSError, ValueError, RecursionError):
        os.lseek(file, 0, os.SEEK_SET)
        said = json.loads(os.read(file, 512))
        if isinstance(said, dict) and isinstance(pid := said.get("pid"), int):
            host = str(said.get("host"))
            return f"process {pid}" + (f" on {host}" if re.fullmatch(r"[\w.-]+", host) else "")
    return "process unknown"


def _taken(folder: Path, holder: str) -> InputError:
    return InputError(
        f"another run ({holder}) is writing to output folder '{folder}'; wait until it has ended, "
        "or name another with --output-dir"
    )
