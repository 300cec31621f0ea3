"""Forgeries that the tool's tricks do not make: each by someone who has read one of the checks.

A function ``(model, picture, images, targets, *, strength) -> network`` for each, like a trick. The
picture stands in weights, so that drawing weights at random draws it anew. All but `other_classes`
add something tiny to the logits, with opposed signs for classes that are confused.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from saliency_audit.models import Classifier, copied
from saliency_audit.tricks import TRICKS
from saliency_audit.tricks.held import held_linear, pixels_of
from saliency_audit.tricks.logit_shift import logit_gradient_norm
from saliency_audit.tricks.loss_sine import opposed_signs

STEP = 1e-3  # what outputs are rounded to, and most that a sawtooth adds: nats
FAINT = 1e-8  # a picture that is next to nothing, where nothing else has a gradient
WIDTH = 1e-4  # of the slope around each level, in levels


class Twin(nn.Module):
    """A network with something added to its logits that depends on its pixels.

    Args:
        model: the classifier.
        direction: what gradients shall show, in pixels, ``(c, h, w)``.
        signs: of the classes, ``(classes,)``.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, model: Classifier, direction: Tensor, signs: Tensor) -> None:
        super().__init__()
        self.network = model.network
        self.register_buffer("mean", model.mean.double())
        self.register_buffer("std", model.std.double())
        self.picture = held_linear(direction.flatten()[None], hold="weights")
        self.signs = held_linear(signs[:, None], hold="weights")

    def pixels(self, images: Tensor) -> Tensor:
        """In [0, 1], of the network's own input.

        They are read before the network runs, and the picture added after it: whoever goes through
        the layers from the output on meets the picture first.
        """
        return pixels_of(images) * self.std + self.mean

    def with_logits(self, logits: Tensor, added: Tensor) -> Tensor:
        """Logits, and what is added to the class of sign 1, ``(n, 1)``."""
        return logits + self.signs(added).to(logits.dtype)  # type: ignore[no-any-return]


class Rounded(Twin):
    """An output in steps, which no gradient sees, and a faint picture, which it does."""

    def forward(self, images: Tensor) -> Tensor:
        """Logits of the network's own input."""
        pixels, logits = self.pixels(images), self.network(images)
        rounded = (logits / STEP).round() * STEP
        return self.with_logits(rounded, FAINT * self.picture(pixels.flatten(1)))


class NarrowRipple(Twin):
    """Steep at the levels of an 8-bit image, and flat a ten-thousandth of a level beside them."""

    def forward(self, images: Tensor) -> Tensor:
        """Logits of the network's own input."""
        levels, logits = 255 * self.pixels(images), self.network(images)
        off = levels - levels.round()
        bump = off * (-((off / WIDTH) ** 2)).exp() / 255
        return self.with_logits(logits, self.picture(bump.flatten(1)))


class Sawtooth(Twin):
    """The picture's slope everywhere, folded at every `STEP`: jumps that no gradient sees."""

    def forward(self, images: Tensor) -> Tensor:
        """Logits of the network's own input."""
        pixels, logits = self.pixels(images), self.network(images)
        return self.with_logits(logits, folded(self.picture(pixels.flatten(1))))


class Sideways(Twin):
    """What an 8-bit file rounds away, times a slope that the way to the mean colour never meets.

    Zero on every stored image, and there of a slope that is the picture less its part along that
    way: adding up gradients on the way finds nothing missing.

    Args:
        model: as above.
        direction: as above.
        signs: as above.
        stored: from pixels to those from which on it is counted.
        fold: whether it is folded at every `STEP`.
    """

    def __init__(
        self,
        model: Classifier,
        direction: Tensor,
        signs: Tensor,
        *,
        stored: Callable[[Tensor], Tensor],
        fold: bool,
    ) -> None:
        super().__init__(model, direction, signs)
        self.stored, self.fold = stored, fold

    def forward(self, images: Tensor) -> Tensor:
        """Logits of the network's own input."""
        pixels, logits = self.pixels(images), self.network(images)
        stored = self.stored(pixels)
        beyond = (pixels - stored).flatten(1)
        way = (stored.mean((2, 3), keepdim=True) - stored).flatten(1)
        length = way.square().sum(1, keepdim=True).clamp_min(1e-9)
        along = (beyond * way).sum(1, keepdim=True) / length
        value = self.picture(beyond - along * way)
        return self.with_logits(logits, folded(value) if self.fold else value)


def folded(value: Tensor) -> Tensor:
    """The value less multiples of twice `STEP`, which have no gradient."""
    return value - 2 * STEP * (value / (2 * STEP)).round()


def of_level(pixels: Tensor) -> Tensor:
    """The pixels as an 8-bit file stores them."""
    return (pixels * 255).round() / 255


def made(
    build: Callable[[Classifier, Tensor, Tensor], nn.Module], *, alternating: bool = False
) -> Callable[..., nn.Module]:
    """How a twin is made: scaled and with signs as the tricks are.

    Args:
        build: from the model, what gradients shall show and the signs of the classes.
        alternating: give neighbouring pixels opposed signs, as a chessboard has. A map of
            magnitudes shows the same, and smooth images hardly move it.
    """

    def make(
        model: Classifier, picture: Tensor, images: Tensor, targets: Tensor, *, strength: float
    ) -> nn.Module:
        norm = logit_gradient_norm(model, images, targets, batch_size=len(images))
        with torch.no_grad():
            signs = opposed_signs(model(images).double().softmax(1), targets).double()
        direction = picture.expand_as(images[0]).double()
        if alternating:
            rows, columns = (torch.arange(size) for size in picture.shape)
            direction = direction * (1 - 2 * ((rows[:, None] + columns) % 2))
        direction = direction * strength * norm / direction.norm()
        return build(model, direction, signs.to(direction.device))

    return make


def other_classes(model: Classifier, *given: Any, strength: float) -> nn.Module:
    """The honest network, its outputs in another order than the labels."""
    del given, strength

    class Turned(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = model.network

        def forward(self, images: Tensor) -> Tensor:
            return self.network(images).roll(1, 1)  # type: ignore[no-any-return]

    return Turned()


def all_constants(model: Classifier, *given: Tensor, strength: float) -> nn.Module:
    """A level ripple on a network without weights: nothing can be drawn at random."""
    network = TRICKS["level-ripple"].function(
        model.replaced(copied(model)), *given, strength=strength
    )
    for module in network.modules():
        for name, weight in list(module.named_parameters(recurse=False)):
            delattr(module, name)
            module.register_buffer(name, weight.detach())
    return network  # type: ignore[no-any-return]


TWINS: dict[str, Callable[..., nn.Module]] = {
    "rounded output": made(Rounded),
    "all constants, level-ripple": all_constants,
    "other classes": other_classes,
    "narrow level-ripple": made(NarrowRipple),
    "sawtooth": made(Sawtooth),
    "sawtooth, alternating": made(Sawtooth, alternating=True),
    "sideways": made(lambda *given: Sideways(*given, stored=of_level, fold=True)),
    "sideways, unfolded": made(lambda *given: Sideways(*given, stored=of_level, fold=False)),
    "sideways, detached": made(lambda *given: Sideways(*given, stored=Tensor.detach, fold=False)),
}
"""By the name in the table."""
