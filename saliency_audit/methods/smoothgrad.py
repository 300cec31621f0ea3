"""SmoothGrad and its family: what is made of the gradients at noisy copies of an image."""

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from saliency_audit.models import Classifier, gradients_at
from saliency_audit.seeding import random_numbers


def noise_scale(images: Tensor, noise_level: float) -> Tensor:
    """``noise_level`` times each image's range (max - min), ``(n, 1, 1, 1)``."""
    pixels = images.flatten(1)
    low, high = pixels.amin(1), pixels.amax(1)  # aminmax has no derivative before torch 2.12
    return (noise_level * (high - low)).view(-1, 1, 1, 1)


def of_noisy_copies(total: Callable[[Iterator[Tensor], Tensor], Tensor]) -> Callable[..., Tensor]:
    """A saliency method out of the total that it takes of the gradients at noisy copies.

    The noise has standard deviation ``noise_level`` times the image's own range (max - min), and
    one image's noise depends on its generator alone.

    Args:
        total: called with the gradients, ``(k, n, c, h, w)`` at a time, the ks adding up to the
            samples, and zeros, ``(n, c, h, w)``; what it answers is divided by the samples.

    Returns:
        A method under the name of ``total``. Its arguments:

        - ``model``: the classifier.
        - ``images``: ``(n, c, h, w)`` in [0, 1].
        - ``targets``: explained classes, ``(n,)``.
        - ``scalar``: a name in ``SCALARS``.
        - ``graph``: keep the map differentiable in ``images``.
        - ``generators``: one per image.
        - ``batch_size``: most noisy copies the model sees at once.
        - ``samples``: N, copies per image.
        - ``noise_level``: standard deviation of the noise as a fraction of the image's range.
    """

    def method(
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
        pixels = images if graph else images.detach()
        sigma = noise_scale(pixels, noise_level)

        def noisy(_: int) -> Tensor:
            return pixels + sigma * random_numbers(
                torch.randn, pixels.shape, generators, pixels.dtype
            )

        gradients = gradients_at(
            model, noisy, samples, targets, scalar=scalar, graph=graph, batch_size=batch_size
        )
        return total(gradients, torch.zeros_like(images)) / samples

    # Not functools.wraps: the options of a method are read from its signature, not from total's.
    method.__name__, method.__qualname__ = total.__name__, total.__qualname__
    method.__doc__ = total.__doc__
    return method


@of_noisy_copies
def smoothgrad(gradients: Iterator[Tensor], zero: Tensor) -> Tensor:
    r"""Mean gradient over noisy copies: :math:`\frac1N \sum_k \nabla_x s_y(x + v_k)`.

    Returns:
        ``(n, c, h, w)``, signed, in units of the scalar per unit of pixel value. Source: Smilkov
        et al. 2017, with P2's defaults.
    """
    return sum((block.sum(0) for block in gradients), zero)


@of_noisy_copies
def smoothgrad_abs(gradients: Iterator[Tensor], zero: Tensor) -> Tensor:
    r"""Mean gradient magnitude over noisy copies: :math:`\frac1N \sum_k |\nabla_x s_y(x + v_k)|`.

    At least the magnitude of SmoothGrad in every pixel (Jensen).

    Returns:
        ``(n, c, h, w)``, >= 0, in units of the scalar per unit of pixel value. Source: P4 eq. 4.
    """
    return sum((block.abs().sum(0) for block in gradients), zero)


@of_noisy_copies
def smoothgrad_squared(gradients: Iterator[Tensor], zero: Tensor) -> Tensor:
    r"""Mean squared gradient over noisy copies: :math:`\frac1N \sum_k (\nabla_x s_y(x + v_k))^2`.

    Returns:
        ``(n, c, h, w)``, >= 0, in units of the squared scalar per squared unit of pixel value.
        Source: Hooker et al. 2019.
    """
    return sum((block.square().sum(0) for block in gradients), zero)


@of_noisy_copies
def vargrad(gradients: Iterator[Tensor], zero: Tensor) -> Tensor:
    r"""Variance of the gradient over noisy copies: :math:`\mathrm{Var}_k \nabla_x s_y(x + v_k)`.

    The variance of the N copies themselves (divided by N), merged block by block from deviations
    (Chan et al. 1979): the mean of squares minus the square of the mean would lose all digits where
    the gradient hardly varies.

    Returns:
        ``(n, c, h, w)``, >= 0, in units of the squared scalar per squared unit of pixel value.
        Source: Adebayo et al. 2018.
    """
    mean = deviations = zero
    seen = 0
    for block in gradients:
        block_mean = block.mean(0)
        shift = block_mean - mean
        weight = len(block) / (seen + len(block))
        deviations = (
            deviations + (block - block_mean).square().sum(0) + shift.square() * (seen * weight)
        )
        mean = mean + shift * weight
        seen += len(block)
    return deviations
