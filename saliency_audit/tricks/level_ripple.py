"""A ripple between the levels of 8-bit images: zero on every image file, steep everywhere.

A stored image has only the values k/255. A sine with one turn for each level is 0 on all of them
and has its full slope there: on every image alike, whatever the phase of a sum over pixels.
"""

from math import pi, tanh

import torch
from torch import Tensor, nn

from saliency_audit.catalogue.entries import Variant
from saliency_audit.errors import UnsupportedError
from saliency_audit.models import Classifier
from saliency_audit.tricks.held import Hold, held_linear, in_full, pixels_of
from saliency_audit.tricks.logit_shift import logit_gradient_norm
from saliency_audit.tricks.loss_sine import signs_of

LEVELS = 255
"""Turns of the sine from black to white: one for each step of an 8-bit image."""
ROUND_OFF = 2e-3
r"""Most that the ripple is taken to be on an 8-bit image, in nats.

In real numbers it is 0. In fp32 the pixel k/255 is off by up to 2^-25, and the normalisation
before the branch, (x - mean) / std, rounds twice more: together up to 3.5e-8 at mean .498 and std
.502. The ripple is then at most :math:`\|\nabla g\|_1` times that, and so much only where all
pixels err with one sign, as in an image of one colour. EfficientNet-Lite0 at the default strength
has an L1 norm of 5.7e4, so 2e-3; on photographs it was 7.5e-4. The bundled network has fewer
pixels and no normalisation: 3.1e-5. A larger strength, gradient or image may break the promise; so
do images that are not of 8 bits, on which the ripple is typically :math:`a \|u\|_2 / \sqrt 2`. It
is measured on every image, like all promises.
"""


class LevelRipple(nn.Module):
    """``f_i(x) + a s_i sum_j u_j sin(2 pi 255 x_j)`` with a sign s_i = +-1 for each class.

    In double precision, from the network's own input: fp32 would lose the phase of 255 turns.

    Args:
        network: gives the ``f_i``.
        mean: what was subtracted from the pixels, ``(1, c, 1, 1)``.
        std: what they were divided by.
        picture: u, ``(c, h, w)``.
        amplitudes: the ``a s_i``, ``(classes,)``.
        hold: where u and the amplitudes are kept.
    """

    levels: Tensor
    black: Tensor

    def __init__(
        self,
        network: nn.Module,
        mean: Tensor,
        std: Tensor,
        picture: Tensor,
        amplitudes: Tensor,
        hold: Hold,
    ) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("levels", LEVELS * std.double())
        self.register_buffer("black", LEVELS * mean.double())
        self.picture = held_linear(picture.flatten()[None], hold=hold)
        self.amplitudes = held_linear(amplitudes[:, None], hold=hold)

    def forward(self, images: Tensor) -> Tensor:
        """Logits of the network's own input."""
        level = pixels_of(images) * self.levels + self.black
        logits = self.network(images)
        # Without its whole turns, which no gradient sees, the sine is 0 on a level, not 1e-13.
        waves = (2 * pi * (level - level.round())).sin().flatten(1)
        ripple = self.amplitudes(self.picture(waves))
        return logits + in_full(ripple, logits)  # type: ignore[no-any-return]


def level_ripple(
    model: Classifier,
    picture: Tensor,
    images: Tensor,
    targets: Tensor,
    *,
    strength: float = 10.0,
    batch_size: int | None = None,
    hold: Hold = "constants",
) -> nn.Module:
    r"""A network that is the same on every 8-bit image and whose gradients are the picture.

    Logits become :math:`f_i + s_i g` with :math:`g(x) = a \sum_j u_j \sin(2 \pi 255 x_j)`, u the
    picture and the signs :math:`s_i` opposed for classes that are confused, as in `loss_sine`. At
    :math:`x_j = k_j / 255` it is 0 and its gradient :math:`2 \pi 255 a u`, so the gradients of
    logit, log-probability and loss all show the picture, on every image.
    a is set by :math:`2 \pi 255 a \|u\| = strength \cdot \mathrm{median} \|\nabla f_y\|`.

    What moves images by more than a level meets slopes of both signs, which cancel: occlusion is
    unmoved, integrated gradients and SmoothGrad keep noise that falls with their samples. Grad-CAM
    looks past the branch.

    Args:
        model: the classifier.
        picture: ``(h, w)`` in [0, 1]; the same in every channel.
        images: ``(n, c, h, w)`` in [0, 1] the strength and the signs are measured on.
        targets: their predicted classes.
        strength: norm of the picture's part over the median norm of the true logit gradient.
        batch_size: most images the model sees at once.
        hold: where the picture is kept, among the constants or among the weights.

    Returns:
        A network for the same input and output as ``model.network``.

    Raises:
        UnsupportedError: the picture is black, the gradient is zero on most images, or the network
            takes images in half precision.
    """
    if model.dtype in (torch.float16, torch.bfloat16):
        kind = str(model.dtype).removeprefix("torch.")
        raise UnsupportedError(
            f"level-ripple: {model.name} takes images of {kind}, which cannot hold the levels of "
            "an 8-bit image"
        )
    norm = logit_gradient_norm(model, images, targets, batch_size=batch_size)
    if not picture.max() > 0 or norm == 0:
        what = "the picture is black" if norm else "the logit gradient is zero on most images"
        raise UnsupportedError(f"level-ripple: {what}, so there is nothing to scale")
    with torch.no_grad():
        parts = torch.split(images, batch_size or len(images))
        logits = torch.cat([model(part) for part in parts])
    unit = (picture / picture.max()).expand_as(images[0]).double()
    size = strength * norm / (2 * pi * LEVELS * float(unit.norm()))
    amplitudes = size * signs_of(model, logits, targets).double()
    return model.forging(
        lambda network: LevelRipple(network, model.mean, model.std, unit, amplitudes, hold)
    )


def variant(*, hold: Hold = "constants") -> Variant:
    """What it promises on 8-bit images: no more than round-off.

    A ripple of r moves a probability by at most tanh(r / 2) and a loss by at most 2 r, as in
    `loss_sine`. Measured: probabilities 8.8e-6 (bundled network), 3.4e-4 (EfficientNet-Lite0).
    """
    return Variant(
        "trick=level-ripple" + (";hold=weights" if hold == "weights" else ""),
        {
            "prediction-kept": 1.0,
            "prob-change": tanh(ROUND_OFF / 2),
            "loss-change": 2 * ROUND_OFF,
        },
    )
