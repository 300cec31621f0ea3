"""One map in a file: .npy, .npz or .png."""

import os
import warnings
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from saliency_audit.data.images import Unreadable, open_picture
from saliency_audit.errors import InputError

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

    def refuse(error: OSError) -> None:
        raise InputError(f"{option}: {error.filename} cannot be read: {error.strerror}")

    found: dict[str, list[Path]] = {}
    for place, folders, files in os.walk(folder, onerror=refuse, followlinks=True):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            if name.lower().endswith(SUFFIXES) and not name.startswith("."):
                path = Path(place) / name
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
        Unreadable: it cannot be read, is no such array, or holds NaN or infinity.
    """
    array = _picture(path) if path.suffix.lower() == ".png" else _array(path)
    with np.errstate(over="ignore"):
        single = array.astype(np.float32)
    if not np.isfinite(single).all():
        raise Unreadable(f"{path.name} holds NaN, infinity or a number beyond 32 bits")
    return single


def _array(path: Path) -> np.ndarray[Any, Any]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # Opened here: NumPy leaves damaged archives open.
            with path.open("rb") as file:
                loaded: Any = np.load(file, allow_pickle=False)
                if isinstance(loaded, np.lib.npyio.NpzFile):
                    with loaded:
                        loaded = loaded[_chosen(path, loaded.files)]
    except Unreadable:
        raise
    except OSError as error:
        raise Unreadable(f"{path.name}: {error.strerror or error}") from error
    except Exception as error:  # damaged files raise nearly anything from inside NumPy
        raise Unreadable(
            f"{path.name} is damaged, or holds objects and no numbers; write it with numpy.save"
        ) from error
    if not isinstance(loaded, np.ndarray) or loaded.dtype.kind not in "biuf":
        kind = loaded.dtype if isinstance(loaded, np.ndarray) else type(loaded).__name__
        raise Unreadable(f"{path.name} holds {kind}; a map is real numbers")
    array = loaded[0] if loaded.ndim == 4 and len(loaded) == 1 else loaded
    if array.ndim not in (2, 3) or not array.size:
        raise Unreadable(f"{path.name} has shape {loaded.shape}; a map is (h, w) or (c, h, w)")
    return array[None] if array.ndim == 2 else array


def _chosen(path: Path, names: list[str]) -> str:
    known = [name for name in ARRAYS if name in names] or names
    if len(known) != 1:
        raise Unreadable(
            f"{path.name} holds {len(names)} arrays ({', '.join(names[:4]) or 'none'}); keep one, "
            "or call it map"
        )
    return known[0]


def _picture(path: Path) -> np.ndarray[Any, Any]:
    with open_picture(path) as image:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                pixels = _deep_colour(path)
                if pixels is None:
                    if image.mode in ("P", "PA"):
                        image = image.convert("RGBA")
                    pixels = np.asarray(image)
        except Exception as error:  # damaged files raise nearly anything from inside Pillow
            raise Unreadable(f"{path.name}: {' '.join(str(error).split())}") from error
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


def _deep_colour(path: Path) -> np.ndarray[Any, Any] | None:
    """Pixels of a PNG with 16 bits a colour, of which Pillow would keep 8; None for others."""
    with path.open("rb") as file:
        start = file.read(26)
    if start[:4] != b"\x89PNG" or start[24] != 16 or start[25] == 0:
        return None
    # Importing torchvision takes seconds, and such files are rare.
    io = import_module("torchvision.io")
    content = torch.frombuffer(bytearray(path.read_bytes()), dtype=torch.uint8)
    decoded: Tensor = io.decode_image(content, io.ImageReadMode.UNCHANGED)
    return decoded.permute(1, 2, 0).numpy()
