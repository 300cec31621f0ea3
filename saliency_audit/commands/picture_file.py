"""Images that a run makes, as files without loss."""

from io import BytesIO
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from saliency_audit.errors import AuditError
from saliency_audit.writing import replace_file


def write_picture(image: Tensor, path: Path) -> Path:
    """Write an image as an 8-bit PNG, without loss if it is on that grid.

    Args:
        image: ``(c, h, w)`` in [0, 1], of 1 or 3 channels.
        path: of the file; its folder is made.

    Returns:
        The file.

    Raises:
        AuditError: the disk is full, or the folder cannot be written.
    """
    levels = (image.detach().double().cpu() * 255).round().clamp(0, 255).to(torch.uint8).numpy()
    picture = Image.fromarray(levels[0] if len(levels) == 1 else levels.transpose(1, 2, 0))
    buffer = BytesIO()
    picture.save(buffer, "png")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Thousands of small files: to wait for the disk at each would outlast their making.
        replace_file(path, buffer.getvalue(), sync=False)
    except OSError as error:
        raise AuditError(
            f"cannot write {path} ({error.strerror or error}); what was finished is kept, mend "
            "that and add --resume"
        ) from error
    return path
