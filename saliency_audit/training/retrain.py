"""One training from fresh weights, in this process alone, and how good its network is."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from saliency_audit.catalogue.entries import Objective
from saliency_audit.data import ImageData, batches
from saliency_audit.models import Classifier
from saliency_audit.training.cross_entropy import cross_entropy
from saliency_audit.training.loop import train
from saliency_audit.training.planted import Alone
from saliency_audit.training.recipe import Recipe

Change = Callable[[Sequence[str], Tensor], Tensor]


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
    model.network.requires_grad_(True)
    for _ in train(
        model,
        data,
        Objective(cross_entropy, "", ""),
        recipe=recipe,
        seed=seed,
        workers=workers,
        change=changes[0],
        together=Alone(),
    ):
        pass
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
