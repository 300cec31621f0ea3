"""SmoothGrad (Smilkov et al. 2017; P2's defaults)."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from saliency_audit.models import Classifier, gradients_at


def gaussian(images: Tensor, generators: Sequence[torch.Generator]) -> Tensor:
    """Standard normal numbers in the shape of the images, each image's from its own generator."""
    noise = [
        torch.randn(image.shape, generator=generator, device=image.device)
        for image, generator in zip(images, generators, strict=True)
    ]
    return torch.stack(noise).to(images.dtype)


def noise_scale(images: Tensor, noise_level: float) -> Tensor:
    """``noise_level`` times each image's range (max - min), ``(n, 1, 1, 1)``."""
    pixels = images.flatten(1)
    low, high = pixels.amin(1), pixels.amax(1)  # aminmax has no derivative before torch 2.12
    return (noise_level * (high - low)).view(-1, 1, 1, 1)


def noisy_gradients(
    model: Classifier,
    images: Tensor,
    targets: Tensor,
    *,
    scalar: str,
    graph: bool,
    generators: Sequence[torch.Generator],
    batch_size: int | None,
    samples: int,
    noise_level: float,
) -> Iterator[Tensor]:
    """Gradients at ``samples`` noisy copies of each image; what the whole family averages.

    The noise has standard deviation ``noise_level`` times the image's own range (max - min), and
    one image's noise depends on its generator alone.

    Yields:
        ``(k, n, c, h, w)``; the ks add up to ``samples``.
    """
    pixels = images if graph else images.detach()
    sigma = noise_scale(pixels, noise_level)

    def noisy(_: int) -> Tensor:
        return pixels + sigma * gaussian(pixels, generators)

    return gradients_at(
        model, noisy, samples, targets, scalar=scalar, graph=graph, batch_size=batch_size
    )


def smoothgrad(
    model: Classifier,
    images: Tensor,
    targets: Tensor,
    *,
    scalar: str = "logit",
    graph: bool = False,
    generators: Sequence[torch.Generator],
    batch_size: int | None = None,
    samples: int = 50,
    noise_level: float = 0.1,
) -> Tensor:
    r"""Mean gradient over noisy copies: :math:`\frac1N \sum_k \nabla_x s_y(x + v_k)`.

    Args:
        model: the classifier.
        images: ``(n, c, h, w)`` in [0, 1].
        targets: explained classes, ``(n,)``.
        scalar: a name in ``SCALARS``.
        graph: keep the map differentiable in ``images``.
        generators: one per image.
        batch_size: most noisy copies the model sees at once.
        samples: N, copies per image.
        noise_level: standard deviation of the noise as a fraction of the image's range.

    Returns:
        ``(n, c, h, w)``, signed, in units of the scalar per unit of pixel value.
    """
    total = torch.zeros_like(images)
    for gradients in noisy_gradients(
        model,
        images,
        targets,
        scalar=scalar,
        graph=graph,
        generators=generators,
        batch_size=batch_size,
        samples=samples,
        noise_level=noise_level,
    ):
        total = total + gradients.sum(0)
    return total / samples
