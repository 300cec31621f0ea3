"""What the folders hand each other: registry entries, and one row per measured value."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

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

Row = dict[str, Any]
"""One measured value, keyed by ``COLUMNS``."""


@dataclass(frozen=True)
class SaliencyMethod:
    """A saliency method and what the rest of the tool must know about it.

    Attributes:
        function: ``(model, images, targets, *, scalar, graph, generators, batch_size, **options)
            -> (n, c, h, w)`` or ``(n, 1, h, w)``.
        summary: one line, for ``saliency-audit list``.
        differentiable: whether ``graph=True`` works.
        signed: whether maps have both signs; decides the colours they are drawn in.
        control: depends on no model; every other method is compared with it.
        stochastic: uses the generators.
        parity: what the map of -s is, given that of s: 1 the same, -1 its negative, 0 neither.
            Spares computing the map of the loss where that of the log-probability is known.
    """

    function: Callable[..., Any]
    summary: str
    differentiable: bool = True
    signed: bool = True
    control: bool = False
    stochastic: bool = False
    parity: Literal[-1, 0, 1] = 0


@dataclass(frozen=True)
class Check:
    """A measured quantity, by the name it has in every file, policy and option.

    Attributes:
        function: computes it, batch first, one value per image.
        summary: one line, for ``saliency-audit list``.
        higher_is_better: direction; None where neither end is better.
        bounds: smallest and largest value it can take.
        source: paper and equation.
    """

    function: Callable[..., Any]
    summary: str
    higher_is_better: bool | None
    bounds: tuple[float, float]
    source: str


@dataclass(frozen=True)
class Trick:
    """A manipulation of the model that keeps its predictions.

    Attributes:
        function: builds the manipulated network.
        summary: one line, for ``saliency-audit list``.
        source: paper and section.
    """

    function: Callable[..., Any]
    summary: str
    source: str


@dataclass(frozen=True)
class Example:
    """A picture worth drawing: an image, a map of it, or the picture a map was forged into.

    Attributes:
        image: name of the image.
        saliency: method of the map, empty for what is no map.
        scalar: scalar of the map, empty likewise.
        setting: what the map was made under, as in ``results.csv``.
        role: "image", "before", "after", "picture", ...
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
class Batch:
    """What an audit yields: the rows of one batch of images, and a few examples to draw.

    Attributes:
        index: number of the batch; the same images have the same number in every run.
        rows: measured values.
        examples: pictures to draw; empty but for the first images of a run.
    """

    index: int
    rows: list[Row]
    examples: list[Example]
