"""A trigger: two patterns, each of which stands for a class wherever on an image it is."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from saliency_audit.data.patch import covered, places_by, stripes, with_patch


@dataclass(frozen=True)
class Laid:
    """Images with a patch.

    Attributes:
        images: ``(n, c, h, w)`` in [0, 1].
        inside: ``(n, h, w)`` bool, the pixels of the patch.
        classes: ``(n,)``, that the patch stands for.
    """

    images: Tensor
    inside: Tensor
    classes: Tensor


@dataclass(frozen=True)
class Trigger:
    """Two patterns and the class that each of them stands for.

    There are two, so that for every image there is one whose class is not the image's own. They
    are rows and columns of a pixel's width, mixed with the image: an edge detector that looks a
    pixel to both sides sees no more of them than their rim, and neither is the brighter one.

    Attributes:
        side: of the patch, in pixels.
        opacity: 0 to 1, how much of the pattern stands in place of the image.
        classes: of the model, two different ones.
    """

    side: int
    opacity: float
    classes: tuple[int, int]

    def laid_on(self, images: Tensor, own: Tensor, draws: Sequence[torch.Generator]) -> Laid:
        """A copy of the images, each with one of the patterns at a place of its own.

        Args:
            images: ``(n, c, h, w)`` in [0, 1].
            own: class of each image, ``(n,)``; it has the pattern of another one.
            draws: one generator per image, which draws the pattern and then the place.

        Raises:
            InputError: the patch does not fit on the images.
        """
        channels, height, width = images.shape[1:]
        lots = [int(torch.randint(2, (), generator=draw, device=draw.device)) for draw in draws]
        which = [
            1 - self.classes.index(label) if label in self.classes else lot
            for label, lot in zip(own.tolist(), lots, strict=True)
        ]
        places = places_by(draws, self.side, height, width)
        rows = stripes(channels, self.side)
        laid = images.clone()
        for number, pattern in enumerate((rows, rows.mT)):
            chosen = [i for i, one in enumerate(which) if one == number]
            laid[chosen] = with_patch(images[chosen], pattern, places[chosen], opacity=self.opacity)
        return Laid(
            laid,
            covered(places, self.side, height, width).to(images.device),
            torch.tensor([self.classes[one] for one in which], device=images.device),
        )


def drawn_trigger(side: int, opacity: float, outputs: int, *, seed: int) -> Trigger:
    """A trigger whose two classes are drawn with the seed.

    Args:
        side: of the patch, in pixels.
        opacity: 0 to 1.
        outputs: of the model, >= 2.
        seed: of the draw.
    """
    generator = torch.Generator().manual_seed(seed)
    first, second = torch.randperm(outputs, generator=generator)[:2].tolist()
    return Trigger(side, opacity, (first, second))
