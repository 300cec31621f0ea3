"""Random numbers that depend on the seed, the image and the purpose, and on nothing else."""

from collections.abc import Callable, Sequence
from hashlib import sha256

import torch
from torch import Tensor


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


def forked(generator: torch.Generator) -> torch.Generator:
    """A generator of its own, which one draw from another decides."""
    drawn = torch.randint(2**62, (1,), generator=generator, device=generator.device)
    return torch.Generator(generator.device).manual_seed(int(drawn))


def random_numbers(
    draw: Callable[..., Tensor],
    shape: Sequence[int],
    generators: Sequence[torch.Generator],
    dtype: torch.dtype | None = None,
) -> Tensor:
    """Random numbers for each image from its own generator, on the generator's device.

    Args:
        draw: what draws those of one image, such as `torch.rand` and `torch.randn`.
        shape: of all images together, ``(n, ...)``.
        generators: n, one per image.
        dtype: of the answer; None leaves them as they are drawn.

    >>> a, b = random_numbers(torch.rand, (2, 3), generators(0, ["cat.png", "dog.png"], "fill"))
    >>> bool((random_numbers(torch.rand, (1, 3), generators(0, ["dog.png"], "fill")) == b).all())
    True
    """
    numbers = [
        draw(shape[1:], generator=generator, device=generator.device)
        for _, generator in zip(range(shape[0]), generators, strict=True)
    ]
    stacked = torch.stack(numbers)
    return stacked if dtype is None else stacked.to(dtype)


def seed_of(*parts: object) -> int:
    """A seed that depends on all of these and on nothing else.

    >>> seed_of(0, "order", 1) == seed_of(0, "order", 2)
    False
    """
    return int.from_bytes(sha256("|".join(map(str, parts)).encode()).digest()[:7], "big")
