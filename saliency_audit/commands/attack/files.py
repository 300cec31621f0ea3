"""Attacked images as files: written without loss, and read back before anything is measured."""

import re
from hashlib import sha256
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from saliency_audit.commands.picture_file import write_picture
from saliency_audit.errors import UnsupportedError


def file_of(image: str, setting: str, scalar: str) -> str:
    """Name of the file of one attacked image: readable, and different for different images.

    >>> file_of("cats/1.jpg", "attack=topk;eps=8/255;attacked=gradient", "logit")
    '1-dedaa2dc-topk-8_255-gradient-logit.png'
    """
    values = [part.split("=", 1)[1] for part in setting.split(";")]
    stem = re.sub(r"[^A-Za-z0-9]+", "_", Path(image).stem)[:40]
    code = sha256(image.encode("utf-8", "backslashreplace")).hexdigest()[:8]
    words = [stem, code, *values, *([scalar] if scalar else [])]
    return "-".join(word.replace("/", "_") for word in words) + ".png"


def check_channels(channels: int) -> None:
    """Refuse images that a PNG cannot hold.

    Raises:
        UnsupportedError: neither 1 nor 3 channels.
    """
    if channels not in (1, 3):
        raise UnsupportedError(
            f"attacked images are written as PNG, which has 1 or 3 channels, not {channels}"
        )


def write_and_read(images: Tensor, paths: list[Path]) -> Tensor:
    """Write each image as an 8-bit PNG and give back what the files hold.

    Args:
        images: ``(n, c, h, w)`` in [0, 1].
        paths: one per image.

    Returns:
        ``(n, c, h, w)``, read from the files.

    Raises:
        AuditError: the disk is full, or the folder cannot be written.
    """
    return torch.stack(
        [
            _read(write_picture(image, path), image)
            for image, path in zip(images, paths, strict=True)
        ]
    )


def _read(path: Path, like: Tensor) -> Tensor:
    with Image.open(path) as picture:
        levels = np.array(picture)
    pixels = torch.from_numpy(levels[None] if levels.ndim == 2 else levels.transpose(2, 0, 1))
    return (pixels.double() / 255).to(like)
