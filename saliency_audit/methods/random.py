"""The random map: what every other map must beat."""

from collections.abc import Sequence

import torch
from torch import Tensor

from saliency_audit.errors import UnsupportedError
from saliency_audit.models import Classifier
from saliency_audit.seeding import random_numbers


def random(
    model: Classifier,
    images: Tensor,
    targets: Tensor,
    *,
    scalar: str = "logit",
    graph: bool = False,
    generators: Sequence[torch.Generator],
    batch_size: int | None = None,
) -> Tensor:
    """Independent uniform numbers: depends on neither the model nor the image.

    Args:
        model: not used.
        images: ``(n, c, h, w)``; only the shape, type and device are used.
        targets: not used.
        scalar: not used.
        graph: refused; there is nothing to differentiate.
        generators: one per image.
        batch_size: not used.

    Returns:
        ``(n, 1, h, w)`` in [0, 1), without unit.

    Raises:
        UnsupportedError: ``graph`` was asked for.
    """
    del model, targets, scalar, batch_size
    if graph:
        raise UnsupportedError("the random map does not depend on the image and cannot be attacked")
    return random_numbers(torch.rand, images[:, :1].shape, generators, images.dtype)
