"""The IDX files of MNIST and Fashion-MNIST, plain or gzipped."""

from math import prod
from pathlib import Path

import numpy as np

from saliency_audit.assets import FASHION_CLASSES
from saliency_audit.data.arrays import Pixels, at_most, find, from_arrays, opened, split_of
from saliency_audit.data.dataset import ImageData
from saliency_audit.data.request import Request
from saliency_audit.errors import InputError

DIGITS = [str(digit) for digit in range(10)]

MOST_BYTES = 1 << 30
"""Of one file, unpacked. The largest of EMNIST has half of it."""

MOST_IMAGES = 1 << 22
"""Of one file; each has a name in memory."""


def read_idx(path: Path, dimensions: int) -> Pixels:
    """Array of bytes out of an IDX file.

    The header is 0, 0, 8 (unsigned byte), the number of dimensions, then each dimension as a
    big-endian 32-bit number; the bytes follow.

    Args:
        path: the file; gzipped if its name ends in ``.gz``.
        dimensions: how many it must have.

    Raises:
        InputError: not such a file, not all of it, or far too much.
    """
    magic = bytes([0, 0, 8, dimensions])
    with opened(path) as file:
        start = at_most(file, 4 + 4 * dimensions)
        if start[:4] != magic:
            raise InputError(
                f"{path} is no IDX file of bytes in {dimensions} dimensions: it starts with "
                f"{start[:4].hex() or 'nothing'}, not {magic.hex()}"
            )
        if len(start) < 4 + 4 * dimensions:
            raise InputError(f"{path} ends inside its header; download it again")
        shape = tuple(np.frombuffer(start, ">u4", dimensions, 4).tolist())
        promised, size = prod(shape), "x".join(map(str, shape))
        if promised > MOST_BYTES or shape[0] > MOST_IMAGES:
            raise InputError(
                f"{path} promises {size} bytes; at most {MOST_IMAGES:,} images and {MOST_BYTES:,} "
                "bytes are read, so name the pictures in a .csv file instead"
            )
        # One more than promised tells whether there are more, however many they are.
        content = at_most(file, promised + 1)
    if len(content) != promised:
        held = len(content) if len(content) < promised else f"more than {promised}"
        raise InputError(
            f"{path} holds {held} bytes but its header promises {size}; download it again"
        )
    return np.frombuffer(content, np.uint8).reshape(shape)


def _read(place: str, request: Request, kind: str, inside: str, classes: list[str]) -> ImageData:
    folder, split = split_of(place)
    prefix = "t10k" if split == "test" else "train"
    images_file = find(folder, [inside], f"{prefix}-images-idx3-ubyte", kind)
    labels_file = find(folder, [inside], f"{prefix}-labels-idx1-ubyte", kind)
    images, labels = read_idx(images_file, 3), read_idx(labels_file, 1)
    if not images.size or len(images) != len(labels):
        raise InputError(
            f"{images_file} has {len(images)} images and {labels_file.name} {len(labels)} labels; "
            "there must be as many of both, and at least 1"
        )
    return from_arrays(
        images,
        labels.astype(np.int64),
        [f"{split}/{index:05d}" for index in range(len(images))],
        request,
        name=f"{kind} ({split})",
        class_names=classes,
    )


def mnist(place: str, request: Request) -> ImageData:
    """MNIST from a folder: ``DIR`` its 10,000 test images, ``DIR@train`` the 60,000 others."""
    return _read(place, request, "mnist", "MNIST/raw", DIGITS)


def fashion_mnist(place: str, request: Request) -> ImageData:
    """Fashion-MNIST from a folder: ``DIR`` test, ``DIR@train`` training images."""
    return _read(place, request, "fashion-mnist", "FashionMNIST/raw", FASHION_CLASSES)
