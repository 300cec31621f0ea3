"""Arrays out of .npy and .npz files, whose size is known and sane before they are read."""

import struct
import zipfile
from math import prod
from pathlib import Path
from typing import IO, Any

import numpy as np

from saliency_audit.data.images import Unreadable, clipped

MOST_BYTES = 1 << 29
"""Of one array: 8192x8192 numbers of 64 bits."""

MOST_HEADER = 10_000
"""Bytes of a header; NumPy reads no longer one either."""

MOST_DIRECTORY = 1 << 20
"""Bytes of the directory of an archive; some 10,000 arrays."""

Array = np.ndarray[Any, Any]


def read_array_file(path: Path, preferred: tuple[str, ...]) -> Array:
    """The real numbers in a file; of several arrays, the one of a preferred name.

    Args:
        path: .npy or .npz, told apart by the content.
        preferred: names of arrays.

    Raises:
        Unreadable: none, several, no real numbers, or more than ``MOST_BYTES``.
        Exception: nearly any, where the file is damaged.
    """
    size = path.stat().st_size
    if size > MOST_BYTES + MOST_DIRECTORY:
        raise Unreadable(f"{path.name} has {size:,} bytes; a map has at most {MOST_BYTES:,}")
    with path.open("rb") as file:
        start = file.read(2)
        file.seek(0)
        if start != b"PK":
            return _read(file, size, path.name)
        _check_directory(file, size, path.name)
        with zipfile.ZipFile(file) as archive:
            member = _chosen(archive, preferred, path.name)
            # What is unpacked ends where the directory says, though that may be a lie.
            if member.file_size > MOST_BYTES + MOST_HEADER:
                raise Unreadable(
                    f"{path.name} unpacks to {member.file_size:,} bytes; a map has at most "
                    f"{MOST_BYTES:,}"
                )
            with archive.open(member) as inside:
                return _read(inside, member.file_size, path.name)


def _check_directory(file: IO[bytes], size: int, name: str) -> None:
    """Refuse an archive of very many members, before each of them is an object in memory."""
    file.seek(max(0, size - (1 << 16) - 22))
    tail = file.read()
    file.seek(0)
    alone = tail[-22:]  # where no comment follows
    end = alone if alone[:4] == b"PK\5\6" and alone[-2:] == b"\0\0" else None
    if end is None:
        at = tail.rfind(b"PK\5\6")
        end = tail[at : at + 22] if at >= 0 else b""
    if len(end) < 22:
        raise zipfile.BadZipFile("no directory")
    (length,) = struct.unpack("<I", end[12:16])
    # A second directory of 64-bit sizes is for what is larger than a map may be.
    if length > MOST_DIRECTORY or b"PK\6\7" in tail:
        raise Unreadable(f"{name} holds very many arrays; keep one, or call it map")


def _chosen(archive: zipfile.ZipFile, preferred: tuple[str, ...], name: str) -> zipfile.ZipInfo:
    members = [(info.filename.removesuffix(".npy"), info) for info in archive.infolist()]
    names = [called for called, _ in members]
    known = [one for one in preferred if one in names] or names
    if len(known) != 1:
        some = ", ".join(clipped(one) for one in names[:4]) or "none"
        raise Unreadable(f"{name} holds {len(names)} arrays ({some}); keep one, or call it map")
    member = dict(members)[known[0]]
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise Unreadable(f"{name} is packed in a way that NumPy does not write; write it anew")
    return member


def _read(file: IO[bytes], size: int, name: str) -> Array:
    """The array at the start of a file of ``size`` bytes."""
    start = file.read(12)
    version = start[6:8]
    if start[:6] != b"\x93NUMPY" or version not in (b"\1\0", b"\2\0"):
        raise ValueError("no array of numbers")
    (length,) = struct.unpack_from("<H" if version == b"\1\0" else "<I", start, 8)
    if length > MOST_HEADER:
        raise Unreadable(f"{name} has a header of {length:,} bytes; write it with numpy.save")
    file.seek(0)
    np.lib.format.read_magic(file)
    header = np.lib.format.read_array_header_1_0, np.lib.format.read_array_header_2_0
    try:
        shape, _, dtype = header[version[0] - 1](file)
    except MemoryError as error:  # of Python's parser, where it is nested too deeply
        raise ValueError("a header of another kind") from error
    if dtype.hasobject:
        raise ValueError("pickled")
    if dtype.kind not in "biuf":
        raise Unreadable(f"{name} holds {clipped(str(dtype))}; a map is real numbers")
    numbers = prod(shape)
    if len(shape) > 4 or numbers * dtype.itemsize > MOST_BYTES:
        raise Unreadable(
            f"{name} has shape {clipped(str(shape))} of {dtype}; a map is (h, w) or (c, h, w), "
            f"of at most {MOST_BYTES:,} bytes"
        )
    if min(shape, default=1) < 0 or file.tell() + numbers * dtype.itemsize > size:
        raise ValueError("less than its header promises")
    file.seek(0)
    array: Array = np.lib.format.read_array(file, allow_pickle=False)
    return array
