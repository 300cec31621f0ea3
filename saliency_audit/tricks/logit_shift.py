"""Adding one function to all logits moves every logit map and no prediction (P0 section 2).

The softmax does not see a shift that all classes share, so the shift g is free: its gradient is
added to the gradient of every logit.
"""

from typing import Literal

import torch
from torch import Tensor, nn

from saliency_audit.errors import UnsupportedError
from saliency_audit.models import Classifier, input_gradient
from saliency_audit.tricks.head_shift import head_shift

FOLD = 1024.0
"""Period of the fold of a linear shift: shifts of 4000 would cost the fp32 softmax 1e-5."""


class LinearShift(nn.Module):
    """``f_i(x) + g(x)`` for every class i, g linear with a bias, folded into +-512.

    The fold takes multiples of 1024 off, which changes no gradient; within +-512 it does nothing.

    Args:
        network: gives the ``f_i``.
        direction: gradient of g in the network's own input, ``(c, h, w)``.
        offset: minus g at 0.
    """

    def __init__(self, network: nn.Module, direction: Tensor, offset: float) -> None:
        super().__init__()
        self.network = network
        # In double precision, which half-precision autocast leaves alone.
        self.shift = nn.Linear(direction.numel(), 1).to(direction.device, torch.float64)
        with torch.no_grad():
            self.shift.weight.copy_(direction.flatten())
            self.shift.bias.fill_(-offset)

    def forward(self, images: Tensor) -> Tensor:
        """Logits of the network's own input."""
        shift = self.shift(images.flatten(1).double())
        folded = shift - FOLD * (shift / FOLD).round()
        return self.network(images) + folded.to(images.dtype)  # type: ignore[no-any-return]


class AnchoredShift(nn.Module):
    """``f_i(x) + <direction_k, x - anchor_k>`` for every class i, k the nearest anchor."""

    anchors: Tensor
    directions: Tensor

    def __init__(self, network: nn.Module, anchors: Tensor, directions: Tensor) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("anchors", anchors.flatten(1).double())
        self.register_buffer("directions", directions.flatten(1).double())

    def forward(self, images: Tensor) -> Tensor:
        """Logits of the network's own input."""
        pixels = images.flatten(1).double()
        closeness = pixels @ self.anchors.t() - self.anchors.square().sum(1) / 2
        nearest = closeness.argmax(1)
        shift = ((pixels - self.anchors[nearest]) * self.directions[nearest]).sum(1)
        return self.network(images) + shift.to(images.dtype).unsqueeze(1)  # type: ignore[no-any-return]


def logit_gradient_norm(
    model: Classifier, images: Tensor, targets: Tensor, *, batch_size: int | None = None
) -> float:
    """Median over images of the L2 norm of the logit's gradient, in logits per pixel unit."""
    gradients = input_gradient(model, images, targets, batch_size=batch_size)
    norms = gradients.flatten(1).norm(dim=1)
    norms = norms[norms.isfinite()]
    return float(norms.median()) if len(norms) else 0.0


def logit_shift(
    model: Classifier,
    picture: Tensor,
    images: Tensor,
    targets: Tensor,
    *,
    strength: float = 10.0,
    batch_size: int | None = None,
    shift: Literal["linear", "cancel", "head"] = "linear",
) -> nn.Module:
    r"""A network with the same softmax whose logit gradient is the picture (P0 section 2).

    ``linear``: :math:`g(x) = \alpha \langle T, x - c\rangle`, c the mean image, which only keeps
    g small; where it passes +-512 it is folded back, which no gradient sees. Every logit gradient
    becomes :math:`\nabla f_y + \alpha T`. ``cancel``: also subtracts the true gradient around
    each given image, so that the gradient there is exactly :math:`\alpha T`; one anchor per image
    is stored. ``head``: no new layer, one vector is added to every row of the last linear layer,
    see `head_shift`.
    Of a network that returns probabilities a softmax takes every shift off again: its maps stay.
    :math:`\alpha \|T\| = strength \cdot \mathrm{median} \|\nabla f_y\|`.

    Args:
        model: the classifier.
        picture: T, ``(h, w)`` in [0, 1]; the same in every channel.
        images: ``(n, c, h, w)`` in [0, 1] the strength is measured on; ``cancel``'s anchors.
        targets: their predicted classes.
        strength: norm of the picture's part over the median norm of the true gradient.
        batch_size: most images the model sees at once.
        shift: the form of g.

    Returns:
        A network for the same input and output as ``model.network``.

    Raises:
        UnsupportedError: the picture is black, the gradient is zero on most images, or ``head``
            is asked of a model without an accessible linear head.
    """
    norm = logit_gradient_norm(model, images, targets, batch_size=batch_size)
    if not picture.max() > 0 or norm == 0:
        what = "the picture is black" if norm else "the logit gradient is zero on most images"
        raise UnsupportedError(f"logit-shift: {what}, so there is nothing to scale")
    wanted = picture.expand_as(images[0])
    wanted = wanted * (strength * norm / wanted.norm())
    if shift == "head":
        return head_shift(model, wanted, images, size=strength * norm, batch_size=batch_size)
    # The network sees (x - mean) / std, so a gradient in pixels is std times it in there.
    std, mean = model.std[0], model.mean[0]
    if shift == "linear":
        offset = float((wanted * (images.mean(0) - mean)).sum())
        return model.forging(lambda network: LinearShift(network, wanted * std, offset))
    gradients = input_gradient(model, images, targets, batch_size=batch_size)
    anchors, directions = (images - mean) / std, (wanted - gradients) * std
    return model.forging(lambda network: AnchoredShift(network, anchors, directions))
