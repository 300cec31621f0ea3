"""Data sets that are small enough to sit in memory as 8-bit arrays."""

import gzip
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
from PIL import Image
from torch import Tensor

from saliency_audit.data.dataset import ImageData, Labels, labels_fit
from saliency_audit.data.images import Preparation, as_tensor, colours_fit
from saliency_audit.data.request import Request, refuse_classes
from saliency_audit.errors import InputError
from saliency_audit.regular import refuse_irregular

PIECE = 1 << 20

Pixels = np.ndarray[Any, np.dtype[np.uint8]]


@dataclass(frozen=True)
class ReadArray:
    """Reads images out of one array, ``(n, h, w)`` or ``(n, h, w, 3)``."""

    images: Pixels
    prepare: Preparation

    def __call__(self, position: int) -> Tensor:
        """The image at ``position``."""
        pixels = self.images[position]
        if pixels.shape[:2] == self.prepare.input_shape[1:]:
            return as_tensor(pixels.copy())
        return self.prepare(Image.fromarray(pixels))


def from_arrays(
    images: Pixels,
    labels: Labels,
    names: Sequence[str],
    request: Request,
    *,
    name: str,
    class_names: list[str],
    notes: Sequence[str] = (),
) -> ImageData:
    """Image data over 8-bit arrays.

    Raises:
        InputError: grey for a colour model or the reverse, or labels the model does not have.
    """
    refuse_classes(request, name)
    colours_fit(grey=images.ndim == 3, input_shape=request.prepare.input_shape, example=name)
    labels_fit(names, labels, request.outputs)
    return ImageData(
        name=name,
        names=names,
        labels=labels,
        sizes=[images[0].nbytes] * len(images),
        read=ReadArray(images, request.prepare),
        input_shape=request.prepare.input_shape,
        class_names=class_names,
        notes=list(notes),
        content=sha256(np.ascontiguousarray(images).data).hexdigest(),
    )


def split_of(place: str) -> tuple[Path, str]:
    """Folder and split of ``DIR`` (its test images) or ``DIR@train`` (its training images).

    >>> split_of("data@train")
    (PosixPath('data'), 'train')
    """
    folder, _, split = place.rpartition("@")
    if split not in ("train", "test"):
        folder, split = place, "test"
    return Path(folder).expanduser(), split


def find(folder: Path, inside: Sequence[str], file: str, kind: str) -> Path:
    """The file, in ``folder`` or in a sub-folder where torchvision puts it.

    Raises:
        InputError: it is in none of them, or no regular file.
    """
    if not folder.is_dir():
        raise InputError(f"--data {kind}:{folder}: there is no such folder")
    places = (folder, *(folder / sub for sub in inside))
    candidates = [place / name for place in places for name in (file, f"{file}.gz")]
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    for candidate in candidates:
        refuse_irregular(candidate, f"--data {kind}:{folder}:")
    raise InputError(
        f"--data {kind}:{folder}: neither {file} nor {file}.gz is there or in "
        f"{' or '.join(inside)}; name the folder that holds them"
    )


@contextmanager
def opened(path: Path) -> Iterator[IO[bytes]]:
    """A file to read from, unpacked as it is read if its name ends in ``.gz``.

    Raises:
        InputError: it is no regular file, or cannot be read or unpacked.
    """
    refuse_irregular(path, "data file")
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            yield cast("IO[bytes]", file)
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path} cannot be read ({error}); download it again") from error


def at_most(file: IO[bytes], count: int) -> bytes:
    """The next bytes; no more are unpacked or reserved than there are."""
    pieces = []
    while count > 0 and (piece := file.read(min(count, PIECE))):
        pieces.append(piece)
        count -= len(piece)
    return b"".join(pieces)
