"""Does another training of the model give the same map?"""

import torch

from saliency_audit.errors import InputError
from saliency_audit.maps import magnitude
from saliency_audit.metrics.gaze_overlap import overlap
from saliency_audit.metrics.similarity import spearman
from saliency_audit.metrics.view import Measured, View


def stability(view: View, *, k: float = 0.4, pixels: str = "all") -> list[Measured]:
    r"""Share of the most salient pixels that the map of another model has too.

    .. math:: |T(S_1) \cap T(S_2)|\,/\,|T(S_1)|

    with :math:`T` the k largest magnitudes and :math:`S_2` the other model's map of the same
    image, class and method, under the same noise. Tied pixels are taken by lot, separately in the
    two maps, and the value is the mean over all lots. So unrelated maps get k however many of
    their pixels are 0, and a map gets 1 with itself unless its own k-th pixel is tied with the
    next: where fewer than k of its pixels differ from 0, the rest of them is a matter of chance.

    A control sees no model: the sobel map gets what a map gets with itself, and the random map is
    drawn anew for the other model, so that it gets chance.

    Args:
        view: one batch of images, their maps and another model.
        k: share of the pixels, at least one of them.
        pixels: of which the share is taken: "all" of the image, or those that are "nonzero" in
            the first map (P1), where chance is k times their share of the image and differs from
            image to image.

    Returns:
        ``stability`` in [0, 1], higher is better; ``stability-jaccard``,
        :math:`|T_1 \cap T_2| / |T_1 \cup T_2|`; ``stability-spearman`` of all magnitudes. NaN
        where a map is undefined or its magnitude is the same everywhere. Source: P1 B.7.

    Raises:
        InputError: no other model, or an option that means nothing.
    """
    if not 0 < k < 1:
        raise InputError(option="k", value=k, fix="for stability give a share between 0 and 1")
    if pixels not in ("all", "nonzero"):
        raise InputError(option="pixels", value=pixels, fix="give all or nonzero")
    again = view.explain(
        view.needed("other"),
        view.images,
        view.targets,
        names=view.names,
        # A control under the same seed would be the same map, whatever the model.
        seed=view.seed + view.control,
    )
    first, second = magnitude(view.saliency.double()), magnitude(again.double())
    counted = first != 0 if pixels == "nonzero" else torch.ones_like(first, dtype=torch.bool)
    count = (k * counted.sum((1, 2)).double()).round().long().clamp_min(1)
    common = overlap(first, second, count)
    # "k" is what the chance level is read from, so it stands only where it is the chance level.
    setting = f"k={k:g};pixels=all" if pixels == "all" else f"share={k:g};pixels=nonzero"
    return [
        Measured(common / count, setting=setting),
        Measured(common / (2 * count - common), "stability-jaccard", setting),
        Measured(spearman(first, second), "stability-spearman"),
    ]
