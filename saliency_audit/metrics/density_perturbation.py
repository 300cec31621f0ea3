"""Does the class's logit stay when the least salient pixels go?"""

from torch import Tensor

from saliency_audit.metrics.fill import fill_name
from saliency_audit.metrics.perturbation import (
    Path,
    area,
    curve,
    logarithmic_counts,
    most_relevant_first,
    shares_of,
)
from saliency_audit.metrics.view import Measured, View


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
    x = shares_of(counts, order.units)
    return [
        Measured(
            area(values, x),
            setting=f"points={points};fill={fill};reduce={reduce}",
            x=x,
            curve=values,
        )
    ]
