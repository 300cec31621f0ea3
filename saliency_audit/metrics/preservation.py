"""Does the class stay when the least salient pixels go?"""

from saliency_audit.metrics.fill import fill_name
from saliency_audit.metrics.perturbation import area, drawn, probability_curve
from saliency_audit.metrics.view import Measured, View


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
    path, x, curve = probability_curve(view, steps=steps, fill=fill, reduce=reduce, first="least")
    return [
        Measured(
            area(curve, x),
            setting=f"steps={steps};fill={fill_name(fill)};reduce={reduce}",
            x=x,
            curve=curve,
            pictures=drawn(view, path),
        )
    ]
