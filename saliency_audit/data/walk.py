"""All files below a folder, whatever its links do."""

import os
from collections.abc import Iterator
from pathlib import Path

from saliency_audit.errors import InputError

MOST_AGAIN = 10_000
"""Folders that links may lead to once more; links to links to links double with every step."""

Identity = tuple[int, int]


def files_below(folder: Path, option: str) -> Iterator[Path]:
    """Files in a folder and the folders in it, as `folders_below` finds them.

    Args:
        folder: where to look.
        option: that named it, for messages.

    Raises:
        InputError: a folder cannot be read, or links lead to the same folders over and over.
    """
    return (place / name for place, names in folders_below(folder, option) for name in names)


def folders_below(
    folder: Path, option: str, *, within: Path | None = None
) -> Iterator[tuple[Path, list[str]]]:
    """A folder and the folders in it, each with its files; hidden ones are left out.

    Each is listed once. Links are followed, but not back into a folder that the way has come
    through. What is neither file nor folder counts as a file.

    Args:
        folder: where to look.
        option: that named it, for messages.
        within: the folder that it is looked for in; the way has come through that.

    Yields:
        A folder, and the names of the files in it in alphabetical order.

    Raises:
        InputError: a folder cannot be read, or links lead to the same folders over and over.
    """
    came = Path(os.path.realpath(folder if within is None else within))
    through = frozenset(map(_identity, [*([] if within is None else [came]), *came.parents]))
    entered: set[Identity] = set()
    again = 0
    # A list and no recursion: folders may be deeper than Python's stack.
    waiting = [(folder, through)]
    while waiting:
        place, through = waiting.pop()
        try:
            identity = _identity(place)
            if identity in through:
                continue
            with os.scandir(place) as listed:
                entries = sorted(
                    (entry.name, is_folder(entry))
                    for entry in listed
                    if not entry.name.startswith(".")
                )
        except OSError as error:
            raise InputError(
                f"{option}: {error.filename} cannot be read: {error.strerror}"
            ) from error
        again += identity in entered
        entered.add(identity)
        if again > MOST_AGAIN:
            raise InputError(
                f"{option}: links in {folder} lead to the same folders more than {MOST_AGAIN:,} "
                f"times, the last of them {place}; remove some"
            )
        yield place, [name for name, inside in entries if not inside]
        through |= {identity}
        waiting += [(place / name, through) for name, inside in reversed(entries) if inside]


def is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether it is a folder, or a link to one; a link to itself is none."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def _identity(place: Path) -> Identity:
    about = os.stat(place)
    return about.st_dev, about.st_ino
