"""Random numbers that depend on the seed, the image and the purpose, and on nothing else."""

from collections.abc import Sequence
from hashlib import sha256

import torch


def generators(
    seed: int, images: Sequence[str], purpose: str, device: torch.device | str = "cpu"
) -> list[torch.Generator]:
    """One generator per image, so a result does not depend on the batch an image came in.

    Args:
        seed: the run's seed.
        images: names of the images.
        purpose: what the numbers are for, usually the name of the saliency method.
        device: where the numbers are drawn.

    Returns:
        As many generators as images.

    >>> a, b = generators(0, ["cat.png", "dog.png"], "smoothgrad")
    >>> bool(torch.rand(1, generator=a) == torch.rand(1, generator=b))
    False
    """
    return [torch.Generator(device).manual_seed(seed_of(seed, purpose, image)) for image in images]


def seed_of(*parts: object) -> int:
    """A seed that depends on all of these and on nothing else.

    >>> seed_of(0, "order", 1) == seed_of(0, "order", 2)
    False
    """
    return int.from_bytes(sha256("|".join(map(str, parts)).encode()).digest()[:7], "big")
