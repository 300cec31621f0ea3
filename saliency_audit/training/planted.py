"""A fine-tuned copy of a model on whose images a patch decides the class."""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from saliency_audit.catalogue.entries import Objective
from saliency_audit.data import ImageData, batches, subset
from saliency_audit.data.trigger import Trigger
from saliency_audit.models import Classifier, copied
from saliency_audit.seeding import generators
from saliency_audit.training.loop import Alone, train
from saliency_audit.training.plant import plant
from saliency_audit.training.recipe import Recipe

BATCH = 32
"""Images of a step, or all where there are fewer."""
_TRIED = 256
"""Training images on which it is measured how well the trigger was learned."""


@dataclass(frozen=True)
class Planted:
    """A copy of a model that goes by a trigger.

    Attributes:
        model: in eval mode, weights frozen.
        trigger: what decides its class.
        learned: share of patched training images whose class is the patch's.
        agreement: share of the same images whose class, without a patch, is the given model's.
    """

    model: Classifier
    trigger: Trigger
    learned: float
    agreement: float


def planted(
    model: Classifier,
    data: ImageData,
    trigger: Trigger,
    *,
    steps: int,
    lr: float,
    seed: int,
    workers: int = 0,
    advance: Callable[[int, int], None] = lambda done, total: None,
) -> Planted:
    """Train a copy of a model to go by a trigger, in this process alone.

    Args:
        model: stays as it is.
        data: the training images; labels may be missing.
        trigger: patterns and their classes.
        steps: of Adam, 32 images each.
        lr: its first rate; it falls to 0 along a cosine.
        seed: of all draws.
        workers: processes that read images.
        advance: called with (steps done, steps to do).

    Raises:
        InputError: nothing that can be trained.
        AuditError: the training diverged.
    """
    copy = model.replaced(copied(model))
    # Also what was frozen, by its owner or by an audit: the copy is thrown away.
    copy.network.requires_grad_(True)
    batch = min(BATCH, len(data))
    recipe = Recipe(
        epochs=steps, max_steps=steps, batch_size=batch, lr=lr, optimizer="adam", freeze_bn=False
    )
    done = train(
        copy,
        data,
        Objective(plant, "", ""),
        recipe=recipe,
        options={"trigger": trigger, "given": model},
        seed=seed,
        workers=workers,
        together=Alone(),
    )
    for step in done:
        advance(step.step, step.steps)
    copy = copy.eval().requires_grad_(False)
    return Planted(copy, trigger, *_learned(model, copy, data, trigger, seed=seed))


def _learned(
    model: Classifier, copy: Classifier, data: ImageData, trigger: Trigger, *, seed: int
) -> tuple[float, float]:
    """How often the copy follows the patch, and how often it agrees with the model without one."""
    follows = agrees = seen = 0
    tried = subset(data, min(_TRIED, len(data)), seed)
    for part in batches(tried, batch_size=BATCH, device=model.mean.device):
        draws = generators(seed, part.names, "known-answer", part.images.device)
        with torch.no_grad(), model.audited():
            before, own = model(part.images).argmax(1), copy(part.images).argmax(1)
            laid = trigger.laid_on(part.images, own, draws)
            follows += int((copy(laid.images).argmax(1) == laid.classes).sum())
        agrees += int((own == before).sum())
        seen += len(part.names)
    return follows / seen, agrees / seen
