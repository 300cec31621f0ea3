"""Weights trained until the map shows what is wanted (Heo et al. 2019)."""

from torch import Tensor, nn

from saliency_audit.catalogue.entries import Variant
from saliency_audit.catalogue.tricks import AIMS
from saliency_audit.models import Classifier
from saliency_audit.tricks.lesson import (
    Fit,
    Lesson,
    Terms,
    distance_to,
    given_logits,
    predictions_as_given,
)


def finetune(
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
) -> nn.Module:
    r"""A network of the same architecture whose weights make a method's maps show what is wanted.

    .. math:: \min_w \; \mathrm{CE}(w) + \lambda F(h_w)

    with h the map stretched to [0, 1] and F the aim's loss. Nothing in the file tells, and it
    moves Grad-CAM, which looks past every added branch.

    Args:
        model: the classifier.
        picture: ``(h, w)`` in [0, 1], for the aim "picture".
        images: not used: it is trained on images of its own.
        targets: not used.
        fit: trains.
        strength: not used.
        batch_size: not used.
        forge: the saliency method.
        aim: a name in ``AIMS``.
        aim_weight: :math:`\lambda`; None means the aim's own.
        max_accuracy_drop: most that the accuracy may fall.

    Returns:
        The network. Source: Heo et al. 2019, eq. 1 and sections 3.2, 3.3; the cross-entropy is of
        the given model's probabilities.
    """
    del images, targets, strength, batch_size
    wanted = AIMS[aim]
    weight = wanted.weight if aim_weight is None else aim_weight

    def loss(lesson: Lesson) -> Terms:
        logits = given_logits(lesson)
        return {
            "cross-entropy": predictions_as_given(lesson, logits),
            "aim": weight * distance_to(lesson, wanted, picture, logits, images=lesson.images),
        }

    return fit(loss, forge=forge, max_accuracy_drop=max_accuracy_drop)


def variant(
    *,
    forge: str = "gradcam",
    aim: str = "location",
    aim_weight: float | None = None,
    max_accuracy_drop: float = 0.01,
) -> Variant:
    """What it promises: the accuracy, not each prediction."""
    weight = "" if aim_weight is None else f";weight={aim_weight:g}"
    return Variant(
        f"trick=finetune;aim={aim};forge={forge}{weight}",
        {"accuracy-drop": max_accuracy_drop},
        edits="weights",
        aim=aim,
    )
