"""How much does it matter which pixels go first?"""

from saliency_audit.metrics.fill import fill_name
from saliency_audit.metrics.perturbation import area, probability_curve
from saliency_audit.metrics.view import Measured, View


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
    gap = kept - deleted
    return [
        Measured(
            area(gap, x),
            setting=f"steps={steps};fill={fill_name(fill)};reduce={reduce}",
            x=x,
            curve=gap,
        )
    ]
