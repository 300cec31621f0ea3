"""GradientSHAP, or expected gradients (Lundberg & Lee 2017; Erion et al. 2021)."""

from collections.abc import Sequence

import torch
from torch import Tensor

from saliency_audit.methods.smoothgrad import noise_scale
from saliency_audit.models import Classifier, gradients_at
from saliency_audit.seeding import random_numbers


def gradient_shap(
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
    baseline: float | None = None,
) -> Tensor:
    r"""Mean over noisy copies and random points on the way to them from a baseline.

    .. math:: \frac1N \sum_k (x + v_k - x') \odot \nabla_x s_y(x' + a_k (x + v_k - x')),
        \quad a_k \sim U[0, 1]

    Defined as in Captum, whose own draws come from NumPy's global generator, so that no image
    would keep its numbers in another batch.

    Args:
        model: the classifier.
        images: ``(n, c, h, w)`` in [0, 1].
        targets: explained classes, ``(n,)``.
        scalar: a name in ``SCALARS``.
        graph: keep the map differentiable in ``images``.
        generators: one per image.
        batch_size: most points the model sees at once.
        samples: N, points per image.
        noise_level: standard deviation of the noise as a fraction of the image's range.
        baseline: pixel value of the baseline image; None is the mean colour, which the
            normalisation maps to 0.

    Returns:
        ``(n, c, h, w)``, signed, in units of the scalar; its expectation sums to the mean of
        s(x + v) - s(x').
    """
    start = model.mean.to(images.dtype)
    if baseline is not None:
        start = torch.full_like(start, baseline)
    pixels = images if graph else images.detach()
    sigma = noise_scale(pixels, noise_level)
    ways: list[Tensor] = []

    def point(_: int) -> Tensor:
        noise = random_numbers(torch.randn, pixels.shape, generators, pixels.dtype)
        ways.append(pixels + sigma * noise - start)
        share = random_numbers(torch.rand, (len(pixels), 1, 1, 1), generators, pixels.dtype)
        return start + share * ways[-1]

    total = torch.zeros_like(images)
    for gradients in gradients_at(
        model, point, samples, targets, scalar=scalar, graph=graph, batch_size=batch_size
    ):
        total = total + (torch.stack(ways) * gradients).sum(0)
        ways.clear()
    return total / samples
