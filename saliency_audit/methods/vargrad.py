"""VarGrad (Adebayo et al. 2018)."""

from collections.abc import Sequence

import torch
from torch import Tensor

from saliency_audit.methods.smoothgrad import noisy_gradients
from saliency_audit.models import Classifier


def vargrad(
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
    r"""Variance of the gradient over noisy copies: :math:`\mathrm{Var}_k \nabla_x s_y(x + v_k)`.

    The variance of the N copies themselves (divided by N), merged block by block from deviations
    (Chan et al. 1979): the mean of squares minus the square of the mean would lose all digits where
    the gradient hardly varies.

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
        ``(n, c, h, w)``, >= 0, in units of the squared scalar per squared unit of pixel value.
    """
    mean = torch.zeros_like(images)
    deviations = torch.zeros_like(images)
    seen = 0
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
        block = len(gradients)
        block_mean = gradients.mean(0)
        shift = block_mean - mean
        weight = block / (seen + block)
        deviations = (
            deviations + (gradients - block_mean).square().sum(0) + shift.square() * (seen * weight)
        )
        mean = mean + shift * weight
        seen += block
    return deviations / samples
