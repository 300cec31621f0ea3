"""The picture that maps are forged into."""

from hashlib import sha256
from pathlib import Path

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from saliency_audit.assets import picture_path
from saliency_audit.errors import InputError


def load_picture(path: Path | None, size: tuple[int, int], *, option: str = "--picture") -> Tensor:
    """Read a picture as brightness, shrunk or grown to the model's input.

    Args:
        path: any image file; None means the bundled one.
        size: height and width in pixels.
        option: what the user calls it.

    Returns:
        ``(h, w)`` in [0, 1], its largest value 1.

    Raises:
        InputError: the file is missing, no image, or the same everywhere.
    """
    file = path or picture_path()
    try:
        with Image.open(file) as image:
            grey = image.convert("L").resize(size[::-1], Image.Resampling.BILINEAR)
    except FileNotFoundError:
        raise InputError(f"{option} {file}: no such file") from None
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        raise InputError(f"{option} {file} is not a readable image ({error})") from None
    pixels = torch.from_numpy(np.asarray(grey, dtype=np.float32) / 255)
    if pixels.max() == pixels.min():
        raise InputError(f"{option} {file} is the same everywhere; give one that shows something")
    return pixels / pixels.max()


def picture_sha256(path: Path | None, *, option: str = "--picture") -> str:
    """Fingerprint of the picture's file.

    Args:
        path: any image file; None means the bundled one.
        option: what the user calls it.

    Raises:
        InputError: the file cannot be read.
    """
    file = path or picture_path()
    try:
        return sha256(file.read_bytes()).hexdigest()
    except OSError as error:
        raise InputError(f"{option} {file}: {error.strerror or error}") from None
