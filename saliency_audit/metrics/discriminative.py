"""Is the image still classified right when the least salient pixels go?"""

import torch
from torch import Tensor

from saliency_audit.metrics.accuracy import accuracy
from saliency_audit.metrics.fill import fill_name
from saliency_audit.metrics.perturbation import (
    Order,
    Path,
    area,
    curve,
    drawn,
    logarithmic_counts,
    most_relevant_first,
    shares_of,
)
from saliency_audit.metrics.view import Measured, View


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
    labelled = Order(order.ranks, order.units, order.defined & (view.labels >= 0))
    path = Path(labelled.reversed(), "", fill)
    counts = logarithmic_counts(order.units, points)

    def right(logits: Tensor, rows: Tensor) -> Tensor:
        return accuracy(logits, view.labels[rows]).where(logits.isfinite().all(1), torch.nan)

    values = curve(view, path, counts, right, model=view.judge)
    x = shares_of(counts, order.units)
    return [
        Measured(
            area(values, x),
            setting=f"points={points};fill={fill};reduce={reduce}",
            x=x,
            curve=values,
            pictures=drawn(view, path),
        )
    ]
