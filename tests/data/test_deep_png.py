"""PNGs of 16 bits a colour, written here by hand; libpng is an oracle where files are whole."""

import struct
import warnings
import zlib
from itertools import pairwise

import numpy as np
import pytest
import torch
from torchvision.io import ImageReadMode, decode_image

from saliency_audit.data.deep_png import CHANNELS, PASSES, deep_pixels
from saliency_audit.data.images import Unreadable
from saliency_audit.data.map_files import read_map
from tests.hostile import png_chunk

RNG = np.random.default_rng(0)


def build(pixels, *, colour=2, interlaced=0, cut=0, filters=0, extra=(), split=1):
    """A PNG, by hand."""
    height, width, _ = pixels.shape
    header = struct.pack(">IIBBBBB", width, height, 16, colour, 0, 0, interlaced)
    passes = PASSES if interlaced else ((0, 0, 1, 1),)
    lines = b"".join(
        bytes([filters]) + line.astype(">u2").tobytes()
        for column, row, across, down in passes
        for line in pixels[row::down, column::across]
        if line.size
    )
    packed = zlib.compress(lines[: len(lines) - cut])
    bounds = np.linspace(0, len(packed), split + 1).astype(int)
    chunks = [
        png_chunk(b"IHDR", header),
        *extra,
        *(png_chunk(b"IDAT", packed[a:b]) for a, b in pairwise(bounds)),
        png_chunk(b"IEND", b""),
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def noise(height, width, channels):
    return RNG.integers(0, 65536, (height, width, channels), dtype=np.uint16)


def decoded(content):
    buffer = torch.frombuffer(bytearray(content), dtype=torch.uint8)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it is deprecated since torchvision 0.29
        return decode_image(buffer, ImageReadMode.UNCHANGED).permute(1, 2, 0).numpy()


@pytest.mark.parametrize("colour", CHANNELS)
@pytest.mark.parametrize("interlaced", [0, 1])
@pytest.mark.parametrize("size", [(6, 8), (1, 1), (1, 9), (13, 3)])
def test_the_pixels_stay_the_same(colour, interlaced, size):
    pixels = noise(*size, CHANNELS[colour])
    content = build(pixels, colour=colour, interlaced=interlaced, split=3)
    assert np.array_equal(deep_pixels(content), pixels)
    assert np.array_equal(decoded(content), pixels)


@pytest.mark.parametrize("filters", range(5))
def test_filtered_lines_stay_the_same(filters):
    content = build(noise(5, 7, 3), filters=filters)
    assert np.array_equal(deep_pixels(content), decoded(content))


def test_what_is_not_looked_into_may_be_damaged():
    pixels = noise(3, 4, 3)
    odd = [png_chunk(b"tEXt", b"no end of key"), png_chunk(b"tIME", b"?")[:-1] + b"?"]
    assert np.array_equal(deep_pixels(build(pixels, extra=odd)), pixels)


GOOD = build(noise(6, 8, 3))
DAMAGED = {
    "cut": (build(noise(6, 8, 3), cut=9), "it ends before its pixels do"),
    "filter": (build(noise(6, 8, 3), filters=5), "unrecognized data stream"),
    "sum": (GOOD[:50] + bytes([GOOD[50] ^ 1]) + GOOD[51:], "its check sum is not that of its"),
    "file": (GOOD[:-60], "its check sum is not that of its pixels"),
}


@pytest.mark.parametrize("case", DAMAGED)
def test_damage_is_told_and_does_not_end_the_process(tmp_path, case):
    content, message = DAMAGED[case]
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(Unreadable, match=f"a.png: .*{message}"):
        read_map(tmp_path / "a.png")


def test_any_byte_may_be_damaged(tmp_path):
    told = 0
    for place in range(8, len(GOOD), 3):
        (tmp_path / "a.png").write_bytes(
            GOOD[:place] + bytes([GOOD[place] ^ 1]) + GOOD[place + 1 :]
        )
        try:
            assert read_map(tmp_path / "a.png").shape[1:] == (6, 8)
        except Unreadable:
            told += 1
    assert told > 100  # of 117; the end is not looked at
