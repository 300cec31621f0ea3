"""Sparsified maps (Levine et al. 2019): the largest gradient magnitudes, and nothing else."""

from collections.abc import Sequence

import torch
from torch import Tensor

from saliency_audit.methods.smoothgrad import noise_scale
from saliency_audit.models import Classifier, gradients_at, input_gradient
from saliency_audit.seeding import random_numbers


def kept_largest(gradients: Tensor, *, keep: float, flatten: float) -> Tensor:
    """Magnitudes in [0, 1], all zero but the largest ones.

    Args:
        gradients: ``(n, ...)``, of D values each.
        keep: floor(keep D) values stay, one at least.
        flatten: floor(flatten D) values are 1, one at least; the others are in proportion to the
            least of those.

    Returns:
        The same shape; zero everywhere where the gradients are. Differentiable.

    >>> kept_largest(torch.tensor([[-4.0, 3.0, 2.0, 1.0, 0.0]]), keep=0.6, flatten=0.4)
    tensor([[1.0000, 1.0000, 0.6667, 0.0000, 0.0000]])
    """
    flat = gradients.flatten(1).abs()
    size = flat.shape[1]
    count, ones = (max(1, int(share * size)) for share in (keep, flatten))
    largest = flat.topk(max(count, ones), dim=1)
    cap = largest.values[:, ones - 1 : ones]
    scaled = torch.minimum(flat, cap) / cap.where(cap > 0, 1)
    stays = torch.zeros_like(flat).scatter(1, largest.indices[:, :count], 1)
    return (scaled * stays).view_as(gradients)


def sparsified(
    model: Classifier,
    images: Tensor,
    targets: Tensor,
    *,
    scalar: str = "logit",
    graph: bool = False,
    generators: Sequence[torch.Generator] = (),
    batch_size: int | None = None,
    keep: float = 0.1,
    flatten: float = 0.01,
) -> Tensor:
    r"""Gradient magnitude, cut at the top, and zero where it is not among the largest.

    .. math:: m_i = \min(|g_i| / \tau, 1) \text{ for the } \lfloor tD \rfloor \text{ largest, else }
        0

    with :math:`\tau` the least of the :math:`\lfloor \gamma D \rfloor` largest magnitudes.

    Args:
        model: the classifier.
        images: ``(n, c, h, w)`` in [0, 1].
        targets: explained classes, ``(n,)``.
        scalar: a name in ``SCALARS``.
        graph: keep the map differentiable in ``images``; which values stay is taken as given.
        generators: not used.
        batch_size: most images the model sees at once.
        keep: t, the share of the values that stay, of all channels together.
        flatten: gamma, the share of the values that become 1.

    Returns:
        ``(n, c, h, w)`` in [0, 1], without unit. Source: the sparsification that P1 compares with
        (Table 5), as Levine et al. 2019 apply it to each noisy copy.
    """
    del generators
    gradients = input_gradient(
        model, images, targets, scalar=scalar, graph=graph, batch_size=batch_size
    )
    return kept_largest(gradients, keep=keep, flatten=flatten)


def sparsified_smoothgrad(
    model: Classifier,
    images: Tensor,
    targets: Tensor,
    *,
    scalar: str = "logit",
    graph: bool = False,
    generators: Sequence[torch.Generator],
    batch_size: int | None = None,
    samples: int = 256,
    noise_level: float = 0.1,
    keep: float = 0.1,
    flatten: float = 0.01,
) -> Tensor:
    r"""Mean of the sparsified gradients of noisy copies.

    .. math:: \frac1N \sum_k m(\nabla_x s_y(x + v_k)), \quad v_k \sim \mathcal N(0, \sigma^2 I)

    with m as in `sparsified` and :math:`\sigma` the noise level times the image's range. With
    t = 1 and gamma = 0 each copy's magnitude is divided by its largest one and averaged.

    Args:
        model: the classifier.
        images: ``(n, c, h, w)`` in [0, 1].
        targets: explained classes, ``(n,)``.
        scalar: a name in ``SCALARS``.
        graph: keep the map differentiable in ``images``; which values stay is taken as given.
        generators: one per image.
        batch_size: most noisy copies the model sees at once.
        samples: N, copies per image: 256 in the public code of MoreauGrad, 64 in P1.
        noise_level: standard deviation of the noise as a fraction of the image's range.
        keep: t, the share of the values of a copy that stay.
        flatten: gamma, the share of the values of a copy that become 1.

    Returns:
        ``(n, c, h, w)`` in [0, 1], without unit. Source: Levine, Singla & Feizi 2019, relaxed
        Sparsified SmoothGrad; the cut is at the least of the floor(gamma D) largest values, as in
        the public code of MoreauGrad.
    """
    pixels = images if graph else images.detach()
    sigma = noise_scale(pixels, noise_level)

    def noisy(_: int) -> Tensor:
        return pixels + sigma * random_numbers(torch.randn, pixels.shape, generators, pixels.dtype)

    total = torch.zeros_like(images)
    for block in gradients_at(
        model, noisy, samples, targets, scalar=scalar, graph=graph, batch_size=batch_size
    ):
        kept = kept_largest(block.flatten(0, 1), keep=keep, flatten=flatten)
        total = total + kept.view_as(block).sum(0)
    return total / samples
