"""SmoothGrad of magnitudes (P4 eq. 4)."""

from collections.abc import Sequence

import torch
from torch import Tensor

from saliency_audit.methods.smoothgrad import noisy_gradients
from saliency_audit.models import Classifier


def smoothgrad_abs(
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
    r"""Mean gradient magnitude over noisy copies: :math:`\frac1N \sum_k |\nabla_x s_y(x + v_k)|`.

    At least the magnitude of SmoothGrad in every pixel (Jensen).

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
        ``(n, c, h, w)``, >= 0, in units of the scalar per unit of pixel value.
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
        total = total + gradients.abs().sum(0)
    return total / samples
