"""How much does the class fade while the most salient regions go?"""

from math import ceil
from typing import Any

import torch

from saliency_audit.errors import InputError
from saliency_audit.metrics.fill import fill_name
from saliency_audit.metrics.perturbation import Path, curve, most_relevant_first, probability
from saliency_audit.metrics.view import Measured, View

REGION, SIDE = 9, 224
"""Side of a region, pixels, in images of this side (Samek et al. 2017)."""


COUNTS = (20, 50, 100)


def aopc(
    view: View,
    *,
    counts: tuple[int, ...] = COUNTS,
    unit: str = "region",
    fill: str = "noise",
    reduce: str = "mean",
) -> list[Measured]:
    r"""Mean drop of the class probability over the first L regions, the most salient first.

    .. math:: \frac{1}{L + 1} \sum_{k=0}^{L} p_y(x) - p_y(x_k)

    where :math:`x_k` lacks k regions. Regions are squares of 9 pixels at 224 pixels and in
    proportion to the shorter side, at least one pixel, laid from the upper left corner and cut off
    at the border; a region is as salient as its pixels on average.

    Args:
        view: one batch of images and their maps.
        counts: values of L, one result each.
        unit: "region" or "pixel".
        fill: what replaces them, see `fill.filled`; Samek et al. draw uniform noise.
        reduce: what makes a pixel salient, "mean" or "std", see `perturbation.relevance`.

    Returns:
        For each L, values in [-1, 1], higher is better; for the largest also the drop over the
        number of regions. NaN where the map is undefined or ranks no region above another. Source:
        Samek et al. 2017 (MoRF); P1 C.2.4, which states neither region nor fill.

    Raises:
        InputError: more regions than an image has, or another option that means nothing.
    """
    fill = fill_name(fill)
    refuse_aopc(view.images.shape[1:], counts=counts, unit=unit)
    side = _side(view.images.shape[1:], unit)
    order = most_relevant_first(view, reduce, side=side)
    most = max(counts)
    scores = curve(view, Path(order, "", fill), range(most + 1), probability(view))
    drops = scores[:, :1] - scores
    means = drops.cumsum(1) / torch.arange(1, most + 2, device=drops.device)
    x = [float(k) for k in range(most + 1)]
    return [
        Measured(
            means[:, count],
            setting=f"regions={count};unit={unit};fill={fill};reduce={reduce}",
            x=x if count == most else (),
            curve=drops if count == most else None,
        )
        for count in dict.fromkeys(counts)
    ]


def refuse_aopc(
    shape: tuple[int, ...],
    classes: int = 0,
    *,
    counts: tuple[int, ...] = COUNTS,
    unit: str = "region",
    **options: Any,
) -> None:
    """Refuse options that mean nothing on images of a shape ``(c, h, w)``.

    Raises:
        InputError: more regions than such an image has, or another unit.
    """
    del classes, options
    if unit not in ("region", "pixel"):
        raise InputError(option="unit", value=unit, fix="give region or pixel")
    side = _side(shape, unit)
    units = ceil(shape[1] / side) * ceil(shape[2] / side)
    if not counts:
        raise InputError("--regions is empty; give at least one number", option="regions")
    for count in counts:
        if not 0 <= count <= units:
            raise InputError(
                option="regions",
                value=count,
                fix=f"an image has {units} {unit}s, so give 0 to {units}",
            )


def _side(shape: tuple[int, ...], unit: str) -> int:
    """Of a region, pixels."""
    return max(1, round(REGION * min(shape[1:]) / SIDE)) if unit == "region" else 1
