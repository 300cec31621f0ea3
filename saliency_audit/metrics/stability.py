"""Does another training of the model give the same map?"""

import torch
from torch import Tensor

from saliency_audit.errors import InputError
from saliency_audit.maps import magnitude
from saliency_audit.metrics.gaze_overlap import overlap
from saliency_audit.metrics.similarity import spearman
from saliency_audit.metrics.view import Measured, View
from saliency_audit.models import Classifier


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
    _refuse(k, pixels)
    again = _explained(view, view.needed("other"))
    return _compared(view.saliency, again, k, pixels, name="stability")


def retrained_stability(
    view: View, *, k: float = 0.4, pixels: str = "all", swap: float = 0.1
) -> list[Measured]:
    r"""`stability` between two networks of the model's architecture that are trained anew.

    They differ in all that a training may differ in: the fresh weights, the order of the images,
    and a share of the training images, in place of which the second has test images. Both explain
    the given model's class. How stable the given model's own maps are is not asked: only those of
    its architecture, under this recipe.

    Args:
        view: one batch of images, and what gives the networks.
        k: share of the pixels, at least one of them.
        pixels: of which the share is taken, see `stability`.
        swap: share of the training images that the second network does not see.

    Returns:
        ``retrained-stability`` in [0, 1], higher is better, and what `stability` has beside it.
        Source: P1 B.7, which swaps 1,000 images.

    Raises:
        InputError: an option that means nothing.
    """
    del swap  # what gives the networks knows it
    _refuse(k, pixels)
    networks = view.needed("train").network
    first = view.saliency
    if not view.control:
        first = _explained(view, networks("again", view.model).model)
    again = _explained(view, networks("swapped", view.model).model)
    return _compared(first, again, k, pixels, name="retrained-stability")


def _refuse(k: float, pixels: str) -> None:
    if not 0 < k < 1:
        raise InputError(option="k", value=k, fix="for stability give a share between 0 and 1")
    if pixels not in ("all", "nonzero"):
        raise InputError(option="pixels", value=pixels, fix="give all or nonzero")


def _explained(view: View, model: Classifier) -> Tensor:
    """Another model's maps of the same images, classes and method."""
    return view.explain(
        model,
        view.images,
        view.targets,
        names=view.names,
        # A control under the same seed would be the same map, whatever the model.
        seed=view.seed + view.control,
    )


def _compared(
    saliency: Tensor, again: Tensor, k: float, pixels: str, *, name: str
) -> list[Measured]:
    first, second = magnitude(saliency.double()), magnitude(again.double())
    counted = first != 0 if pixels == "nonzero" else torch.ones_like(first, dtype=torch.bool)
    count = (k * counted.sum((1, 2)).double()).round().long().clamp_min(1)
    common = overlap(first, second, count)
    # "k" is what the chance level is read from, so it stands only where it is the chance level.
    setting = f"k={k:g};pixels=all" if pixels == "all" else f"share={k:g};pixels=nonzero"
    return [
        Measured(common / count, setting=setting),
        Measured(common / (2 * count - common), f"{name}-jaccard", setting),
        Measured(spearman(first, second), f"{name}-spearman"),
    ]
