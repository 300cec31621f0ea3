"""Does the class fade when the most salient pixels go?"""

from saliency_audit.metrics.fill import fill_name
from saliency_audit.metrics.perturbation import area, drawn, probability_curve
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
    path, x, curve = probability_curve(view, steps=steps, fill=fill, reduce=reduce, first="most")
    return [
        Measured(
            area(curve, x),
            setting=f"steps={steps};fill={fill_name(fill)};reduce={reduce}",
            x=x,
            curve=curve,
            pictures=drawn(view, path),
        )
    ]
