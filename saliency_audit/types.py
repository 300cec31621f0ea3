"""What the folders hand each other: one row per measured value, pictures and curves."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

COLUMNS = (
    "image",
    "label",
    "target",
    "model",
    "saliency",
    "scalar",
    "check",
    "setting",
    "value",
    "status",
)
"""Columns of ``results.csv``. ``status`` is ok, undefined or error; ``label`` and ``target`` are
class indices or empty; ``saliency`` and ``scalar`` are empty for checks of the model alone, and
``scalar`` is empty for a control, which explains none."""

TEXTS = ("image", "model", "saliency", "scalar", "check", "setting", "status")
CLASSES = ("label", "target")
"""Which of them hold text, and which class indices; ``value`` is a number."""

Row = dict[str, Any]
"""One measured value, keyed by ``COLUMNS``."""


@dataclass(frozen=True)
class Example:
    """A picture worth drawing: an image, a map of it, or the picture a map was forged into.

    Attributes:
        image: name of the image.
        saliency: method of the map, empty for what is no map.
        scalar: scalar of the map, empty likewise.
        setting: what the map was made under, as in ``results.csv``.
        role: "image", "before", "after", "picture", "wanted", "attacked", "target", "map", and of a
            metric "perturbed" (an image), "randomised" (a map), "patched" (an image),
            "patched-map", "start" and "sample" (images).
        pixels: ``(h, w)`` or ``(h, w, 3)`` in [0, 1] for images; ``(h, w)``, channel mean, signed
            if the method is, for maps. float32.
    """

    image: str
    saliency: str
    scalar: str
    setting: str
    role: str
    pixels: np.ndarray[Any, np.dtype[np.float32]]


@dataclass(frozen=True)
class CurvePoint:
    """What one batch of images adds to one point of a curve.

    Attributes:
        model: name of the model.
        saliency: method, empty for curves of the model alone.
        check: what is measured.
        x: where.
        n: images with a value.
        total: sum of the values.
        squares: sum of their squares.
    """

    model: str
    saliency: str
    check: str
    x: float
    n: int
    total: float
    squares: float


@dataclass(frozen=True)
class Batch:
    """What an audit yields: the rows of one batch of images, and a few examples to draw.

    Attributes:
        index: number of the batch in its job; the same images have the same one in every run.
        rows: measured values.
        examples: pictures to draw; empty but for the first images of a run.
        curves: sums of what is measured at many points, too many for rows.
        job: what it belongs to, in a run that does several things one after the other.
    """

    index: int
    rows: list[Row]
    examples: list[Example]
    curves: list[CurvePoint] = field(default_factory=list)
    job: str = ""
