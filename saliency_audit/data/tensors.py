"""Images that a program already has as a tensor."""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

import numpy as np
import torch
from torch import Tensor

from saliency_audit.data.dataset import NO_LABEL, ImageData
from saliency_audit.errors import InputError


@dataclass(frozen=True)
class ReadTensor:
    """Reads images out of one tensor, ``(n, c, h, w)``."""

    images: Tensor

    def __call__(self, position: int) -> Tensor:
        """The image at ``position``."""
        return self.images[position]


def from_tensors(
    images: Tensor, labels: Tensor | None = None, names: Sequence[str] | None = None
) -> ImageData:
    """Image data over a tensor.

    Args:
        images: ``(n, c, h, w)``, floating point, in [0, 1]; already of the model's size.
        labels: ``(n,)`` class indices, -1 for none; None means that there are none.
        names: one per image, each once; None numbers them.

    Raises:
        InputError: another shape or type, values outside [0, 1], or counts that do not match.

    >>> data = from_tensors(torch.rand(2, 3, 8, 8), torch.tensor([4, 0]))
    >>> len(data), data.labelled, data[1].name, data[1].label
    (2, True, '00001', 0)
    """
    if images.ndim != 4 or not len(images):
        raise InputError(f"images have shape {tuple(images.shape)}; give (n, c, h, w) with n > 0")
    if not images.is_floating_point():
        raise InputError(f"images are {images.dtype}; divide 8-bit pixels by 255")
    low, high = float(images.amin()), float(images.amax())
    if not (low >= 0 and high <= 1):
        raise InputError(
            f"images lie in [{low:g}, {high:g}]; give pixels in [0, 1], before any normalisation"
        )
    count = len(images)
    if labels is None:
        labels = torch.full((count,), NO_LABEL)
    if labels.shape != (count,) or labels.is_floating_point() or int(labels.min()) < NO_LABEL:
        raise InputError(
            f"labels are {labels.dtype} of shape {tuple(labels.shape)}, smallest "
            f"{labels.min().item() if labels.numel() else 'none'}; give {count} class indices, "
            "-1 where there is none"
        )
    named = [f"{i:05d}" for i in range(count)] if names is None else list(names)
    if len(set(named)) != count:
        raise InputError(f"{len(set(named))} different names for {count} images; give each its own")
    _, channels, height, width = images.shape
    return ImageData(
        name="tensors",
        names=named,
        labels=labels.detach().cpu().numpy().astype(np.int64),
        sizes=[images[0].numel() * images.element_size()] * count,
        content=sha256(images.detach().cpu().float().contiguous().numpy().data).hexdigest(),
        read=ReadTensor(images.detach().cpu().float()),
        input_shape=(channels, height, width),
    )
