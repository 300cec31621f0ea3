"""Input x gradient (Shrikumar et al. 2016; "grad*input" of P3)."""

from collections.abc import Sequence

import torch
from torch import Tensor

from saliency_audit.models import Classifier, input_gradient


def input_x_gradient(
    model: Classifier,
    images: Tensor,
    targets: Tensor,
    *,
    scalar: str = "logit",
    graph: bool = False,
    generators: Sequence[torch.Generator] = (),
    batch_size: int | None = None,
) -> Tensor:
    r"""The network's own input times the gradient in it: :math:`(x - \mu) \odot \nabla_x s_y(x)`.

    The network reads :math:`z = (x - \mu) / \sigma`, and :math:`z \odot \nabla_z s` is the same
    number; so a pixel of the mean colour :math:`\mu` gets 0, and the map equals that of a library
    that is given normalised images.

    Args:
        model: the classifier.
        images: ``(n, c, h, w)`` in [0, 1].
        targets: explained classes, ``(n,)``.
        scalar: a name in ``SCALARS``.
        graph: keep the map differentiable in ``images``.
        generators: not used.
        batch_size: most images the model sees at once.

    Returns:
        ``(n, c, h, w)``, signed, in units of the scalar. Sums to the scalar where the network is
        piecewise linear without biases.
    """
    del generators
    gradient = input_gradient(
        model, images, targets, scalar=scalar, graph=graph, batch_size=batch_size
    )
    return (images if graph else images.detach()) * gradient - model.mean.to(
        images.dtype
    ) * gradient
