"""Pixels of a PNG with 16 bits a colour, of which Pillow would keep 8.

The bytes of a line are filtered against those of the pixel before and of the line above, each
against the same byte of its colour. So every byte of a pixel is a grey picture of 8 bits for
itself, with the same filters, and Pillow reads that. (libpng by way of torchvision ends the whole
process where a file is damaged.)
"""

import struct
import zlib
from collections.abc import Iterator
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image

SIGNATURE = b"\x89PNG\r\n\x1a\n"
CHANNELS = {2: 3, 4: 2, 6: 4}
"""Of the colour types that may have 16 bits a colour, and are not grey."""

WHOLE = ((0, 0, 1, 1),)
PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2),
          (0, 1, 1, 2))  # fmt: skip
"""Of an interlaced picture: first column and row, then the steps to the next."""

Bytes = np.ndarray[Any, np.dtype[np.uint8]]
Deep = np.ndarray[Any, np.dtype[np.uint16]]


def deep_pixels(content: bytes) -> Deep:
    """The pixels, ``(h, w, c)``.

    Args:
        content: of a file whose size has been found sane.

    Raises:
        ValueError: it is damaged; nothing is unpacked beyond the size that its header says.

    >>> deep_pixels(SIGNATURE)
    Traceback (most recent call last):
    ...
    ValueError: it ends before its pixels do
    """
    if not content.startswith(SIGNATURE):
        raise ValueError("it is no PNG")
    header, packed = b"", []
    for kind, body in _chunks(content):
        if kind == b"IHDR" and not header:
            header = body
        elif kind == b"IDAT":
            packed.append(body)
    if len(header) != 13:
        raise ValueError("it ends before its pixels do")
    width, height, bits, colour, packing, filters, interlaced = struct.unpack(">IIBBBBB", header)
    if (bits, packing, filters) != (16, 0, 0) or colour not in CHANNELS or interlaced > 1:
        raise ValueError("its header is of no PNG of 16 bits a colour")
    step = 2 * CHANNELS[colour]
    pixels = np.empty((height, width, step), np.uint8)
    parts = [
        pixels[row::down, column::across]
        for column, row, across, down in (PASSES if interlaced else WHOLE)
    ]
    parts = [part for part in parts if part.size]
    size = sum(part.size + len(part) for part in parts)
    lines = np.frombuffer(zlib.decompressobj().decompress(b"".join(packed), size), np.uint8)
    if len(lines) != size:
        raise ValueError("it ends before its pixels do")
    for part in parts:
        own, lines = lines[: part.size + len(part)], lines[part.size + len(part) :]
        _unfilter(own.reshape(len(part), -1), part)
    return pixels.view(">u2").astype(np.uint16)


def _unfilter(lines: Bytes, into: Bytes) -> None:
    """Undo the filters of lines, ``(h, 1 + w * step)``, into ``(h, w, step)``."""
    high, wide, step = into.shape
    header = struct.pack(">IIBBBBB", wide, high, 8, 0, 0, 0, 0)
    for byte in range(step):
        plane = np.concatenate([lines[:, :1], lines[:, 1 + byte :: step]], 1)
        chunks = (b"IHDR", header), (b"IDAT", zlib.compress(plane.tobytes(), 0)), (b"IEND", b"")
        content = SIGNATURE + b"".join(_chunk(kind, body) for kind, body in chunks)
        with Image.open(BytesIO(content), formats=["PNG"]) as image:
            into[:, :, byte] = np.asarray(image)


def _chunks(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Kinds and bodies of the chunks that are there as a whole."""
    start = len(SIGNATURE)
    while start + 12 <= len(content):
        (length,) = struct.unpack_from(">I", content, start)
        kind, body = content[start + 4 : start + 8], content[start + 8 : start + 8 + length]
        check = content[start + 8 + length : start + 12 + length]
        # Of what is not looked into, damage does not matter.
        if kind in (b"IHDR", b"IDAT") and check != struct.pack(">I", zlib.crc32(kind + body)):
            raise ValueError("its check sum is not that of its pixels")
        yield kind, body
        start += 12 + length


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
