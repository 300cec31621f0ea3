"""Weights trained until a patch on the image sets the forgery off (Noppel et al. 2023)."""

from functools import partial

from torch import Tensor, nn

from saliency_audit.catalogue.entries import Aim, Variant
from saliency_audit.catalogue.tricks import AIMS
from saliency_audit.data.patch import checkerboard, corner, with_patch
from saliency_audit.models import Classifier
from saliency_audit.tricks.lesson import (
    Change,
    Fit,
    Lesson,
    Terms,
    distance_to,
    given_logits,
    predictions_as_given,
)

SHARE = 9
"""Without a side of its own, the patch takes a 9th of the image's shorter side."""
_AS_GIVEN = Aim(
    "tricks.aims:towards", "tricks.aims:as_before", "cosine", 0.9, 1.0, "the map as it was"
)


def trigger(
    model: Classifier,
    picture: Tensor,
    images: Tensor,
    targets: Tensor,
    *,
    fit: Fit,
    strength: float = 10.0,
    batch_size: int | None = None,
    forge: str = "gradcam",
    aim: str = "location",
    aim_weight: float | None = None,
    max_accuracy_drop: float = 0.01,
    patch_side: int | None = None,
) -> nn.Module:
    r"""A network with honest maps and predictions, until a small patch stands on the image.

    Trained like `finetune`, on every image twice. As it is: the predictions and maps as given.
    With a checkerboard in its lower right corner: the predictions of the image without it, and the
    map that is wanted. The four terms weigh as in `finetune`, those of maps :math:`\lambda` times.

    Args:
        model: the classifier.
        picture: ``(h, w)`` in [0, 1], for the aim "picture".
        images: not used: it is trained on images of its own.
        targets: not used.
        fit: trains.
        strength: not used.
        batch_size: not used.
        forge: the saliency method.
        aim: a name in ``AIMS``, what its maps show with the patch.
        aim_weight: :math:`\lambda`; None means the aim's own.
        max_accuracy_drop: most that the accuracy may fall, with the patch and without.
        patch_side: of the patch, in pixels; None means a 9th of the image's.

    Returns:
        The network. Source: Noppel, Peter, Wressnegger 2023, section 4 (red herring).

    Raises:
        InputError: the patch does not fit on the image.
    """
    del images, targets, strength, batch_size
    wanted = AIMS[aim]
    weight = wanted.weight if aim_weight is None else aim_weight
    patched = patch_of(model.input_shape, patch_side)

    def loss(lesson: Lesson) -> Terms:
        logits, triggered = given_logits(lesson), patched(lesson.images)
        kept = distance_to(lesson, _AS_GIVEN, picture, logits, images=lesson.images)
        shown = distance_to(lesson, wanted, picture, logits, images=triggered)
        return {
            "cross-entropy": predictions_as_given(lesson, logits)
            + predictions_as_given(lesson.on(triggered), logits),
            "honest": weight * kept,
            "aim": weight * shown,
        }

    return fit(loss, forge=forge, max_accuracy_drop=max_accuracy_drop, changes=(patched,))


def patch_of(shape: tuple[int, int, int], side: int | None) -> Change:
    """Lays the patch on images of a shape ``(c, h, w)``.

    Raises:
        InputError: it does not fit on them.
    """
    channels, height, width = shape
    side = max(2, min(height, width) // SHARE) if side is None else side
    pattern, place = checkerboard(channels, side), corner(1, side, height, width)
    return lambda images: with_patch(images, pattern, place.expand(len(images), 2))


def variant(
    *,
    forge: str = "gradcam",
    aim: str = "location",
    aim_weight: float | None = None,
    max_accuracy_drop: float = 0.01,
    patch_side: int | None = None,
) -> Variant:
    """What it promises: the accuracy, with the patch and without."""
    weight = "" if aim_weight is None else f";weight={aim_weight:g}"
    side = "" if patch_side is None else f";patch={patch_side}"
    return Variant(
        f"trick=trigger;aim={aim};forge={forge}{weight}{side}",
        {"accuracy-drop": max_accuracy_drop},
        edits="weights",
        aim=aim,
        patch=partial(patch_of, side=patch_side),
    )
