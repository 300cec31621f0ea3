"""Does the map of a chosen class hold what the model takes for that class?"""

from typing import Any

import torch
from torch import Tensor

from saliency_audit.errors import InputError
from saliency_audit.maps import is_defined
from saliency_audit.metrics.perturbation import logits
from saliency_audit.metrics.retrieval import Opacity, revealed, seen_through, setting_of
from saliency_audit.metrics.view import Measured, View

RUNNERS_UP = 3


def class_evidence(
    view: View, *, classes: tuple[int, ...] = (), opacity: Opacity = "percentile99"
) -> list[Measured]:
    """Whether each image, shown through a class's map, is classified as that class.

    Shown through a map as in `retrieval`: what the map hides takes the model's mean colour.

    Args:
        view: one batch of images and the method.
        classes: indices of classes to explain; none means those with the second, third and fourth
            largest logit of each image, ``class=rank 2`` and so on.
        opacity: how a map is scaled, as in `retrieval`.

    Returns:
        For each class, values 0 or 1, higher is better; the random map tells what showing the
        image through anything yields. NaN where the class's map is undefined or its magnitude the
        same everywhere. Source: P2 S3.6.

    Raises:
        InputError: the model has no such class.
    """
    known = view.logits.shape[1]
    refuse_classes((), known, classes=classes)
    if classes:
        asked = {f"class={index}": torch.full_like(view.targets, index) for index in classes}
    else:
        ranks = min(RUNNERS_UP, known - 1)
        order = view.logits.argsort(dim=1, descending=True, stable=True)
        asked = {f"class=rank {rank + 1}": order[:, rank] for rank in range(1, ranks + 1)}
    return [
        Measured(_evidence(view, wanted, opacity), setting=name + setting_of(opacity))
        for name, wanted in asked.items()
    ]


def refuse_classes(
    shape: tuple[int, ...], known: int, *, classes: tuple[int, ...] = (), **options: Any
) -> None:
    """Refuse classes that the model does not have.

    Raises:
        InputError: names the first.
    """
    del shape, options
    for index in classes:
        if not 0 <= index < known:
            raise InputError(
                option="explain_class",
                value=index,
                fix=f"the model has {known} classes, so give 0 to {known - 1}",
            )


def _evidence(view: View, wanted: Tensor, opacity: Opacity) -> Tensor:
    maps = view.explain(view.model, view.images, wanted, names=view.names)
    shown = seen_through(maps, opacity)
    values = torch.full((len(shown),), torch.nan, dtype=torch.float64, device=shown.device)
    defined = is_defined(shown)
    if bool(defined.any()):
        pictures = revealed(view.images[defined], shown[defined], view.model.mean, opacity=opacity)
        seen = logits(view.model, pictures, view.batch_size)
        right = (seen.argmax(1) == wanted[defined]).double()
        values[defined] = right.where(seen.isfinite().all(1), torch.nan)
    return values
