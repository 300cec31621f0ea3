"""The gradient map (Simonyan et al. 2013; P0 section 2 calls it the logit-gradient)."""

from collections.abc import Sequence

import torch
from torch import Tensor

from saliency_audit.models import Classifier, input_gradient


def gradient(
    model: Classifier,
    images: Tensor,
    targets: Tensor,
    *,
    scalar: str = "logit",
    graph: bool = False,
    generators: Sequence[torch.Generator] = (),
    batch_size: int | None = None,
) -> Tensor:
    r"""Derivative of the explained scalar in each pixel: :math:`\nabla_x s_y(x)`.

    Args:
        model: the classifier.
        images: ``(n, c, h, w)`` in [0, 1].
        targets: explained classes, ``(n,)``.
        scalar: a name in ``SCALARS``.
        graph: keep the map differentiable in ``images``.
        generators: not used.
        batch_size: most images the model sees at once.

    Returns:
        ``(n, c, h, w)``, signed, in units of the scalar per unit of pixel value.

    >>> model = Classifier(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2)),
    ...                    input_shape=(1, 2, 2))
    >>> gradient(model, torch.rand(3, 1, 2, 2), torch.tensor([0, 1, 1])).shape
    torch.Size([3, 1, 2, 2])
    """
    del generators
    return input_gradient(model, images, targets, scalar=scalar, graph=graph, batch_size=batch_size)
