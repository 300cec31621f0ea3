"""CIFAR-10 in its python (pickled) and its binary form."""

import io
import pickle
import pickletools
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from saliency_audit.data.arrays import Pixels, at_most, find, from_arrays, opened, split_of
from saliency_audit.data.dataset import ImageData, Labels
from saliency_audit.data.request import Request
from saliency_audit.errors import InputError

CLASSES = [
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
]
INSIDE = ["cifar-10-batches-py", "cifar-10-batches-bin"]
RECORD = 1 + 3 * 32 * 32

MOST_BYTES = 1 << 28
"""Of one file, unpacked."""

MOST_STEPS = 1_000_000
"""Of one pickle; the published ones take some 40,000."""


class _Refused(Exception):
    """A pickle names something that is not needed to hold arrays."""


class _Dtype:
    """A kind of numbers; numpy's own would take any state that a file gives it."""

    def __init__(self, name: str | bytes, *rest: Any) -> None:
        del rest
        self.name = name.decode() if isinstance(name, bytes) else name
        if not re.fullmatch(r"[biuf]\d{1,2}", self.name):
            raise _Refused(f"numbers of the kind {self.name[:20]}")
        self.order = "="

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        order = state[1]
        self.order = order.decode() if isinstance(order, bytes) else order

    def numpy(self) -> np.dtype[Any]:
        """The kind as numpy has it."""
        return np.dtype(self.name).newbyteorder(self.order)  # type: ignore[arg-type]


class _Array:
    """An array whose bytes come later; numpy's own would be as large as the file says."""

    array: np.ndarray[Any, Any]

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        shape, dtype, fortran, content = state[-4:]
        self.array = _frombuffer(content, dtype, shape, "F" if fortran else "C").array


def _ndarray(*arguments: Any) -> None:
    """Stands for the type where `_reconstruct` is told it."""
    raise _Refused("numpy.ndarray by itself")


def _reconstruct(*arguments: Any) -> _Array:
    del arguments
    return _Array()


def _frombuffer(buffer: Any, dtype: _Dtype, shape: Any, order: Any) -> _Array:
    made = _Array()
    made.array = np.frombuffer(buffer, dtype.numpy()).reshape(shape, order=order)
    return made


def _encode(text: str, codec: str) -> bytes:
    # Python 3 writes bytes so in the old pickle protocols, and never with another codec.
    if codec != "latin1":
        raise _Refused(f"the codec {codec}")
    return text.encode("latin1")


# Own stand-ins for the functions that numpy 1 and 2, under Python 2 and 3, name in a pickle.
ALLOWED: dict[tuple[str, str], Callable[..., Any]] = {
    ("numpy", "ndarray"): _ndarray,
    ("numpy", "dtype"): _Dtype,
    ("_codecs", "encode"): _encode,
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy.core.numeric", "_frombuffer"): _frombuffer,
    ("numpy._core.numeric", "_frombuffer"): _frombuffer,
}


class _ArraysOnly(pickle.Unpickler):
    """Unpickles plain values and numpy arrays; whatever else a file asks for is not run."""

    def find_class(self, module: str, name: str) -> Callable[..., Any]:
        if (module, name) not in ALLOWED:
            raise _Refused(f"{module}.{name}")
        return ALLOWED[module, name]


def _check_steps(content: bytes) -> None:
    """Refuse a pickle whose few bytes would make it remember, or do, very much."""
    for step, (code, argument, _) in enumerate(pickletools.genops(content)):
        if step > MOST_STEPS:
            raise _Refused(f"more than {MOST_STEPS:,} steps")
        # Memory is reserved up to the largest place, even of a single thing.
        if "PUT" in code.name and isinstance(argument, int) and argument > step:
            raise _Refused(f"a memory of {argument:,} places for {step} things")


def _whole_numbers(labels: Any) -> np.ndarray[Any, Any]:
    if isinstance(labels, _Array):
        return labels.array
    # Lists of one list over and over would be an array of any size.
    if not isinstance(labels, list) or not all(type(label) is int for label in labels):
        raise ValueError("its labels are no list of whole numbers")
    return np.asarray(labels)


def _python_batch(path: Path, content: bytes) -> tuple[Pixels, Labels]:
    try:
        _check_steps(content)
        batch = _ArraysOnly(io.BytesIO(content), encoding="bytes").load()
        fields = {key.decode() if isinstance(key, bytes) else key: batch[key] for key in batch}
        images, labels = fields["data"].array, _whole_numbers(fields["labels"])
        if images.dtype != np.uint8 or labels.dtype.kind != "i":
            raise ValueError(f"images are {images.dtype} and labels {labels.dtype}")
        return images.reshape(-1, RECORD - 1), labels.astype(np.int64)
    except _Refused as error:
        raise InputError(
            f"{path} is refused: opening it would use {error}, which no CIFAR-10 batch needs; "
            "nothing was run. Download it from its source, or use the binary version"
        ) from error
    except Exception as error:  # a damaged pickle raises nearly anything
        reason = " ".join(str(error).split())[:100] or type(error).__name__
        raise InputError(f"{path} is no CIFAR-10 batch ({reason}); download it again") from error


def _binary_batch(path: Path, content: bytes) -> tuple[Pixels, Labels]:
    if len(content) % RECORD:
        raise InputError(
            f"{path} has {len(content)} bytes, not a multiple of {RECORD}; download it again"
        )
    records = np.frombuffer(content, np.uint8).reshape(-1, RECORD)
    return records[:, 1:], records[:, 0].astype(np.int64)


def read_batch(path: Path) -> tuple[Pixels, Labels]:
    """One CIFAR-10 file, without running anything it may contain.

    Args:
        path: binary if its name has ``.bin``, else pickled; gzipped if it ends in ``.gz``.

    Returns:
        Images ``(n, 32, 32, 3)`` and labels ``(n,)``.

    Raises:
        InputError: damaged, not CIFAR-10, or a pickle that asks for more than arrays.
    """
    parse = _binary_batch if ".bin" in path.suffixes else _python_batch
    with opened(path) as file:
        content = at_most(file, MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise InputError(f"{path} holds more than {MOST_BYTES:,} bytes; CIFAR-10 has 31 million")
    images, labels = parse(path, content)
    if not len(labels) or images.shape[0] != len(labels) or not np.isin(labels, range(10)).all():
        raise InputError(
            f"{path} has {images.shape[0]} images and {len(labels)} labels; CIFAR-10 has as many "
            "labels as images, from 0 to 9"
        )
    return np.ascontiguousarray(images.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)), labels


def cifar10(place: str, request: Request) -> ImageData:
    """CIFAR-10 from a folder: ``DIR`` its test images, ``DIR@train`` its five training batches."""
    folder, split = split_of(place)
    stems = ["test_batch"] if split == "test" else [f"data_batch_{i}" for i in range(1, 6)]
    try:
        files = [find(folder, INSIDE, f"{stem}.bin", "cifar10") for stem in stems]
    except InputError:
        files = [find(folder, INSIDE, stem, "cifar10") for stem in stems]
    images, labels = zip(*(read_batch(file) for file in files), strict=True)
    merged = np.concatenate(labels)
    return from_arrays(
        np.concatenate(images),
        merged,
        [f"{split}/{index:05d}" for index in range(len(merged))],
        request,
        name=f"cifar10 ({split})",
        class_names=CLASSES,
    )
