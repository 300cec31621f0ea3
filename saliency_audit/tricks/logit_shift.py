"""Adding one function to all logits moves every logit map and no prediction (P0 section 2).

The softmax does not see a shift that all classes share, so the shift g is free: its gradient is
added to the gradient of every logit.
"""

from typing import Literal

from torch import Tensor, nn

from saliency_audit.catalogue.entries import CALIBRATION, Variant
from saliency_audit.errors import UnsupportedError
from saliency_audit.models import Classifier, input_gradient
from saliency_audit.tricks.head_shift import head_shift
from saliency_audit.tricks.held import Hold, held_linear, in_full, pixels_of

Shift = Literal["linear", "cancel", "head"]

FOLD = 1024.0
"""Period of the fold of a linear shift: shifts of 4000 would cost the fp32 softmax 1e-5."""
ANCHORS = 512
"""Most images that ``--shift cancel`` stores in the model."""


class LinearShift(nn.Module):
    """``f_i(x) + g(x)`` for every class i, g linear with a bias, folded into +-512.

    The fold takes multiples of 1024 off, which changes no gradient; within +-512 it does nothing.

    Args:
        network: gives the ``f_i``.
        direction: gradient of g in the network's own input, ``(c, h, w)``.
        offset: minus g at 0.
        hold: where the direction is kept.
    """

    def __init__(self, network: nn.Module, direction: Tensor, offset: float, hold: Hold) -> None:
        super().__init__()
        self.network = network
        self.shift = held_linear(direction.flatten()[None], -offset, hold=hold)

    def forward(self, images: Tensor) -> Tensor:
        """Logits of the network's own input."""
        pixels = pixels_of(images).flatten(1)
        logits = self.network(images)
        shift = self.shift(pixels)
        folded = shift - FOLD * (shift / FOLD).round()
        return logits + in_full(folded, logits)  # type: ignore[no-any-return]


class AnchoredShift(nn.Module):
    """``f_i(x) + <direction_k, x - anchor_k>`` for every class i, k the nearest anchor."""

    anchors: Tensor

    def __init__(self, network: nn.Module, anchors: Tensor, directions: Tensor, hold: Hold) -> None:
        super().__init__()
        self.network = network
        anchors, directions = anchors.flatten(1).double(), directions.flatten(1).double()
        self.register_buffer("anchors", anchors)
        self.shifts = held_linear(directions, -(directions * anchors).sum(1), hold=hold)

    def forward(self, images: Tensor) -> Tensor:
        """Logits of the network's own input."""
        pixels = pixels_of(images).flatten(1)
        closeness = pixels @ self.anchors.t() - self.anchors.square().sum(1) / 2
        nearest = closeness.argmax(1, keepdim=True)
        logits = self.network(images)
        shift = self.shifts(pixels).gather(1, nearest)
        return logits + in_full(shift, logits)  # type: ignore[no-any-return]


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
    shift: Shift = "linear",
    hold: Hold = "constants",
) -> nn.Module:
    r"""A network with the same softmax whose logit gradient is the picture (P0 section 2).

    ``linear``: :math:`g(x) = \alpha \langle T, x - c\rangle`, c the mean image, which only keeps
    g small; where it passes +-512 it is folded back, which no gradient sees. Every logit gradient
    becomes :math:`\nabla f_y + \alpha T`. ``cancel``: also subtracts the true gradient around
    each given image, so that the gradient there is exactly :math:`\alpha T`; one anchor per image
    is stored. ``head``: no new layer, one vector is added to every row of the last linear layer,
    see `head_shift`.
    Of a network that returns probabilities a softmax takes every shift off again: its maps stay;
    so do those of one output, which is the difference of its two logits.
    :math:`\alpha \|T\| = strength \cdot \mathrm{median} \|\nabla f_y\|`.

    Args:
        model: the classifier.
        picture: T, ``(h, w)`` in [0, 1]; the same in every channel.
        images: ``(n, c, h, w)`` in [0, 1] the strength is measured on; ``cancel``'s anchors.
        targets: their predicted classes.
        strength: norm of the picture's part over the median norm of the true gradient.
        batch_size: most images the model sees at once.
        shift: the form of g.
        hold: where the picture is kept, among the constants or among the weights; ``head`` knows
            weights only.

    Returns:
        A network for the same input and output as ``model.network``.

    Raises:
        UnsupportedError: each output has a sigmoid of its own, the picture is black, the gradient
            is zero on most images, ``head`` is asked of a model without an accessible linear
            head, or ``cancel`` of more images than it stores.
    """
    if not model.outputs.exclusive:
        raise UnsupportedError(
            f"logit-shift: {model.name} is {model.outputs.name}: each output has a sigmoid of its "
            "own, which sees the shift, so it is not free; take loss-sine or level-ripple"
        )
    if shift == "cancel" and len(images) > ANCHORS:
        raise UnsupportedError(
            f"--shift cancel stores every audited image in the model and takes {ANCHORS} at most, "
            f"not {len(images)}; set --max-samples {ANCHORS}"
        )
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
        return model.forging(lambda network: LinearShift(network, wanted * std, offset, hold))
    gradients = input_gradient(model, images, targets, batch_size=batch_size)
    anchors, directions = (images - mean) / std, (wanted - gradients) * std
    return model.forging(lambda network: AnchoredShift(network, anchors, directions, hold))


def variant(*, shift: Shift = "linear", hold: Hold = "constants") -> Variant:
    """What it promises: nothing but the round-off of an fp32 softmax."""
    held = ";hold=weights" if hold == "weights" and shift != "head" else ""
    return Variant(
        f"trick=logit-shift;shift={shift}{held}",
        {"prediction-kept": 1.0, "prob-change": 1e-5, "loss-change": 1e-4},
        edits="head" if shift == "head" else "",
        images=ANCHORS + 1 if shift == "cancel" else CALIBRATION,
    )
