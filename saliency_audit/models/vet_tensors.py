"""What a file of tensors declares, read without making a tensor or calling anything it names.

Reading a pickle makes tensors of whatever size it says, and memory for them. So the sizes are
compared with the bytes that are there first. The pickle is read by Python's own reader with every
name in it replaced by a stand-in that only remembers what it was given.
"""

import io
import pickle
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import psutil
import torch

from saliency_audit.errors import InputError
from saliency_audit.models.files import one_line

MOST_REPEATED = 16 * 2**20
"""Bytes that a tensor may have beyond those that are kept for it: one that repeats its values."""
MOST_COMPRESSED = 64 * 2**20
"""Bytes that an archive may unpack to beyond its own."""
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C


@dataclass(frozen=True)
class Declared:
    """A tensor as a file describes it.

    Attributes:
        name: for messages.
        sizes: of its dimensions.
        strides: values to the next, by dimension.
        offset: of its first value.
        width: bytes a value.
        kept: bytes that the file holds for it.
    """

    name: str
    sizes: list[int]
    strides: list[int]
    offset: int
    width: int
    kept: int


def refuse_records(path: Path, reader: Any) -> None:
    """Refuse an archive that unpacks to far more than it is, or with two records of one name.

    torch compresses nothing but code, and looks records up without regard to case.

    Args:
        path: the file.
        reader: its ``torch._C.PyTorchFileReader``.

    Raises:
        InputError: its records are bombs, overlap or hide each other.
    """
    records = reader.get_all_records()
    if len({record.lower() for record in records}) < len(records):
        raise InputError(f"'{path}' holds two records of one name; save the model again")
    unpacked, size = sum(map(reader.get_record_size, records)), path.stat().st_size
    if unpacked > size + MOST_COMPRESSED:
        raise InputError(
            f"'{path}' has {size} bytes and unpacks to {unpacked}; torch keeps weights "
            "uncompressed, so save the model again with it"
        )


def refuse_sizes(path: Path, tensors: Iterable[Declared]) -> None:
    """Refuse tensors that are not in the file, or that this machine cannot hold.

    Args:
        path: the file.
        tensors: what it declares.

    Raises:
        InputError: a tensor reaches beyond the bytes kept for it, or all together are larger than
            the memory that is free.
    """
    total = 0
    for tensor in tensors:
        numbers = (*tensor.sizes, *tensor.strides, tensor.offset)
        if len(tensor.sizes) != len(tensor.strides) or not all(
            type(number) is int and 0 <= number < 2**63 for number in numbers
        ):
            raise InputError(f"'{path}' declares {tensor.name} with sizes that no tensor has")
        needed = prod(tensor.sizes) * tensor.width
        steps = zip(tensor.sizes, tensor.strides, strict=True)
        last = tensor.offset + sum((size - 1) * stride for size, stride in steps)
        end = (last + 1) * tensor.width if needed else 0
        # One without values must not have a size that a network would be built to.
        empty = not needed and prod(max(1, size) for size in tensor.sizes) > MOST_REPEATED
        if end > tensor.kept or needed > tensor.kept + MOST_REPEATED or empty:
            raise InputError(
                f"'{path}' declares {tensor.name} of {_shape(tensor.sizes)}, {max(needed, end)} "
                f"bytes, and holds {tensor.kept} bytes for it; copy or save the file again"
            )
        total += needed
    free = psutil.virtual_memory().available
    if total > free:
        raise InputError(
            f"'{path}' holds tensors of {total / 2**30:.1f} GiB and {free / 2**30:.1f} GiB of "
            "memory are free; load it on a larger machine"
        )


def vet_checkpoint(path: Path) -> None:
    """Refuse a ``torch.save`` file whose tensors are not in it, or are no plain dense numbers.

    Pickled objects are not its concern: what reads the file refuses them.

    Args:
        path: the file, zipped or legacy.

    Raises:
        InputError: the sizes do not fit, or a tensor is sparse, quantised or of a subclass.
    """
    with path.open("rb") as file:
        if file.read(2) == b"PK":
            with archive(path) as reader:
                refuse_records(path, reader)
                vet_pickle(path, reader, "data.pkl")
            return
        file.seek(0)
        _vet_legacy(path, file)


@contextmanager
def archive(path: Path, content: bytes | None = None) -> Iterator[Any]:
    """The reader that torch itself loads archives with, so both see the same records.

    Args:
        path: the file.
        content: of an archive inside the file; None reads the file.

    Raises:
        InputError: it is no archive, or a record is damaged or missing.
    """
    try:
        yield torch._C.PyTorchFileReader(str(path) if content is None else io.BytesIO(content))
    except (RuntimeError, ValueError) as error:
        raise corrupt(path, error) from error


def vet_pickle(
    path: Path,
    reader: Any,
    record: str,
    *,
    names: Callable[[str], bool] = lambda name: True,
    quantised: bool = False,
) -> None:
    """Vet one pickle of an archive and the tensors that it keeps beside it.

    Args:
        path: the file, for the message.
        reader: of the archive.
        record: the pickle; its tensors lie in the folder of its name.
        names: whether it may name a class or function; what reads it next refuses others anyway.
        quantised: whether its tensors may be.

    Raises:
        InputError: as ``vet_checkpoint``, or it names something else.
    """
    folder = record.removesuffix(".pkl")

    def kept(key: str, declared: int) -> int:
        del declared
        return int(reader.get_record_size(f"{folder}/{key}"))

    found = _read(path, io.BytesIO(reader.get_record(record)), kept, quantised=quantised)
    for name in found.names:
        if not names(name):
            raise InputError(
                f"'{path}' names {name[:80]} in {record}, which is no part of a network's weights, "
                "so it was not loaded; give the state dict with --arch"
            )
    refuse_sizes(path, found.tensors)


def _vet_legacy(path: Path, file: Any) -> None:
    """A file of before torch 1.6: pickles one after another, then the values of all tensors."""
    left = path.stat().st_size

    def kept(key: str, declared: int) -> int:
        nonlocal left
        del key
        left -= declared
        return declared if left >= 0 else 0

    tensors: list[Declared] = []
    # A plain pickle is no checkpoint; what reads it says so.
    if _read(path, file, kept).result == _LEGACY_MAGIC:
        for _ in ("version", "system", "tensors"):
            tensors += _read(path, file, kept).tensors
    refuse_sizes(path, tensors)


def _read(
    path: Path, file: Any, kept: Callable[[str, int], int], *, quantised: bool = False
) -> "_Reader":
    reader = _Reader(path, file, kept, quantised=quantised)
    try:
        reader.result = reader.load()
    except InputError:
        raise
    except Exception as error:  # damaged files raise nearly anything from inside pickle
        raise corrupt(path, error) from error
    return reader


def corrupt(path: Path, error: Exception) -> InputError:
    """What is said of a file that breaks off, or is no such file at all."""
    return InputError(f"'{path}' is truncated or corrupt ({one_line(error)}); copy it again")


class _Named:
    """Stands for whatever a pickle names; it remembers what it was called with."""

    name = ""
    given: tuple[Any, ...] = ()

    def __call__(self, *given: Any) -> "_Named":
        return self

    def __setstate__(self, state: Any) -> None:
        del state

    def __setitem__(self, key: Any, value: Any) -> None:
        del key, value

    def append(self, item: Any) -> None:
        """Lists are not looked into."""
        del item

    def extend(self, items: Any) -> None:
        """Lists are not looked into."""
        del items


@dataclass(frozen=True)
class _Storage:
    """The values of tensors: bytes kept, and bytes a value."""

    kept: int
    width: int


# The Python reader: the one in C makes room for as many objects as a pickle numbers.
class _Reader(pickle._Unpickler):
    """Reads a pickle without calling anything that it names."""

    def __init__(
        self, path: Path, file: Any, kept: Callable[[str, int], int], *, quantised: bool
    ) -> None:
        super().__init__(file, encoding="utf-8")
        self.path = path
        self.kept = kept
        self.quantised = quantised
        self.tensors: list[Declared] = []
        self.storages: dict[str, _Storage] = {}
        self.names: dict[str, None] = {}
        self.result: Any = None

    def find_class(self, module: str, name: str) -> type[_Named]:
        of = self

        class Named(_Named):
            def __new__(cls, *given: Any, **named: Any) -> "Named":
                made = object.__new__(cls)
                made.given = given
                of.made(cls.name, given)
                return made

            def __setstate__(self, state: Any) -> None:
                if isinstance(state, tuple) and state and isinstance(state[0], _Storage):
                    of.made("_rebuild_tensor", state)

        Named.name = f"{module}.{name}"
        self.names[Named.name] = None
        return Named

    def persistent_load(self, pid: Any) -> Any:
        if pid[0] == "module":
            return pid[1]
        named, key, count = pid[1], pid[2], pid[4]
        width = _WIDTHS.get(named.name.rpartition(".")[2], 1)
        if type(count) is not int or count < 0:
            raise InputError(f"'{self.path}' declares {count!r:.40} values for a tensor")
        if key not in self.storages:
            self.storages[key] = _Storage(self.kept(str(key), count * width), width)
        storage = self.storages[key]
        if count * width > storage.kept:
            raise InputError(
                f"'{self.path}' declares {count * width} bytes for a tensor and holds "
                f"{storage.kept}; copy or save the file again"
            )
        return storage

    def made(self, name: str, given: tuple[Any, ...]) -> None:
        """Take note of a tensor that the pickle asks to be built.

        Raises:
            InputError: not a plain dense tensor, or one made of nothing but its size.
        """
        function = name.rpartition(".")[2]
        if function == "_rebuild_from_type_v2":
            self.made(given[0].name, given[2])
        elif function in _REBUILD or (function == "_rebuild_qtensor" and self.quantised):
            storage, offset, sizes, strides = given[:4]
            width = _width_of(given[6]) if function == "_rebuild_tensor_v3" else storage.width
            sizes = sizes.given[0] if isinstance(sizes, _Named) else sizes
            self.tensors.append(
                Declared("a tensor", list(sizes), list(strides), offset, width, storage.kept)
            )
        elif function.startswith("_rebuild") and function not in _OF_TENSORS:
            raise InputError(
                f"'{self.path}' holds a tensor that is no plain dense one "
                f"({function.lstrip('_')}); save weights as they are in model.state_dict()"
            )
        elif function.endswith(("Tensor", "Storage", "bytearray")) and any(
            isinstance(size, int) for size in given
        ):
            raise InputError(f"'{self.path}' asks for {function}{given!r:.60} without its values")


_REBUILD = ("_rebuild_tensor", "_rebuild_tensor_v2", "_rebuild_tensor_v3")
_OF_TENSORS = ("_rebuild_parameter", "_rebuild_parameter_with_state")
_WIDTHS = {
    "ComplexDoubleStorage": 16,
    "ComplexFloatStorage": 8,
    "DoubleStorage": 8,
    "LongStorage": 8,
    "FloatStorage": 4,
    "IntStorage": 4,
    "QInt32Storage": 4,
    "BFloat16Storage": 2,
    "HalfStorage": 2,
    "ShortStorage": 2,
}
"""Bytes a value; the others have one."""


def _width_of(dtype: Any) -> int:
    """Bytes a value of what stands for a dtype; the widest for one that is not known."""
    found = getattr(torch, dtype.name.removeprefix("torch."), None)
    return found.itemsize if isinstance(found, torch.dtype) else 16


def _shape(sizes: list[int]) -> str:
    return "x".join(map(str, sizes)) or "one number"
