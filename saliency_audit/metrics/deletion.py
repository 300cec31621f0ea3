"""What becomes of the class as pixels go, or come back, in the order of the map."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor

from saliency_audit.metrics.accuracy import accuracy
from saliency_audit.metrics.fill import fill_name
from saliency_audit.metrics.perturbation import (
    Path,
    area,
    curve,
    drawn,
    even_counts,
    logarithmic_counts,
    most_relevant_first,
    probability,
    probability_curve,
    shares_of,
)
from saliency_audit.metrics.view import Measured, View


def deletion(
    view: View, *, steps: int = 32, fill: str = "model-mean", reduce: str = "mean"
) -> list[Measured]:
    r"""Area under the class probability as the most salient pixels are replaced first.

    .. math:: \int_0^1 p_y(x_q)\,dq

    where in :math:`x_q` the share q of the pixels, the most salient ones, is replaced, all
    channels of each; by the trapezoid rule over ``steps`` even steps, both ends included.

    Args:
        view: one batch of images and their maps.
        steps: number of steps; ``round(pixels * j / steps)`` pixels are gone at step j.
        fill: what replaces them, see `fill.filled`.
        reduce: what makes a pixel salient, "mean" or "std", see `perturbation.relevance`.

    Returns:
        Values in [0, 1], lower is better, and the curve over q. NaN where the map is undefined or
        ranks no pixel above another. Source: P2 S3.3; RISE (Petsiuk et al. 2018).

    Raises:
        InputError: an option that means nothing.
    """
    return _fading(view, "most", steps, fill, reduce)


def preservation(
    view: View, *, steps: int = 32, fill: str = "model-mean", reduce: str = "mean"
) -> list[Measured]:
    """Area under the class probability as the least salient pixels are replaced first.

    `deletion` in the reverse order of pixels; its last picture is the same.

    Args:
        view: one batch of images and their maps.
        steps: number of steps; ``round(pixels * j / steps)`` pixels are gone at step j.
        fill: what replaces them, see `fill.filled`.
        reduce: what makes a pixel salient, "mean" or "std", see `perturbation.relevance`.

    Returns:
        Values in [0, 1], higher is better, and the curve over the share that is gone. NaN where
        the map is undefined or ranks no pixel above another. Source: P2 S3.3.

    Raises:
        InputError: an option that means nothing.
    """
    return _fading(view, "least", steps, fill, reduce)


def deletion_gap(
    view: View, *, steps: int = 32, fill: str = "model-mean", reduce: str = "mean"
) -> list[Measured]:
    """Preservation minus deletion of each image.

    What replacing pixels does whatever their order, such as leading the model off its data, is in
    both and cancels. The curves are those of `deletion` and `preservation`, computed once.

    Args:
        view: one batch of images and their maps.
        steps: number of steps.
        fill: what replaces pixels, see `fill.filled`.
        reduce: what makes a pixel salient, "mean" or "std", see `perturbation.relevance`.

    Returns:
        Values in [-1, 1], higher is better, a random map gets 0 on average; and the difference of
        the two curves. NaN where the map is undefined or ranks no pixel above another. Source:
        ours, after symmetric relevance gain (Blücher et al. 2024).

    Raises:
        InputError: an option that means nothing.
    """
    _, x, kept = probability_curve(view, steps=steps, fill=fill, reduce=reduce, first="least")
    _, _, deleted = probability_curve(view, steps=steps, fill=fill, reduce=reduce, first="most")
    return _area(kept - deleted, x, f"steps={steps};fill={fill_name(fill)};reduce={reduce}")


def insertion(view: View, *, steps: int = 32, reduce: str = "mean") -> list[Measured]:
    """Area under the class probability as pixels return to the blurred image.

    The most salient pixels return first; by the trapezoid rule over ``steps`` even steps, from
    the wholly blurred image to the image.

    Args:
        view: one batch of images and their maps.
        steps: number of steps; ``round(pixels * j / steps)`` pixels are back at step j.
        reduce: what makes a pixel salient, "mean" or "std", see `perturbation.relevance`.

    Returns:
        Values in [0, 1], higher is better, and the curve over the share that is back. NaN where
        the map is undefined or ranks no pixel above another. Source: RISE (Petsiuk et al. 2018);
        the blur is that of `fill.blurred`, 11 pixels at 224.

    Raises:
        InputError: an option that means nothing.
    """
    order = most_relevant_first(view, reduce)
    path = Path(order, before="blur", after="")
    counts = even_counts(order.units, steps)
    values = curve(view, path, counts, probability(view))
    setting = f"steps={steps};fill=blur;reduce={reduce}"
    return _area(values, shares_of(counts, order.units), setting, drawn(view, path, "returned"))


def discriminative(
    view: View, *, points: int = 25, fill: str = "image-mean", reduce: str = "mean"
) -> list[Measured]:
    """Area under the accuracy as the least salient pixels are replaced first.

    The accuracy is that of the judge, another model, if there is one. Pixels are replaced in
    exact numbers, ``floor(q * pixels)``, for q = 0 and ``points`` shares from 1 % to 100 %, evenly
    in their logarithm; the area is by the trapezoid rule over the share that is gone.

    Args:
        view: one batch of images, their labels and their maps.
        points: shares above 0.
        fill: what replaces pixels, see `fill.filled`.
        reduce: what makes a pixel salient, "mean" or "std", see `perturbation.relevance`.

    Returns:
        Values in [0, 1], higher is better, and the curve over the share that is gone; the accuracy
        at a share is the mean of the images' zeros and ones there. NaN where an image has no label
        or its map is undefined or ranks no pixel above another. Source: P0 section 5.2.1; its code
        replaces one pixel less.

    Raises:
        InputError: an option that means nothing.
    """
    fill = fill_name(fill)
    order = most_relevant_first(view, reduce)
    labelled = replace(order, defined=order.defined & (view.labels >= 0))
    path = Path(labelled.reversed(), "", fill)
    counts = logarithmic_counts(order.units, points)

    def right(logits: Tensor, rows: Tensor) -> Tensor:
        hits = accuracy(logits, view.labels[rows], outputs=view.model.outputs)
        return hits.where(logits.isfinite().all(1), torch.nan)

    values = curve(view, path, counts, right, model=view.beside.get("judge"))
    setting = f"points={points};fill={fill};reduce={reduce}"
    return _area(values, shares_of(counts, order.units), setting, drawn(view, path))


def density_perturbation(
    view: View, *, points: int = 25, fill: str = "image-mean", reduce: str = "mean"
) -> list[Measured]:
    r"""Area under the change of the class's logit as the least salient pixels are replaced first.

    .. math:: \int_0^1 f_y(x_q) - f_y(x)\,dq

    In P0's reading of a classifier as a density, the logarithm of
    :math:`p(x_q \mid y) / p(x \mid y)`. It reads logits: who adds the same function to all of them
    moves it and changes no prediction.

    Args:
        view: one batch of images and their maps.
        points: shares above 0, as in `discriminative`.
        fill: what replaces pixels, see `fill.filled`.
        reduce: what makes a pixel salient, "mean" or "std", see `perturbation.relevance`.

    Returns:
        Values in logits, higher is better, and the curve over the share that is gone. NaN where
        the map is undefined or ranks no pixel above another. Source: P0 section 4.2.

    Raises:
        InputError: an option that means nothing.
    """
    fill = fill_name(fill)
    order = most_relevant_first(view, reduce)
    counts = logarithmic_counts(order.units, points)
    clean = view.logits.double().gather(1, view.targets.unsqueeze(1)).squeeze(1)

    def change(logits: Tensor, rows: Tensor) -> Tensor:
        of_class = logits.double().gather(1, view.targets[rows].unsqueeze(1)).squeeze(1)
        return of_class - clean[rows]

    values = curve(view, Path(order.reversed(), "", fill), counts, change)
    setting = f"points={points};fill={fill};reduce={reduce}"
    return _area(values, shares_of(counts, order.units), setting)


def _fading(
    view: View, first: Literal["most", "least"], steps: int, fill: str, reduce: str
) -> list[Measured]:
    path, x, values = probability_curve(view, steps=steps, fill=fill, reduce=reduce, first=first)
    setting = f"steps={steps};fill={fill_name(fill)};reduce={reduce}"
    return _area(values, x, setting, drawn(view, path))


def _area(
    values: Tensor, x: Sequence[float], setting: str, pictures: Mapping[str, Tensor] | None = None
) -> list[Measured]:
    """The area under each image's curve, and the curve."""
    return [Measured(area(values, x), setting=setting, x=x, curve=values, pictures=pictures or {})]
