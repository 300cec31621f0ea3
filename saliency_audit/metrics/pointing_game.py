"""Does the most salient pixel lie on what people marked?"""

import torch

from saliency_audit.maps import is_defined, magnitude
from saliency_audit.metrics.view import Measured, View
from saliency_audit.seeding import random_numbers


def pointing_game(view: View) -> list[Measured]:
    """Whether the most salient pixel of each image lies in the annotated part.

    The annotated part is where the annotation is above 0. Of several largest pixels one is drawn
    from the seed, for each image.

    Args:
        view: one batch of images, their maps and annotations.

    Returns:
        Values 0 or 1, higher is better; NaN where nothing is annotated, or the map is undefined or
        its magnitude the same everywhere. With them, once for all methods,
        ``pointing-game-chance``: the share of the image that is annotated. Source: Zhang et al.
        2018, who also count a pixel up to 15 beside the object.

    Raises:
        InputError: there are no annotations.
    """
    shown = magnitude(view.saliency.double()).flatten(1)
    marked = view.needed("annotations").flatten(1)
    inside = (marked > 0).double()
    there = marked.isfinite().all(1) & inside.any(1)
    lots = random_numbers(torch.rand, shown.shape, view.generators("pointing-game"))
    largest = shown == shown.amax(1, keepdim=True)
    chosen = lots.where(largest, -1.0).argmax(1, keepdim=True)
    hit = inside.gather(1, chosen).squeeze(1)
    found = [Measured(hit.where(there & is_defined(shown), torch.nan))]
    # It is of the image, not of a method: a row for each method would count the image again.
    if view.known.setdefault("pointing-game-chance", view.method) == view.method:
        chance = inside.mean(1).where(there, torch.nan)
        found.append(Measured(chance, "pointing-game-chance", saliency=""))
    return found
