"""The picture that maps are forged into."""

from hashlib import file_digest
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from saliency_audit.assets import picture_path
from saliency_audit.data.images import open_picture, reason
from saliency_audit.errors import InputError
from saliency_audit.regular import refuse_irregular


def load_picture(path: Path | None, size: tuple[int, int], *, option: str = "--picture") -> Tensor:
    """Read a picture as brightness, shrunk or grown to the model's input.

    Args:
        path: any image file; None means the bundled one.
        size: height and width in pixels.
        option: what the user calls it.

    Returns:
        ``(h, w)`` in [0, 1], its largest value 1.

    Raises:
        InputError: the file is missing, no image, far too large, or the same everywhere.
    """
    file = path or picture_path()
    refuse_irregular(file, option)
    if not file.exists():
        raise InputError(f"{option} {file}: no such file")
    try:
        with open_picture(file) as image:
            grey = image.convert("L").resize(size[::-1], Image.Resampling.BILINEAR)
    except Exception as error:  # damaged files raise nearly anything from inside Pillow
        raise InputError(f"{option} {file} is not a readable image ({reason(error)})") from None
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
        refuse_irregular(file, option)
        with file.open("rb") as content:
            return file_digest(content, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"{option} {file}: {error.strerror or error}") from None
