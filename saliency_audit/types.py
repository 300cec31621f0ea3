"""What the folders hand each other: registry entries, and one row per measured value."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import inf
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

CONTROLS = ("random", "sobel")
"""Saliency methods that see no model: what others are compared with."""

PROPORTIONS = frozenset(
    {
        "prediction-kept",
        "attack-success",
        "accuracy",
        "robust-accuracy",
        "retrieval",
        "class-evidence",
        "pointing-game",
        "retrieval-clean-clean",
        "retrieval-clean-attacked",
        "retrieval-attacked-clean",
        "retrieval-attacked-attacked",
    }
)
"""Checks that are 0 or 1 for each image."""

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
        recorded: maps were made elsewhere and cannot be made again.
    """

    function: Callable[..., Any]
    summary: str
    differentiable: bool = True
    signed: bool = True
    control: bool = False
    stochastic: bool = False
    parity: Literal[-1, 0, 1] = 0
    recorded: bool = False


@dataclass(frozen=True)
class Check:
    """A measured quantity, by the name it has in every file, policy and option.

    Attributes:
        function: computes it, batch first, one value per image; None where only a `Metric` does.
        summary: one line, for ``saliency-audit list``.
        higher_is_better: direction; None where neither end is better.
        bounds: smallest and largest value it can take.
        source: paper and equation.
        chance: what a map without information gets: a number, ``1/classes``, the name of the key
            of ``setting`` that holds it (``top``), or nothing where it is not known beforehand.
    """

    function: Any
    summary: str
    higher_is_better: bool | None
    bounds: tuple[float, float]
    source: str
    chance: str = ""


@dataclass(frozen=True)
class Metric:
    """What `evaluate` can be asked for: one function that measures one or several checks.

    Attributes:
        function: ``(view, **options) -> list[Measured]``; its keyword-only parameters are the
            options of the command and of a policy.
        of: "map" reads the maps alone, "method" explains again (no map from a file will do),
            "model" reads no map of the run.
        checks: what it measures, by name. The one of the metric's own name is its answer.
        verdict: how the answer becomes a word: "random" compares it with the random map on the
            same images, "half" asks whether it is below one half (of a map that does not depend
            on the model at all), None gives none.
        needs: of the view, what may be missing: "labels", "other", "annotations".
        answer: what the setting of the answer holds; the others are stages on the way to it.
    """

    function: Callable[..., Any]
    of: Literal["map", "method", "model"]
    checks: Mapping[str, Check]
    verdict: Literal["random", "half"] | None = None
    needs: tuple[str, ...] = ()
    answer: str = ""


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
class Goal:
    """What an attack wants of a map, apart from how it searches.

    Attributes:
        function: ``(map, reference, **options) -> (n,)``, lower is more of it; differentiable.
            ``map`` is ``(n, h, w)``, magnitude, adding up to 1.
        wants: what the reference is: the "clean" map, a "region" (``(n, h, w)`` in [0, 1]), or
            another "map" that adds up to 1.
        criterion: likewise, not differentiable: what the best image is chosen by; None means
            ``function``.
        floor: least value of the criterion, at which nothing is left to search for.
    """

    function: Callable[..., Any]
    wants: Literal["clean", "region", "map"] = "clean"
    criterion: Callable[..., Any] | None = None
    floor: float = -inf


@dataclass(frozen=True)
class Attack:
    """A change of the image within a budget.

    Attributes:
        function: the search, ``(model, explain, aim, images, targets, *, eps, steps, step_size,
            generators, **options) -> images``.
        summary: one line, for ``saliency-audit list``.
        source: paper and section.
        goal: None for what does not aim at maps.
        options: of the search, where they differ from its own defaults.
        budgeted: whether it needs a budget.
    """

    function: Callable[..., Any]
    summary: str
    source: str
    goal: Goal | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    budgeted: bool = True


@dataclass(frozen=True)
class Objective:
    """What a classifier can be trained for.

    Attributes:
        function: ``(step, **options) -> Loss``; its keyword-only parameters are the options of
            the command.
        summary: one line, for ``saliency-audit list``.
        source: paper and equation.
        needs: of the step, what may be missing: "annotations", "targets" (a teacher's maps).
        smooth: whether it means nothing for piecewise linear networks, so that activations are
            replaced by softplus unless told otherwise.
    """

    function: Callable[..., Any]
    summary: str
    source: str
    needs: tuple[str, ...] = ()
    smooth: bool = False


@dataclass(frozen=True)
class Example:
    """A picture worth drawing: an image, a map of it, or the picture a map was forged into.

    Attributes:
        image: name of the image.
        saliency: method of the map, empty for what is no map.
        scalar: scalar of the map, empty likewise.
        setting: what the map was made under, as in ``results.csv``.
        role: "image", "before", "after", "picture", "attacked", "target", "map", and of a metric
            "perturbed" (an image) and "randomised" (a map).
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
