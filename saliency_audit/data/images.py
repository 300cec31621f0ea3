"""Decode one picture and bring it to the model's input size."""

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, TiffImagePlugin, UnidentifiedImageError
from torch import Tensor

from saliency_audit.errors import InputError
from saliency_audit.regular import why_irregular

EXTENSIONS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")
"""What counts as a picture in a folder: torchvision's list."""

FORMATS = (
    "AVIF", "BMP", "DIB", "GIF", "JPEG", "JPEG2000", "MPO", "PNG", "PPM", "TGA", "TIFF", "WEBP",
)  # fmt: skip
"""What is read, by its content. Pillow knows more: EPS starts another program, and FITS may be
packed without bound."""

BYTES_A_PIXEL = 8
"""Of no larger picture than 16 bits in four channels."""

LONGEST = 300
"""Characters of a reason."""

GREY_MODES = frozenset({"1", "L", "LA", "La", "I", "F"})


class Unreadable(Exception):
    """One picture cannot be decoded. Its message is one line and names no path."""


def is_grey(image: Image.Image) -> bool:
    """Whether the file stores one brightness per pixel (by its mode, not by its content)."""
    return image.mode in GREY_MODES or image.mode.startswith("I;16")


def open_picture(path: Path) -> Image.Image:
    """Open a picture and read its header; the pixels are read when they are needed.

    Raises:
        Unreadable: missing, no regular file, no picture, or more pixels or bytes than sane.
    """
    irregular = why_irregular(path)
    if irregular is not None:
        raise Unreadable(irregular)
    try:
        _check_bytes(path.stat().st_size)
        with warnings.catch_warnings():
            # Odd metadata is not the user's concern, but a decompression bomb is.
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            Image.init()
            image = Image.open(path, formats=[name for name in FORMATS if name in Image.OPEN])
    except Unreadable:
        raise
    except Exception as error:  # damaged files raise nearly anything from inside Pillow
        raise Unreadable(reason(error)) from error
    try:
        _check_tiles(image)
    except Exception as error:
        image.close()
        raise error if isinstance(error, Unreadable) else Unreadable(reason(error)) from error
    return image


def _check_bytes(size: int) -> None:
    """Refuse a file that no picture of a sane size fills: its comments are read into memory."""
    pixels = Image.MAX_IMAGE_PIXELS
    limit = size if pixels is None else pixels * BYTES_A_PIXEL + (1 << 20)
    if size > limit:
        raise Unreadable(f"the file has {size:,} bytes; a picture has at most {limit:,}")


def _check_tiles(image: Image.Image) -> None:
    """Refuse a TIFF whose tiles are far larger than itself: each is unpacked as a whole."""
    if not isinstance(image, TiffImagePlugin.TiffImageFile):
        return
    wide, high = (image.tag_v2.get(tag, 1) for tag in (322, 323))
    limit = Image.MAX_IMAGE_PIXELS
    if limit is not None and not wide * high <= limit:
        raise Unreadable(f"its tiles are {wide}x{high} pixels; a tile has at most {limit:,}")


def reason(error: Exception) -> str:
    r"""Why something could not be read, in one line that names no path.

    >>> reason(MemoryError()), reason(ValueError("not\na picture"))
    ('not enough memory', 'not a picture')
    """
    if isinstance(error, UnidentifiedImageError):
        return "not a picture, or of a kind that is not read"
    if isinstance(error, MemoryError):
        return "not enough memory"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return clipped(str(error)) or type(error).__name__


def clipped(text: str) -> str:
    r"""One line of a text out of a file, which may be long.

    >>> clipped("a\n b"), len(clipped("a" * 1000))
    ('a b', 300)
    """
    line = " ".join(text[: 4 * LONGEST].split())
    return line if len(line) <= LONGEST else line[: LONGEST - 3] + "..."


@dataclass(frozen=True)
class Preparation:
    """Picture in, ``(c, h, w)`` in [0, 1] out.

    A picture of exactly h x w is used untouched. Any other is scaled, keeping its proportions,
    until it just covers the model's h x w enlarged to have a shorter side of ``resize``, and is
    cropped to h x w at its centre; for a square input that is "shorter side to ``resize``, then
    crop". Scaling is Pillow's bilinear on 8-bit pixels, which is antialiased. As in torchvision,
    EXIF orientation is ignored and transparency is dropped, not blended.

    Attributes:
        input_shape: ``(c, h, w)`` of the model's input; c is 1 or 3.
        resize: pixels; None means the shorter side of the input times 256/224, rounded.
    """

    input_shape: tuple[int, int, int]
    resize: int | None = None

    def __post_init__(self) -> None:
        channels, height, width = self.input_shape
        if channels not in (1, 3):
            raise InputError(
                f"the model takes {channels} channels; pictures have 1 or 3, set --channels"
            )
        if self.resize is not None and self.resize < min(height, width):
            raise InputError(
                f"--resize {self.resize} is smaller than the model's input of {height}x{width}; "
                f"give at least {min(height, width)}"
            )

    def __call__(self, image: Image.Image) -> Tensor:
        """Pixels of one picture.

        Returns:
            ``(c, h, w)`` float32 in [0, 1].

        Raises:
            Unreadable: the pixels cannot be decoded, or the picture is a sliver.
        """
        channels, height, width = self.input_shape
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                image = _eight_bit(image, channels)
        except Unreadable:
            raise
        except Exception as error:  # damaged files raise nearly anything from inside Pillow
            raise Unreadable(reason(error)) from error
        if image.size != (width, height):
            image = self.fit(image)
        return as_tensor(np.array(image))

    def fit(self, image: Image.Image) -> Image.Image:
        """The picture with its shorter side resized and its centre cut out, in its own mode."""
        _, height, width = self.input_shape
        short = min(height, width)
        resize = self.resize if self.resize is not None else round(short * 256 / 224)
        high, wide = round(height * resize / short), round(width * resize / short)
        # Whole numbers, so that the side which is not fixed never rounds below the crop.
        if image.width * high < image.height * wide:
            size = wide, wide * image.height // image.width
        else:
            size = high * image.width // image.height, high
        limit = Image.MAX_IMAGE_PIXELS
        if limit is not None and size[0] * size[1] > limit:
            raise Unreadable(
                f"{image.width}x{image.height} is too narrow: scaled it would be "
                f"{size[0]}x{size[1]}"
            )
        left, top = round((size[0] - width) / 2), round((size[1] - height) / 2)
        scaled = image if image.size == size else image.resize(size, Image.Resampling.BILINEAR)
        return scaled.crop((left, top, left + width, top + height))


def as_tensor(pixels: np.ndarray[Any, np.dtype[np.uint8]]) -> Tensor:
    """8-bit pixels ``(h, w)`` or ``(h, w, 3)`` as ``(c, h, w)`` float32 in [0, 1]."""
    channels_last = torch.from_numpy(pixels).view(*pixels.shape[:2], -1)
    return channels_last.permute(2, 0, 1).contiguous().float() / 255


def _eight_bit(image: Image.Image, channels: int) -> Image.Image:
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PPM"):
        # Pillow's own conversion would clip 16-bit values at 255.
        image = Image.fromarray(np.rint(np.asarray(image) / 257).astype(np.uint8))
    elif image.mode in ("I", "F"):
        raise Unreadable("32-bit pixels have no known range; save it with 8 or 16 bits")
    elif image.mode == "P":
        image = image.convert("RGBA")
    return image.convert("L" if channels == 1 else "RGB")


def colours_fit(*, grey: bool, input_shape: tuple[int, int, int], example: str) -> None:
    """Refuse colour pictures for a grey model, and the reverse.

    Args:
        grey: whether the pictures are grey.
        input_shape: of the model.
        example: a picture, or the whole data set, for the message.

    Raises:
        InputError: they do not match.
    """
    if grey == (input_shape[0] == 1):
        return
    have, take, channels = ("grey", "colour", 1) if grey else ("colour", "grey", 3)
    raise InputError(
        f"--data has {have} images ({example}) but the model takes {take} ones; convert the "
        f"images, or use --channels {channels} with a model that takes {channels}"
    )
