"""One training from fresh weights, in this process alone, and how good its network is."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from saliency_audit.catalogue.entries import Objective
from saliency_audit.data import ImageData, batches, subset
from saliency_audit.models import Classifier
from saliency_audit.training.cross_entropy import cross_entropy
from saliency_audit.training.loop import Alone, train
from saliency_audit.training.recipe import Recipe

Change = Callable[[Sequence[str], Tensor], Tensor]
TRIED, BATCH = 256, 32
"""Training images on which it is measured what a network has learned, and how many at a time."""


@dataclass(frozen=True)
class Anew:
    """A network that was trained from fresh weights.

    Attributes:
        model: in eval mode, weights frozen.
        accuracy: on training images, of their labels as they were trained on.
        constant: whether it says one class of all these.
    """

    model: Classifier
    accuracy: float
    constant: bool


def trained_anew(
    model: Classifier,
    data: ImageData,
    *,
    recipe: Recipe,
    seed: int,
    workers: int = 0,
    advance: Callable[[int, int], None] = lambda done, total: None,
) -> Anew:
    """Train a classifier on cross-entropy, in this process alone.

    Args:
        model: with fresh weights; it is trained in place.
        data: the training images, labelled.
        recipe: of the training.
        seed: of the order of the images and of what is random in training.
        workers: processes that read images.
        advance: called with (steps done, steps to do).

    Raises:
        InputError: a recipe that means nothing.
        AuditError: the training diverged.
    """
    _train(model, data, recipe=recipe, seed=seed, workers=workers, advance=advance)
    right = seen = 0
    classes: set[int] = set()
    device = model.mean.device
    known = subset(data, min(TRIED, len(data)), seed)
    with model.audited(), torch.no_grad():
        for batch in batches(known, batch_size=BATCH, workers=workers, device=device):
            said = model(batch.images).argmax(1)
            classes |= set(said.tolist())
            right, seen = right + int((said == batch.labels).sum()), seen + len(said)
    model = model.eval().requires_grad_(False)
    return Anew(model, right / max(1, seen), len(classes) < 2)


def retrained_accuracy(
    model: Classifier,
    data: ImageData,
    tested: ImageData,
    *,
    recipe: Recipe,
    seed: int,
    changes: tuple[Change | None, Change | None] = (None, None),
    batch_size: int,
    workers: int = 0,
) -> float:
    """Train a classifier on cross-entropy and test it, on images that are changed alike.

    Args:
        model: with fresh weights; it is trained in place.
        data: the training images, labelled.
        tested: the test images, labelled.
        recipe: of the training.
        seed: of the order of the images and of what is random in training.
        changes: ``(names, images) -> images`` of the training and of the test images; None
            changes nothing.
        batch_size: most test images the model sees at once.
        workers: processes that read images.

    Returns:
        Accuracy on the test images that have a label and can be read; NaN where there are none.

    Raises:
        InputError: a recipe that means nothing.
        AuditError: the training diverged.
    """
    _train(model, data, recipe=recipe, seed=seed, workers=workers, change=changes[0])
    right = seen = 0
    device = model.mean.device
    with model.audited(), torch.no_grad():
        for batch in batches(tested, batch_size=batch_size, workers=workers, device=device):
            known = batch.labels >= 0
            if not known.any():
                continue
            images = batch.images
            if changes[1] is not None:
                images = changes[1](batch.names, images)
            right += int((model(images).argmax(1) == batch.labels)[known].sum())
            seen += int(known.sum())
    return right / seen if seen else float("nan")


def _train(
    model: Classifier,
    data: ImageData,
    *,
    advance: Callable[[int, int], None] = lambda done, total: None,
    **how: Any,
) -> None:
    # What was frozen, by its owner or by an audit, has fresh weights here.
    model.network.requires_grad_(True)
    objective = Objective(cross_entropy, "", "")
    for step in train(model, data, objective, together=Alone(), **how):
        advance(step.step, step.steps)
