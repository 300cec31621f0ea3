"""What a run takes: the passes of its plan, and their time by one timed batch."""

import time
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from inspect import signature
from math import ceil, prod
from typing import Any, TypedDict

import torch
from torch import Tensor

from saliency_audit.catalogue.entries import SaliencyMethod, function_of
from saliency_audit.commands.explain import OPPOSITE, predict
from saliency_audit.commands.known import first_images
from saliency_audit.commands.reason import refusing
from saliency_audit.commands.setup import Setup
from saliency_audit.errors import AuditError
from saliency_audit.methods import METHODS
from saliency_audit.methods.occlusion import windows
from saliency_audit.models import Classifier, input_gradient, surrogate
from saliency_audit.processes import Processes
from saliency_audit.report.wording import duration, rounded

Known = Mapping[str, Any]
Sides = Sequence[int]


@dataclass(frozen=True)
class Passes:
    """Images that go through a network.

    Attributes:
        forward: without a gradient.
        gradient: and back.
        second: and the gradient of the gradient after it.
    """

    forward: float = 0.0
    gradient: float = 0.0
    second: float = 0.0

    def __add__(self, other: "Passes") -> "Passes":
        return Passes(
            self.forward + other.forward,
            self.gradient + other.gradient,
            self.second + other.second,
        )

    def __mul__(self, times: float) -> "Passes":
        return Passes(self.forward * times, self.gradient * times, self.second * times)

    @property
    def count(self) -> int:
        """All of them."""
        return round(self.forward + self.gradient + self.second)


FORWARD, GRADIENT = Passes(forward=1), Passes(gradient=1)
MANY = 20
"""Points of a map from which on it is left out of some defaults."""
MOST = 200
"""Gradients of a map from which on it is left out of all defaults."""
LARGE = 128 * 128
"""Pixels from which on an image is large: a pass through a usual network takes a tenth of a second
of a core and more."""


def points(entry: SaliencyMethod, options: Known, sides: Sides) -> int:
    """How many points a map looks at: of the path, noisy copies or covered windows; 1 for none.

    >>> found = [METHODS[name] for name in ("smoothgrad", "occlusion", "relex")]
    >>> [points(entry, {"samples": 7}, (28, 28)) for entry in found]
    [7, 169, 5000]
    """
    parameters = signature(entry.function).parameters
    if entry.points is not None:
        usual = {option.key: parameters[option.key].default for option in entry.options}
        given = {key: options.get(key, default) for key, default in usual.items()}
        return int(function_of(entry.points)(**given))
    if "window" in parameters:
        side, step = windows(*sides, window=options.get("window"), stride=options.get("stride"))
        return prod(ceil(max(0, length - side) / step) + 1 for length in sides)
    for name in ("samples", "steps"):
        if name in parameters:
            return int(options.get(name, parameters[name].default))
    return 1


def dear(options: Known, sides: Sides) -> list[str]:
    """The methods whose maps look at many points.

    >>> dear({"samples": 5}, (28, 28))
    ['integrated-gradients', 'occlusion', 'relex', 'moreau', 'sparse-moreau', 'group-moreau']
    """
    return [name for name, entry in METHODS.items() if points(entry, options, sides) >= MANY]


def dearest(options: Known, sides: Sides) -> list[str]:
    """The methods whose maps are made only when they are asked for, by their gradients.

    >>> dearest({"samples": 50}, (28, 28))
    ['relex', 'moreau', 'sparse-moreau', 'group-moreau']
    """
    found = {name: passes_of_map(name, options, sides, at_once=1) for name in METHODS}
    return [name for name, passes in found.items() if passes.gradient >= MOST]


def is_large(sides: Sides) -> bool:
    """Whether passes of images of these sides take long."""
    return prod(sides) >= LARGE


def passes_of_map(
    name: str,
    options: Known,
    sides: Sides,
    *,
    at_once: float,
    methods: Mapping[str, SaliencyMethod] = METHODS,
) -> Passes:
    """What a map of one image takes.

    Args:
        name: in ``methods``.
        options: of all methods.
        sides: height and width of an image.
        at_once: images that are explained in one call, on average.
        methods: by name.

    >>> passes_of_map("smoothgrad", {}, (28, 28), at_once=8)
    Passes(forward=0.0, gradient=50, second=0.0)
    >>> passes_of_map("deeplift", {}, (28, 28), at_once=8).count
    2
    """
    entry = methods[name]
    looked = points(entry, options, sides)
    if "window" in signature(entry.function).parameters:
        return Passes(forward=looked + 1)  # and the image itself
    if looked > 1:
        return Passes(gradient=looked)
    each, call = entry.passes
    return Passes(gradient=each, forward=call / at_once)


def of_batches(images: int, at_once: int) -> float:
    """Images of a batch on average, where the last one is smaller.

    >>> of_batches(5, 4), of_batches(0, 4)
    (2.5, 1.0)
    """
    return images / ceil(images / at_once) if images else 1.0


def scalars_computed(scalars: Iterable[str], parity: int) -> list[str]:
    """The scalars whose maps are computed; the others' are had by a sign.

    >>> scalars_computed(["logit", "log-prob", "loss"], -1)
    ['logit', 'log-prob']
    """
    computed: list[str] = []
    for scalar in dict.fromkeys(scalars):
        if not parity or OPPOSITE.get(scalar) not in computed:
            computed.append(scalar)
    return computed


Expect = Callable[[Passes], None]
"""Takes what a run will take from here on, once it is known."""


class Told(TypedDict, total=False):
    """What share of an audit this process does, and who is told how far it is.

    Attributes:
        shard: ``(rank, world)``: it takes every world-th batch.
        tell: called with lines the user should read.
        advance: called with (work done, all work).
        begin: called once all is known to work and before anything is saved; returns the indices
            of batches that need no work.
        expect: called before the first map with the passes that all take at most, where that is
            known.
    """

    shard: tuple[int, int]
    tell: Callable[[str], None]
    advance: Callable[[int, int], None]
    begin: Callable[[], Container[int]]
    expect: Expect


def listeners(
    told: Told,
) -> tuple[Callable[[str], None], Callable[[int, int], None], Callable[[], Container[int]], Expect]:
    """``tell``, ``advance``, ``begin`` and ``expect``; what was not given does nothing.

    Raises:
        TypeError: an argument that no audit has.
    """
    if unknown := set(told) - set(Told.__annotations__):
        raise TypeError(f"unexpected keyword argument '{min(unknown)}'")
    return (
        told.get("tell", lambda line: None),
        told.get("advance", lambda made, total: None),
        told.get("begin", tuple),
        told.get("expect", lambda left: None),
    )


def expecting(setup: Setup, processes: Processes) -> Expect:
    """Tells the user, before anything is measured, what a run takes; in no file."""

    def expect(left: Passes) -> None:
        if setup.quiet or not processes.main:
            return
        try:
            with refusing():
                seconds = seconds_of(left, partial(seconds_a_pass, setup))
        except (AuditError, MemoryError, torch.OutOfMemoryError):
            return  # the audit itself says what is wrong, or goes in smaller batches
        count = setup.model.passes + left.count * processes.world
        setup.screen.tell("[dim]note[/dim]", told(count, seconds))

    return expect


def told(count: int, seconds: float) -> str:
    """Passes and their time as a line.

    >>> told(3432, 130.0)
    'about 3,400 passes of an image through the network, about 2 min here, and then the report'
    """
    return (
        f"about {rounded(count):,} passes of an image through the network, about "
        f"{duration(seconds)} here, and then the report"
    )


def seconds_of(left: Passes, pace: Callable[[str], float]) -> float:
    """Seconds that passes take.

    Args:
        left: passes; only kinds that there are of them are asked for.
        pace: seconds of a pass of a kind, such as `seconds_a_pass` times.

    >>> seconds_of(Passes(forward=10, gradient=2), {"forward": 0.5, "gradient": 2.0}.__getitem__)
    9.0
    """
    kinds = {kind: float(getattr(left, kind)) for kind in ("forward", "gradient", "second")}
    return sum(number * pace(kind) for kind, number in kinds.items() if number)


def seconds_a_pass(setup: Setup, kind: str = "gradient") -> float:
    """Seconds that a pass of one image takes, in a batch as a run has them.

    Args:
        setup: model and images.
        kind: of pass, a field of `Passes`.
    """
    device = setup.model.mean.device
    most = min(setup.batch_size, 32)
    known, _, _ = first_images(setup.data, most, most, device=device, workers=0)
    run = {"forward": _forward, "gradient": _gradient, "second": _second}[kind]

    def timed(size: int) -> float:
        images = known.repeat(-(-size // len(known)), 1, 1, 1)[:size]
        classes = torch.zeros(size, dtype=torch.long, device=device)
        started = time.perf_counter()
        with setup.model.audited():
            run(setup.model, images, classes)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return (time.perf_counter() - started) / size

    # What is slow is slow the first time and alone, too.
    first = timed(1)
    return first if first > 1 else min(timed(most) for _ in range(1 if first * most > 2 else 3))


def _forward(model: Classifier, images: Tensor, classes: Tensor) -> None:
    del classes
    predict(model, images, batch_size=len(images))


def _gradient(model: Classifier, images: Tensor, classes: Tensor) -> None:
    input_gradient(model, images, classes)


def _second(model: Classifier, images: Tensor, classes: Tensor) -> None:
    pixels = images.clone().requires_grad_()
    with surrogate(model, "exact-forward", beta=30.0):
        total = input_gradient(model, pixels, classes, graph=True).square().sum()
        if total.requires_grad:
            torch.autograd.grad(total, pixels, allow_unused=True)
