"""``synthetic:hierarchy``: one shape on a background, and which pixels are the shape."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from math import cos, pi, sin
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from saliency_audit.data.dataset import ImageData, labels_fit
from saliency_audit.data.generated import Wanted, wanted
from saliency_audit.data.request import Request, refuse_classes
from saliency_audit.errors import InputError, lookup
from saliency_audit.seeding import seed_of

NAME = "hierarchy"
TRAIN, TEST = 4096, 1024
LEAST_SIDE = 16
THICKNESS = 0.16
"""Of a tail, from its middle line, where 1 is the radius of a disc."""
REACH = 1.2
"""No shape reaches further from its centre, in the same unit."""

Plane = np.ndarray[Any, np.dtype[np.float64]]


def _near(*corners: tuple[float, float]) -> Callable[[Plane, Plane], Any]:
    """What lies near a line through these corners."""

    def inside(u: Plane, v: Plane) -> Any:
        distances = []
        for (x, y), (to_x, to_y) in pairwise(corners):
            along_x, along_y = to_x - x, to_y - y
            share = ((u - x) * along_x + (v - y) * along_y) / (along_x**2 + along_y**2)
            share = share.clip(0, 1)
            distances.append(np.hypot(u - x - share * along_x, v - y - share * along_y))
        return np.min(distances, 0) <= THICKNESS

    return inside


_WAVE = [(-1 + step / 8, 0.4 * sin(pi * step / 8)) for step in range(17)]

SHAPES: dict[str, Callable[[Plane, Plane], Any]] = {
    "disc": lambda u, v: np.hypot(u, v) <= 1,
    "ring": lambda u, v: (np.hypot(u, v) <= 1) & (np.hypot(u, v) >= 0.6),
    "half disc": lambda u, v: (np.hypot(u, v) <= 1) & (v >= 0),
    "square": lambda u, v: np.maximum(abs(u), abs(v)) <= 0.8,
    "frame": lambda u, v: (
        (np.maximum(abs(u), abs(v)) <= 0.8) & (np.maximum(abs(u), abs(v)) >= 0.45)
    ),
    "bar": lambda u, v: (abs(u) <= 1) & (abs(v) <= 0.4),
    "straight tail": _near((-1, 0), (1, 0)),
    "bent tail": _near((-0.8, 0.6), (-0.8, -0.6), (0.8, -0.6)),
    "forked tail": _near((0, -1), (0, 0), (0.7, 0.7), (0, 0), (-0.7, 0.7)),
    "wavy tail": _near(*_WAVE),
}
"""The ten classes, three kinds of circle, three of rectangle and four of tail: whether a point
``(u, v)`` is in the shape, whose centre is (0, 0)."""

BACKGROUNDS = ("dark", "blurred", "noisy")


@dataclass(frozen=True)
class Scene:
    """One image before it is drawn: nothing of it depends on the size.

    Attributes:
        label: place in ``SHAPES``.
        background: place in ``BACKGROUNDS``.
        radius: of the shape, in shorter sides of the image.
        centre: where it is, from the top left corner to the bottom right one (0 to 1), of what its
            reach leaves of the width and the height.
        angle: by which it is turned.
        colour: of the shape, ``(3,)``, 0.75 to 1 each.
        behind: ``(3, 4, 4)`` in [0, 0.65], the colours that a blurred background goes through; the
            first of them decides the others.
        generator: draws the noise.
    """

    label: int
    background: int
    radius: float
    centre: tuple[float, float]
    angle: float
    colour: Plane
    behind: Plane
    generator: np.random.Generator

    def mask(self, height: int, width: int) -> Any:
        """Which pixels have their centre in the shape, ``(h, w)`` bool."""
        unit = min(height, width)
        reach = REACH * self.radius
        x = reach + self.centre[0] * (width / unit - 2 * reach)
        y = reach + self.centre[1] * (height / unit - 2 * reach)
        across = ((np.arange(width) + 0.5) / unit - x) / self.radius
        down = ((np.arange(height)[:, None] + 0.5) / unit - y) / self.radius
        u = across * cos(self.angle) + down * sin(self.angle)
        v = down * cos(self.angle) - across * sin(self.angle)
        return list(SHAPES.values())[self.label](u, v)

    def pixels(self, height: int, width: int) -> Tensor:
        """The picture, ``(3, h, w)`` float64 in [0, 1]; draws noise, so it is called once."""
        first = torch.from_numpy(self.behind[:, :1, :1])
        if BACKGROUNDS[self.background] == "dark":
            picture = (0.3 * first).expand(3, height, width)
        elif BACKGROUNDS[self.background] == "blurred":
            picture = F.interpolate(
                torch.from_numpy(self.behind)[None],
                (height, width),
                mode="bilinear",
                align_corners=True,
            )[0]
        else:
            noise = self.generator.standard_normal((3, height, width))
            picture = (first + 0.15 * torch.from_numpy(noise)).clamp(0, 0.65)
        inside = torch.from_numpy(self.mask(height, width))
        return torch.where(inside, torch.from_numpy(self.colour)[:, None, None], picture)


def scene(index: int, *, seed: int, split: str) -> Scene:
    """What is on an image; it depends on these three alone.

    Args:
        index: of the image; its last digit is its class.
        seed: of the data set.
        split: "train" or "test".
    """
    generator = np.random.default_rng(seed_of(seed, f"synthetic:{NAME}", split, index))
    background = int(generator.integers(len(BACKGROUNDS)))
    radius, x, y, angle = generator.random(4).tolist()
    colour, behind = generator.random(3), generator.random((3, 4, 4))
    return Scene(
        label=index % len(SHAPES),
        background=background,
        radius=0.2 + 0.14 * radius,
        centre=(x, y),
        angle=2 * pi * angle,
        colour=0.75 + 0.25 * colour,
        behind=0.65 * behind,
        generator=generator,
    )


@dataclass(frozen=True)
class Drawing:
    """Draws images, each when it is read.

    Attributes:
        seed: of the data set.
        split: "train" or "test".
        shape: ``(c, h, w)``; the mean of the colours where c is 1.
    """

    seed: int
    split: str
    shape: tuple[int, int, int]

    def __call__(self, position: int) -> Tensor:
        """The image at ``position``, of 8-bit values."""
        channels, height, width = self.shape
        picture = scene(position, seed=self.seed, split=self.split).pixels(height, width)
        if channels == 1:
            picture = picture.mean(0, keepdim=True)
        return (picture * 255).round().float() / 255


@dataclass(frozen=True)
class Causes:
    """Tells which pixels of `Drawing`'s images are the shape."""

    drawing: Drawing

    def __call__(self, position: int) -> Tensor:
        """Of the image at ``position``, ``(h, w)``, 0 or 1."""
        seed, split = self.drawing.seed, self.drawing.split
        mask = scene(position, seed=seed, split=split).mask(*self.drawing.shape[1:])
        return torch.from_numpy(mask).float()


def _hierarchy(asked: Wanted, request: Request) -> ImageData:
    """Ten shapes of three categories on three backgrounds.

    A shape is somewhere, of some size, turned, and brighter than all that is behind it; nothing
    else on the image tells the class, so the pixels of the shape are the cause of the label.
    Source: P1 B.1, which names the categories (circular, rectangular, tail), the number of classes,
    the backgrounds (dark, blurred, noisy) and the numbers of images; which ten shapes they were it
    does not say, and these are ours.
    """
    shape = request.prepare.input_shape
    if min(shape[1:]) < LEAST_SIDE:
        raise InputError(
            f"synthetic:{NAME} draws images of at least {LEAST_SIDE}x{LEAST_SIDE}, but the model "
            f"takes {'x'.join(map(str, shape))}; give a larger --size"
        )
    count = asked.images or (TRAIN if asked.split == "train" else TEST)
    names = [f"{asked.split}/{index:05d}" for index in range(count)]
    labels = np.arange(count) % len(SHAPES)
    labels_fit(names, labels, request.outputs)
    drawing = Drawing(asked.seed, asked.split, shape)
    return ImageData(
        name=f"synthetic:{asked.said}",
        names=names,
        labels=labels,
        sizes=[shape[0] * shape[1] * shape[2]] * count,
        read=drawing,
        input_shape=shape,
        class_names=list(SHAPES),
        content=repr(drawing),
        marks=Causes(drawing),
    )


SYNTHETIC = {NAME: _hierarchy}


def synthetic(place: str, request: Request) -> ImageData:
    """Drawn images with a known cause: ``NAME[:images=N,seed=N][@train]``.

    Raises:
        InputError: there is no such data set, or the model takes images too small for it.
    """
    asked = wanted(place)
    refuse_classes(request, f"synthetic:{asked.name}")
    return lookup("synthetic data set", SYNTHETIC, asked.name)(asked, request)
