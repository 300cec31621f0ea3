"""Does the class come back with the most salient pixels?"""

from saliency_audit.metrics.perturbation import (
    Path,
    area,
    curve,
    drawn,
    even_counts,
    most_relevant_first,
    probability,
    shares_of,
)
from saliency_audit.metrics.view import Measured, View


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
        the blur is that of `fill.blurred`.

    Raises:
        InputError: an option that means nothing.
    """
    order = most_relevant_first(view, reduce)
    path = Path(order, before="blur", after="")
    counts = even_counts(order.units, steps)
    values = curve(view, path, counts, probability(view))
    x = shares_of(counts, order.units)
    return [
        Measured(
            area(values, x),
            setting=f"steps={steps};fill=blur;reduce={reduce}",
            x=x,
            curve=values,
            pictures=drawn(view, path, "returned"),
        )
    ]
