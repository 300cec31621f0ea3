"""The shift that needs no new layer: one vector added to every row of the linear head."""

from typing import cast

import torch
from torch import Tensor, nn

from saliency_audit.models import Classifier, copied, features, head

IMAGES = 8
"""Images of the least squares: the vector has as many entries as the head has features."""
STEPS = 6
"""Steps of conjugate gradients; the fit stops improving visibly well before."""


def head_shift(
    model: Classifier,
    wanted: Tensor,
    images: Tensor,
    *,
    size: float,
    batch_size: int | None = None,
) -> nn.Module:
    r"""A copy of the network with ``W_i <- W_i + v`` and ``b_i <- b_i + b_0`` for every class i.

    That is the shift :math:`g(x) = v^T \phi(x) + b_0`, :math:`\phi` the features that enter the
    head. ``v`` is the least-squares solution of :math:`J_\phi(x)^T v = T` over the images, by
    conjugate gradients on the normal equations, rescaled so that the median norm of
    :math:`\nabla g` is ``size``. Unlike an added branch it also moves Grad-CAM: with a pooled
    head the weight of channel k moves by ``v_k / Z``.

    Args:
        model: the classifier as it is.
        wanted: T, ``(c, h, w)``, in pixels.
        images: ``(n, c, h, w)`` in [0, 1]; the first 8 are used.
        size: median norm of the added gradient.
        batch_size: most images the model sees at once.

    Returns:
        A network of the same architecture.

    Raises:
        UnsupportedError: the model has no accessible linear head.
    """
    images = images[:IMAGES]
    name = head(model, images[:1])

    parts = torch.split(images, batch_size or len(images))

    def pull_back(vector: Tensor) -> Tensor:
        # J^T v of each image: the gradient of <v, phi(x)>.
        pulled = []
        for part in parts:
            pixels = part.detach().requires_grad_()
            with torch.enable_grad():
                value = (features(model, pixels, name)[1] * vector).sum()
                pulled.append(torch.autograd.grad(value, pixels)[0])
        return torch.cat(pulled)

    def push_forward(directions: Tensor) -> Tensor:
        # Sum of J d: J^T v is linear in v, so its product with d has the gradient J d in v.
        pushed = []
        for part, direction in zip(parts, torch.split(directions, len(parts[0])), strict=True):
            pixels = part.detach().requires_grad_()
            with torch.enable_grad():
                phi = features(model, pixels, name)[1]
                vectors = torch.zeros_like(phi).requires_grad_()
                (pulled,) = torch.autograd.grad((phi * vectors).sum(), pixels, create_graph=True)
                (pushes,) = torch.autograd.grad((pulled * direction).sum(), vectors)
            pushed.append(pushes)
        return torch.cat(pushed).sum(0)

    residual = push_forward(wanted.expand(len(images), *wanted.shape))
    vector = torch.zeros_like(residual)
    step = residual.clone()
    energy = residual.dot(residual)
    for _ in range(STEPS):
        curved = push_forward(pull_back(step))
        length = energy / step.dot(curved).clamp_min(1e-30)
        vector += length * step
        residual = residual - length * curved
        previous, energy = energy, residual.dot(residual)
        step = residual + (energy / previous.clamp_min(1e-30)) * step

    vector *= size / float(pull_back(vector).flatten(1).norm(dim=1).median().clamp_min(1e-30))
    with torch.no_grad():
        phi = torch.cat([features(model, part, name)[1] for part in parts])
        network = copied(model)
        layer = network.get_submodule(name)
        cast(Tensor, layer.weight).add_(vector)
        if layer.bias is not None:
            cast(Tensor, layer.bias).sub_(float((phi @ vector).mean()))
    return network
