"""Replacing the pixels of images in the order of their maps: what several metrics are made of."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from saliency_audit.errors import InputError
from saliency_audit.maps import is_defined
from saliency_audit.metrics.fill import fill_name, filled
from saliency_audit.metrics.view import View, shared
from saliency_audit.models import Classifier

SHOWN = (0.1, 0.25, 0.5, 0.75, 0.9)
"""Shares of the pixels at which a picture is drawn."""

Score = Callable[[Tensor, Tensor], Tensor]
"""``(logits, indices of their images) -> (m,)``."""


@dataclass(frozen=True)
class Order:
    """In what order the units of each image are replaced.

    Attributes:
        ranks: ``(n, h, w)`` int32: how many units of the image go before this pixel's.
        units: of an image, pixels or regions.
        defined: ``(n,)``, whether the map ranks them at all.
    """

    ranks: Tensor
    units: int
    defined: Tensor

    def reversed(self) -> "Order":
        """Last things first."""
        return Order(self.units - 1 - self.ranks, self.units, self.defined)


@dataclass(frozen=True)
class Path:
    """From one picture of each image to another, one unit after the other.

    Attributes:
        order: of the units.
        before: what is shown of a unit at first: a fill, or "" for the image itself.
        after: what replaces it.
    """

    order: Order
    before: str
    after: str


def relevance(saliency: Tensor, reduce: str) -> Tensor:
    """How salient each pixel is.

    Args:
        saliency: ``(n, c, h, w)``, signed.
        reduce: "mean" of the channels' magnitudes, or their "std" (P0's code).

    Returns:
        ``(n, h, w)`` float64, >= 0; NaN where it is undefined: the "std" of a single channel.

    Raises:
        InputError: neither of the two.

    >>> relevance(torch.tensor([[[[-3.0]], [[1.0]]]]), "mean")
    tensor([[[2.]]], dtype=torch.float64)
    """
    # In double precision a channel and three copies of it rank pixels alike.
    if reduce == "mean":
        return saliency.double().abs().mean(1)
    if reduce != "std":
        raise InputError(option="reduce", value=reduce, fix="give mean or std")
    if saliency.shape[1] == 1:
        return torch.full_like(saliency[:, 0], torch.nan, dtype=torch.float64)
    return saliency.double().std(1)


def most_relevant_first(view: View, reduce: str, *, side: int = 1) -> Order:
    """The units of each image, the most relevant first, ties in an order drawn from the seed.

    The drawn order is each image's own and the same for all methods.

    Args:
        view: one batch of images; keeps the order for whoever asks again.
        reduce: see `relevance`.
        side: of the squares that are replaced as one, pixels, cut off at the lower and right
            border; a square is as relevant as its pixels on average.
    """
    return shared(
        view.shared_by_method, ("order", reduce, side), lambda: _ordered(view, reduce, side)
    )


def curve(
    view: View, path: Path, counts: Sequence[int], score: Score, *, model: Classifier | None = None
) -> Tensor:
    """Scores of each image after so many of its units have been replaced.

    What lies between the ends costs one pass each; the ends are known, or found once for all
    methods.

    Args:
        view: one batch of images.
        path: what is replaced by what.
        counts: units, ascending, no two alike, from 0 to all of them.
        score: reads a number off the logits of each picture.
        model: who sees the pictures; None means the view's.

    Returns:
        ``(n, len(counts))`` float64; NaN where the order is undefined.
    """
    model = model or view.model
    order = path.order
    values = view.images.new_full((len(view.images), len(counts)), torch.nan, dtype=torch.float64)
    chosen = order.defined.nonzero().flatten()
    if not len(chosen):
        return values
    inner = [j for j, count in enumerate(counts) if 0 < count < order.units]
    with torch.no_grad():
        for count, what in ((0, path.before), (order.units, path.after)):
            if count in counts:
                known = logits_of(view, what, model)[chosen]
                values[chosen, counts.index(count)] = score(known, chosen).double()
        if not inner:
            return values
        start, end = pictures_of(view, path.before), pictures_of(view, path.after)
        thresholds = torch.tensor([counts[j] for j in inner], device=chosen.device)
        rows = torch.split(chosen.repeat(len(inner)), view.batch_size)
        taken = torch.split(thresholds.repeat_interleave(len(chosen)), view.batch_size)
        scores = [
            score(model.scores(_mixed(order.ranks, start, end, row, count)), row)
            for row, count in zip(rows, taken, strict=True)
        ]
    values[chosen.unsqueeze(1), torch.tensor(inner, device=chosen.device)] = (
        torch.cat(scores).double().view(len(inner), len(chosen)).T
    )
    return values


def drawn(view: View, path: Path, what: str = "removed") -> dict[str, Tensor]:
    """The first image on its way, if pictures are wanted: ``{"removed=0.25": (c, h, w), ...}``."""
    if not view.draw or not bool(path.order.defined[0]):
        return {}
    counts = torch.tensor([round(share * path.order.units) for share in SHOWN])
    start, end = pictures_of(view, path.before), pictures_of(view, path.after)
    rows = torch.zeros_like(counts)
    mixed = _mixed(path.order.ranks, start, end, *(x.to(start.device) for x in (rows, counts)))
    return {f"{what}={share:g}": image for share, image in zip(SHOWN, mixed, strict=True)}


def pictures_of(view: View, what: str) -> Tensor:
    """The images, for "", or what a fill makes of them, ``(n, c, h, w)``."""
    return filled(view, what) if what else view.images


def logits_of(view: View, what: str, model: Classifier | None = None) -> Tensor:
    """Logits of `pictures_of`, ``(n, classes)``, found once for each batch of images and model."""
    model = model or view.model
    own = model is view.model
    if own and not what:
        return view.logits
    name = fill_name(what) if what else what
    return shared(
        view.known,
        ("logits", name, own),
        lambda: logits(model, pictures_of(view, what), view.batch_size),
    )


def logits(model: Classifier, pictures: Tensor, batch_size: int) -> Tensor:
    """Logits ``(n, classes)``, without a graph, at most so many images at a time."""
    return torch.cat([model.scores(part) for part in torch.split(pictures, batch_size)])


def probability(view: View) -> Score:
    """Score: probability of the explained class."""
    outputs = view.model.outputs

    def score(logits: Tensor, rows: Tensor) -> Tensor:
        of_all = outputs.probabilities(logits.double())
        return of_all.gather(1, view.targets[rows].unsqueeze(1)).squeeze(1)

    return score


def even_counts(units: int, steps: int) -> list[int]:
    """Units replaced at each of ``steps`` even steps, from none to all; equal ones once.

    Raises:
        InputError: no step at all.

    >>> even_counts(10, 4), even_counts(3, 8)
    ([0, 2, 5, 8, 10], [0, 1, 2, 3])
    """
    if steps < 1:
        raise InputError(option="steps", value=steps, fix="give at least 1")
    return sorted({round(units * step / steps) for step in range(steps + 1)})


def logarithmic_counts(units: int, points: int) -> list[int]:
    """None, and the whole units in ``points`` shares of all from 1 % to 100 %, evenly in their log.

    Raises:
        InputError: fewer than two points.

    >>> logarithmic_counts(1000, 3)
    [0, 10, 100, 1000]
    """
    if points < 2:
        raise InputError(option="points", value=points, fix="give at least 2")
    shares = [10 ** (-2 + 2 * point / (points - 1)) for point in range(points)]
    return sorted({0, *(int(share * units) for share in shares)})


def shares_of(counts: Sequence[int], units: int) -> list[float]:
    """Counts as shares of all units."""
    return [count / units for count in counts]


def area(values: Tensor, x: Sequence[float]) -> Tensor:
    """Area under each curve by the trapezoid rule, ``(n,)``.

    Args:
        values: ``(n, len(x))``.
        x: where they were measured.

    >>> area(torch.tensor([[0.0, 1.0, 1.0]]).double(), [0, 0.5, 1])
    tensor([0.7500], dtype=torch.float64)
    """
    return torch.trapezoid(values, torch.tensor(x, dtype=values.dtype, device=values.device))


def probability_curve(
    view: View, *, steps: int, fill: str, reduce: str, first: Literal["most", "least"]
) -> tuple[Path, list[float], Tensor]:
    """The class probability while pixels are replaced in even steps, found once for each method.

    Args:
        view: one batch of images.
        steps: number of steps.
        fill: see `filled`.
        reduce: see `relevance`.
        first: which pixels go first.

    Returns:
        The way, the shares that were replaced, and the curve ``(n, shares)``.
    """
    fill = fill_name(fill)
    order = most_relevant_first(view, reduce)
    path = Path(order if first == "most" else order.reversed(), "", fill)
    counts = even_counts(order.units, steps)
    values = shared(
        view.shared_by_method,
        ("probability", first, steps, fill, reduce),
        lambda: curve(view, path, counts, probability(view)),
    )
    return path, shares_of(counts, order.units), values


def _mixed(ranks: Tensor, start: Tensor, end: Tensor, rows: Tensor, counts: Tensor) -> Tensor:
    """Images ``rows`` with their first ``counts`` units replaced."""
    replaced = (ranks[rows] < counts.view(-1, 1, 1)).unsqueeze(1)
    return torch.where(replaced, end[rows], start[rows])


def _ordered(view: View, reduce: str, side: int) -> Order:
    pixels = relevance(view.saliency, reduce)
    defined = is_defined(pixels)
    units, of_pixel = pixels.flatten(1), None
    if side > 1:
        units, of_pixel = _regions(pixels, side)
        defined &= is_defined(units)
    count = units.shape[1]
    lots = shared(view.known, ("ties", count), lambda: _permutations(view, count))
    places = units.gather(1, lots).sort(dim=1, descending=True, stable=True).indices
    numbers = torch.arange(count, dtype=torch.int32, device=units.device).expand_as(lots)
    ranks = torch.empty_like(numbers.contiguous()).scatter_(1, lots.gather(1, places), numbers)
    if of_pixel is not None:
        ranks = ranks[:, of_pixel]
    return Order(ranks.view(pixels.shape), count, defined)


def _permutations(view: View, count: int) -> Tensor:
    return torch.stack(
        [
            torch.randperm(count, generator=generator, device=view.images.device)
            for generator in view.generators("ties")
        ]
    )


def _regions(pixels: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """Mean of each square, ``(n, squares)``, and the square of each pixel, ``(h * w,)``."""
    height, width = pixels.shape[1:]
    means = F.avg_pool2d(pixels.unsqueeze(1), side, ceil_mode=True, count_include_pad=False)
    rows = torch.arange(height, device=pixels.device) // side
    columns = torch.arange(width, device=pixels.device) // side
    return means.flatten(1), (rows.unsqueeze(1) * means.shape[3] + columns).flatten()
