"""What both sides are shown, and what one comparison is made of."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from saliency_audit import audits
from saliency_audit.assets import bundled_images
from saliency_audit.metrics import View
from saliency_audit.models import Classifier, input_gradient, load

SEED = 0


@dataclass(frozen=True)
class Subject:
    """What both sides are shown.

    Attributes:
        model: the bundled network, frozen; the peers get the network without our wrapper.
        images: ``(n, 1, 28, 28)`` in [0, 1]; each has a black and a white pixel, so that a noise
            level is the same deviation for all.
        labels: ``(n,)``.
        names: of the images, which fix our noise.
        maps: gradients of the labels' logits, ``(n, 1, 28, 28)``, signed.
    """

    model: Classifier
    images: Tensor
    labels: Tensor
    names: list[str]
    maps: Tensor

    def view(self) -> View:
        """What our metrics are shown; a new one each time, which remembers nothing."""
        with torch.no_grad():
            logits = self.model(self.images)
        return View(
            model=self.model,
            images=self.images,
            names=self.names,
            labels=self.labels,
            targets=self.labels,
            logits=logits,
            method="gradient",
            saliency=self.maps,
            explain=partial(
                audits.explain,
                "gradient",
                scalar="logit",
                seed=SEED,
                batch_size=len(self.images),
                options={},
            ),
            batch_size=len(self.images),
            seed=SEED,
        )

    def right(self, attacked: Tensor) -> Tensor:
        """1 where the label is predicted, before and after, ``(n,)``."""
        with torch.no_grad():
            seen = [
                self.model(images).argmax(1) == self.labels for images in (self.images, attacked)
            ]
        return (seen[0] & seen[1]).float()


def subject(count: int) -> Subject:
    """The first images of the bundled test set that use the whole range."""
    levels, labels, names = bundled_images("test")
    flat = levels.reshape(len(levels), -1)
    chosen = np.flatnonzero((flat.min(1) == 0) & (flat.max(1) == 255))[:count]
    model = load(None).eval().requires_grad_(False)
    images = torch.from_numpy(levels[chosen]).unsqueeze(1).float() / 255
    classes = torch.from_numpy(labels[chosen])
    maps = input_gradient(model, images, classes)
    return Subject(model, images, classes, [names[i] for i in chosen], maps)


@dataclass(frozen=True)
class Pair:
    """One comparison.

    Attributes:
        name: our side.
        peer: the other.
        ours: our work.
        theirs: the peer's; both give tensors of one shape.
        shows: what the table shows of a result.
        number: that number.
        differs: in what the two are not the same thing; empty where they should be.
        timed: whether their times say something.
    """

    name: str
    peer: str
    ours: Callable[[], Tensor]
    theirs: Callable[[], Tensor]
    shows: str
    number: Callable[[Tensor], float] = lambda result: result.double().mean().item()
    differs: str = ""
    timed: bool = True
