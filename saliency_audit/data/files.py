"""Pictures that lie in files: opened one at a time, never all held."""

from collections.abc import Sequence
from dataclasses import dataclass
from os.path import basename
from pathlib import Path
from typing import overload

import numpy as np
from torch import Tensor

from saliency_audit.data.images import (
    EXTENSIONS,
    Preparation,
    Unreadable,
    colours_fit,
    is_grey,
    open_picture,
)
from saliency_audit.errors import InputError

LOOKED_AT = 16


@dataclass(frozen=True)
class ReadFile:
    """Reads pictures from files.

    Attributes:
        root: what the names are relative to.
        names: paths below ``root`` with ``/`` between folders, or absolute.
        prepare: brings a picture to the model's input.
    """

    root: Path
    names: Sequence[str]
    prepare: Preparation

    def __call__(self, position: int) -> Tensor:
        """The image at ``position``."""
        with open_picture(self.root / self.names[position]) as image:
            return self.prepare(image)


def is_picture(name: str) -> bool:
    """Whether a file of this name counts as a picture; hidden ones do not.

    >>> is_picture("a/cat.JPG"), is_picture(".cat.jpg"), is_picture("labels.txt")
    (True, False, False)
    """
    return name.lower().endswith(EXTENSIONS) and not basename(name).startswith(".")


def named_in_text(names: Sequence[str]) -> None:
    """Refuse file names that no result file could hold.

    Raises:
        InputError: a name is not UTF-8.
    """
    for name in names:
        try:
            name.encode()
        except UnicodeEncodeError as error:
            raise InputError(f"the file name {name!r} is not UTF-8; rename it") from error


@dataclass(frozen=True)
class Sizes(Sequence[int]):
    """Bytes of each file, looked up when they are asked for; -1 for one that cannot be had.

    Of a million files on a disk of a network, that takes minutes; of those that a run takes, not.

    Attributes:
        root: what the names are relative to.
        names: paths of the files.
    """

    root: Path
    names: Sequence[str]

    def __len__(self) -> int:
        return len(self.names)

    @overload
    def __getitem__(self, place: int) -> int: ...
    @overload
    def __getitem__(self, place: slice) -> "Sizes": ...
    def __getitem__(self, place: int | slice) -> "int | Sizes":
        if isinstance(place, slice):
            return Sizes(self.root, self.names[place])
        try:
            return (self.root / self.names[place]).stat().st_size
        except (OSError, ValueError):
            return -1


def files_fit(reader: ReadFile) -> None:
    """Refuse a data set whose colours are not the model's.

    Goes by the headers of up to 16 readable pictures spread over the data, and by most of them: a
    few grey pictures among colour ones are no reason to refuse, and are converted when read.

    Raises:
        InputError: grey for a colour model, or the reverse.
    """
    seen: list[tuple[bool, str]] = []
    spread = np.linspace(0, len(reader.names) - 1, min(LOOKED_AT, len(reader.names)))
    for position in spread.astype(int):
        name = reader.names[position]
        try:
            with open_picture(reader.root / name) as image:
                seen.append((is_grey(image), name))
        except Unreadable:
            continue
    if not seen:
        return
    grey = 2 * sum(is_grey for is_grey, _ in seen) > len(seen)
    example = next(name for colour, name in seen if colour == grey)
    colours_fit(grey=grey, input_shape=reader.prepare.input_shape, example=example)
