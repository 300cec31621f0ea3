"""The first images of a run: what is tried out, or set by, before all others."""

import torch
from torch import Tensor

from saliency_audit.data import ImageData, batches
from saliency_audit.errors import InputError


def first_images(
    data: ImageData, count: int, at_once: int, *, device: torch.device, workers: int
) -> tuple[Tensor, Tensor, list[str]]:
    """The first ``count`` readable images, ``(n, c, h, w)``, their labels (-1 for none) and names.

    Raises:
        InputError: none can be read.
    """
    known: list[Tensor] = []
    labels: list[Tensor] = []
    names: list[str] = []
    failure = "it is empty"
    for batch in batches(data, batch_size=at_once, workers=workers, device=device):
        known += list(batch.images)
        labels += list(batch.labels)
        names += batch.names
        failure = batch.failures[0].message if batch.failures else failure
        if len(known) >= count:
            break
    if not known:
        raise InputError(f"no image of {data.name} can be read: {failure}")
    return torch.stack(known[:count]), torch.stack(labels[:count]), names[:count]
