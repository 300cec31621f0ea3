"""What weights are shown at each step when they are trained to forge a map."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor, nn

from saliency_audit.catalogue.entries import Aim, function_of
from saliency_audit.models import Classifier
from saliency_audit.tricks.aims import stretched


@dataclass(frozen=True)
class Lesson:
    """The images of one step, and whose maps are trained.

    Attributes:
        student: its weights are trained, in eval mode.
        given: the classifier as it was.
        images: ``(n, c, h, w)`` in [0, 1].
        explain: ``(model, images, classes) -> (n, c, h, w)``, the maps that are trained,
            differentiable in the weights.
    """

    student: Classifier
    given: Classifier
    images: Tensor
    explain: Callable[[Classifier, Tensor, Tensor], Tensor]

    def on(self, images: Tensor) -> "Lesson":
        """The same with other images."""
        return replace(self, images=images)


Terms = Mapping[str, Tensor]
"""Numbers whose sum is minimised; "cross-entropy" keeps predictions, the others move maps."""
Change = Callable[[Tensor], Tensor]
"""What is done to images, ``(n, c, h, w)`` to the same."""


class Fit(Protocol):
    """Trains a copy of the network; the loop is not the trick's business."""

    def __call__(
        self,
        loss: Callable[[Lesson], Terms],
        *,
        forge: str,
        max_accuracy_drop: float,
        changes: tuple[Change, ...] = (),
    ) -> nn.Module:
        """Train, and keep the weights that move maps most among those that keep the accuracy.

        Args:
            loss: of the images of one step.
            forge: the saliency method whose maps are trained.
            max_accuracy_drop: most that the accuracy on images held out may fall, 0 to 1.
            changes: to images under which the accuracy must be kept as well.

        Raises:
            UnsupportedError: the method's maps cannot be trained on this model.
        """


def predictions_as_given(lesson: Lesson, logits: Tensor) -> Tensor:
    """Cross-entropy of the student's probabilities under the given ones, mean over images, nats.

    Heo et al. take the labels; the given model's probabilities need none, and hold predictions
    where it is wrong, too.

    Args:
        lesson: whose images the student is asked.
        logits: of the given model, ``(n, classes)``.
    """
    return nn.functional.cross_entropy(lesson.student(lesson.images), logits.softmax(1))


def distance_to(
    lesson: Lesson, aim: Aim, picture: Tensor, logits: Tensor, *, images: Tensor
) -> Tensor:
    """How far the student's maps are from what they shall show, mean over images.

    Args:
        lesson: with the images as they are, of whose maps the given model's are wanted.
        aim: what they shall show.
        picture: ``(h, w)`` in [0, 1].
        logits: of the given model on the lesson's images; decide the explained class.
        images: that the student is asked.
    """
    explained, second = logits.topk(2, dim=1).indices.unbind(1)

    def given(classes: Tensor) -> Tensor:
        return stretched(lesson.explain(lesson.given, lesson.images, classes)).detach()

    def student(classes: Tensor) -> Tensor:
        return stretched(lesson.explain(lesson.student, images, classes))

    before = given(explained)
    other = given(second) if aim.swaps else before
    wanted = function_of(aim.wanted)(picture, before, other)
    distance: Tensor = aim.function(student(explained), wanted)
    if aim.swaps:
        distance = (distance + aim.function(student(second), before)) / 2
    return distance.mean()


def given_logits(lesson: Lesson) -> Tensor:
    """Of the given model on the images, ``(n, classes)``."""
    with torch.no_grad():
        return lesson.given(lesson.images)  # type: ignore[no-any-return]
