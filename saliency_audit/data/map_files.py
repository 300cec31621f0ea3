"""One map in a file: .npy, .npz or .png."""

import struct
import warnings
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from saliency_audit.data.array_files import MOST_BYTES, read_array_file
from saliency_audit.data.deep_png import deep_pixels
from saliency_audit.data.images import BYTES_A_PIXEL, Unreadable, open_picture, reason
from saliency_audit.data.walk import files_below
from saliency_audit.errors import InputError
from saliency_audit.regular import why_irregular

SUFFIXES = (".npy", ".npz", ".png")
ARRAYS = ("map", "saliency")
"""Names under which the map is looked for in an archive of several arrays."""

Map = np.ndarray[Any, np.dtype[np.float32]]


def map_files(folder: Path, option: str) -> dict[str, list[Path]]:
    """Files of maps in a folder and the folders in it, by their path without the suffix.

    Hidden files and folders are left out.

    Args:
        folder: where they lie.
        option: that named it, for messages.

    Raises:
        InputError: there is no such folder, it cannot be read, or holds no such file.
    """
    if not folder.is_dir():
        raise InputError(f"{option} {folder}: there is no such folder")
    found: dict[str, list[Path]] = {}
    for path in files_below(folder, option):
        if path.name.lower().endswith(SUFFIXES):
            key = path.relative_to(folder).with_suffix("").as_posix()
            found.setdefault(key, []).append(path)
    if not found:
        raise InputError(f"{option} {folder} holds no maps; put one .npy, .npz or .png an image")
    return found


def only_one(name: str, files: list[Path], option: str) -> Path:
    """The file of an image.

    Raises:
        InputError: there are two.
    """
    if len(files) > 1:
        raise InputError(f"{option}: {name} has two maps, {files[0]} and {files[1]}; keep one")
    return files[0]


def read_map(path: Path) -> Map:
    """The map in a file.

    Pictures are divided by the largest value of their type, and transparency is dropped. The
    colours of a picture are three values a pixel, unless they are equal everywhere; a colour map
    (jet, viridis) is not undone.

    Returns:
        ``(k, h, w)``, finite.

    Raises:
        Unreadable: it cannot be read, is no such array, is far too large, or holds NaN or
            infinity.
    """
    irregular = why_irregular(path)
    if irregular is not None:
        raise Unreadable(f"{path.name} {irregular}")
    try:
        array = _picture(path) if path.suffix.lower() == ".png" else _array(path)
        with np.errstate(over="ignore"):
            single = array.astype(np.float32)
        finite = bool(np.isfinite(single).all())
    except MemoryError as error:
        raise Unreadable(f"{path.name}: {reason(error)}") from error
    if not finite:
        raise Unreadable(f"{path.name} holds NaN, infinity or a number beyond 32 bits")
    return single


def _array(path: Path) -> np.ndarray[Any, Any]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            loaded = read_array_file(path, ARRAYS)
    except (Unreadable, MemoryError):
        raise
    except OSError as error:
        raise Unreadable(f"{path.name}: {error.strerror or error}") from error
    except Exception as error:  # damaged files raise nearly anything from inside NumPy
        raise Unreadable(
            f"{path.name} is damaged, or holds objects and no numbers; write it with numpy.save"
        ) from error
    array = loaded[0] if loaded.ndim == 4 and len(loaded) == 1 else loaded
    if array.ndim not in (2, 3) or not array.size:
        raise Unreadable(f"{path.name} has shape {loaded.shape}; a map is (h, w) or (c, h, w)")
    return array[None] if array.ndim == 2 else array


def _picture(path: Path) -> np.ndarray[Any, Any]:
    with open_picture(path) as image:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                pixels = _deep_colour(path, image)
                if pixels is None:
                    if image.mode in ("P", "PA"):
                        image = image.convert("RGBA")
                    pixels = np.asarray(image)
        except Unreadable:
            raise
        except Exception as error:  # damaged files raise nearly anything from inside Pillow
            raise Unreadable(f"{path.name}: {reason(error)}") from error
    if pixels.dtype.kind == "b":
        pixels = pixels.astype(np.uint8) * 255
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    # The last of two or four channels is transparency.
    pixels = pixels[..., : {2: 1, 4: 3}.get(pixels.shape[2], pixels.shape[2])]
    if (pixels == pixels[..., :1]).all():
        pixels = pixels[..., :1]
    deep = pixels.dtype.itemsize > 1
    return pixels.transpose(2, 0, 1) / (65535 if deep else 255)


def _deep_colour(path: Path, image: Image.Image) -> np.ndarray[Any, Any] | None:
    """Pixels of a PNG with 16 bits a colour, of which Pillow would keep 8; None for others."""
    with path.open("rb") as file:
        start = file.read(26)
    if image.format != "PNG" or start[24] != 16 or start[25] == 0:
        return None
    # Pillow takes the last of several headers, and has found the size of that sane.
    size = struct.unpack(">II", start[16:24])
    if size != image.size:
        raise Unreadable(
            f"{path.name} has two sizes, {size[0]}x{size[1]} and another; save it anew"
        )
    if prod(size) * BYTES_A_PIXEL > MOST_BYTES:
        raise Unreadable(
            f"{path.name} has {size[0]}x{size[1]} pixels of 16 bits a colour; a map has at most "
            f"{MOST_BYTES // BYTES_A_PIXEL:,}"
        )
    return deep_pixels(path.read_bytes())
