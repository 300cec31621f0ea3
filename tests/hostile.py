"""Files that would hang a run, fill its memory or end it, were they only opened."""

import gzip
import os
import socket
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np
from PIL import Image


def png_chunk(kind: bytes, content: bytes) -> bytes:
    check = struct.pack(">I", zlib.crc32(kind + content))
    return struct.pack(">I", len(content)) + kind + content + check


def png(path: Path, width: int, height: int, *, bits: int = 8, colour: int = 0, extra=()) -> None:
    """A PNG that declares its size, with extra chunks, and hardly any pixels."""
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    body = zlib.compress(bytes(64))
    chunks = [png_chunk(b"IHDR", header), *extra, png_chunk(b"IDAT", body), png_chunk(b"IEND", b"")]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunks))


def pipe(path: Path) -> None:
    os.mkfifo(path)


def endless(path: Path) -> None:
    path.symlink_to("/dev/zero")


def plugged(path: Path) -> None:
    here = Path.cwd()
    os.chdir(path.parent)  # the name of a socket may have some 100 letters
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(path.name)
    finally:
        os.chdir(here)


def directory(path: Path) -> None:
    path.mkdir()


IRREGULAR = {
    pipe: "is a pipe, not a regular file",
    endless: "is a character device, not a regular file",
    plugged: "is a socket, not a regular file",
    directory: "is a folder, not a regular file",
}
"""What makes it, and what is said of it."""


def sparse(path: Path, size: int, start: bytes = b"") -> None:
    """A file that says it is large and takes no room."""
    with path.open("wb") as file:
        file.write(start)
        file.truncate(size)


def png_bomb(path: Path) -> None:
    png(path, 60_000, 60_000)


def png_deep_bomb(path: Path) -> None:
    png(path, 9_000, 9_000, bits=16, colour=2)


def png_two_headers(path: Path) -> None:
    """Pillow believes the last header, libpng the first."""
    small = struct.pack(">IIBBBBB", 6, 6, 16, 2, 0, 0, 0)
    png(path, 60_000, 60_000, bits=16, colour=2, extra=[png_chunk(b"IHDR", small)])


def png_text_bomb(path: Path) -> None:
    text = b"comment\0\0" + zlib.compress(bytes(5_000_000))
    png(path, 8, 8, extra=[png_chunk(b"zTXt", text)])


def png_of_gigabytes(path: Path) -> None:
    png(path, 8, 8)
    start = path.read_bytes()[:33]
    sparse(path, 2 << 30, start + struct.pack(">I", (2 << 30) - 100) + b"tEXt")


def tiff_tile_bomb(path: Path) -> None:
    """One tile of 2**31 bytes for a picture of 8x8."""
    tags = [(256, 8), (257, 8), (258, 8), (259, 8), (262, 1), (277, 1)]
    tags += [(322, 32768), (323, 65536), (324, 200), (325, 16)]
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    directory_ = struct.pack("<H", len(tags)) + entries + bytes(4)
    file = b"II*\0" + struct.pack("<I", 8) + directory_
    path.write_bytes(file.ljust(200, b"\0") + zlib.compress(bytes(64)))


def eps(path: Path) -> None:
    """Pillow would start Ghostscript on it."""
    path.write_bytes(
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n%%EOF\n"
    )


def npy_header(shape: str, descr: str = "'<f4'") -> bytes:
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text


def npy_that_lies(path: Path) -> None:
    path.write_bytes(npy_header("(1000000, 1000000)") + bytes(64))


def npy_cut_short(path: Path) -> None:
    path.write_bytes(npy_header("(4000, 4000)") + bytes(64))


def npy_deep_header(path: Path) -> None:
    path.write_bytes(npy_header("-" * 9000 + "1"))


def npy_large_header(path: Path) -> None:
    path.write_bytes(b"\x93NUMPY\x02\x00" + struct.pack("<I", 3 << 20) + b" " * (3 << 20))


def npy_of_gigabytes(path: Path) -> None:
    sparse(path, (4 << 30) + 128, npy_header("(32768, 32768)"))


def npz_bomb(path: Path) -> None:
    """1 GiB of zeros in a megabyte."""
    header, block = npy_header("(16384, 16384)"), bytes(1 << 20)
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = packer.compress(header) + packer.compress(bytes(len(block) - len(header)))
    # Any block of zeros packs into the same bytes, so that it need be packed once.
    packed += packer.flush(zlib.Z_FULL_FLUSH)
    once = packer.compress(block) + packer.flush(zlib.Z_FULL_FLUSH)
    packed += once * 1023 + packer.flush()
    write_member(path, packed, size=1 << 30)


def npz_that_lies(path: Path) -> None:
    """Its directory promises 200 bytes, and there are many more."""
    inside = npy_header("(4096, 4096)") + bytes(4 * 4096 * 4096)
    packer = zlib.compressobj(1, zlib.DEFLATED, -15)
    write_member(path, packer.compress(inside) + packer.flush(), size=200)


def npz_of_another_packing(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_BZIP2) as archive:
        archive.writestr("map.npy", npy_header("(2, 2)") + bytes(16))


def npz_of_many(path: Path) -> None:
    """A directory of 30,000 members."""
    central = b"PK\x01\x02" + bytes(24) + struct.pack("<H", 1) + bytes(16) + b"a"
    many = central * 30_000
    path.write_bytes(
        b"PK\x03\x04" + many
        + b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, 30_000, 30_000, len(many), 4, 0)
    )  # fmt: skip


def write_member(path: Path, packed: bytes, *, size: int) -> None:
    """A zip of one packed member whose size is what is said."""
    name = b"map.npy"
    about = struct.pack("<HHHHHIII", 20, 0, 8, 0, 0, 0, len(packed), size)
    local = b"PK\x03\x04" + about + struct.pack("<HH", len(name), 0) + name + packed
    central = (
        b"PK\x01\x02" + struct.pack("<H", 20) + about
        + struct.pack("<HHHHHII", len(name), 0, 0, 0, 0, 0, 0) + name
    )  # fmt: skip
    end = b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, 1, 1, len(central), len(local), 0)
    path.write_bytes(local + central + end)


def gz_of_zeros(path: Path, start: bytes, size: int) -> None:
    """Gzipped ``start`` and zeros, ``size`` bytes in all, made without packing them all."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    packed = packer.compress(start) + packer.flush(zlib.Z_FULL_FLUSH)
    block = bytes(1 << 20)
    once = packer.compress(block) + packer.flush(zlib.Z_FULL_FLUSH)
    path.write_bytes(packed + once * ((size - len(start)) >> 20) + packer.flush())


def picture(path: Path, size: int = 8, value: int = 90) -> None:
    Image.fromarray(np.full((size, size), value, np.uint8)).save(path)


def gzipped(path: Path, content: bytes) -> None:
    path.write_bytes(gzip.compress(content))
