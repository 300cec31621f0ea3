"""What an objective is shown at each step, and what it answers.

One order holds for every objective: what is differentiated in the images, searched for or compared
runs first, in eval mode, in fp32 and on the running statistics that the batch found; the pass in
training mode alone moves them. Otherwise an image's gradient would hang on the others of its batch.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from saliency_audit.errors import InputError
from saliency_audit.models import Classifier, TwiceDifferentiable, differentiating, in_eval_mode
from saliency_audit.seeding import random_numbers


@dataclass(frozen=True)
class Step:
    """The images of one step of training.

    Attributes:
        model: the classifier whose weights are trained, in the modes it is trained in.
        images: ``(n, c, h, w)`` in [0, 1], augmented.
        labels: ``(n,)``, each a class of the model.
        generators: ``generators(purpose)`` gives one per image, on its device; they are others at
            every step, and the same in a run with the same seed, however many processes it has.
        one_mode: whether the network does the same in training as in evaluation (no batch
            statistics, no dropout), so that one pass serves both.
        annotations: ``(n, h, w)`` in [0, 1], what people looked at or marked, augmented with the
            images; 0 where there is none.
        targets: ``(n, c, h, w)``, >= 0, the teacher's maps, augmented with the images.
        memory: what an objective keeps from step to step; saved and restored with the weights.
            Tensors whose first dimension is that of the images of a step.
    """

    model: Classifier
    images: Tensor
    labels: Tensor
    generators: Callable[[str], list[torch.Generator]]
    one_mode: bool = False
    annotations: Tensor | None = None
    targets: Tensor | None = None
    memory: dict[str, Tensor] = field(default_factory=dict)

    def noise(self, purpose: str) -> Tensor:
        """Standard normal numbers, ``(n, c, h, w)``, each image's its own."""
        images = self.images
        return random_numbers(torch.randn, images.shape, self.generators(purpose), images.dtype)


@dataclass(frozen=True)
class Loss:
    """What one step costs.

    Attributes:
        terms: numbers whose sum is minimised, weights included; the first is the cross-entropy.
        logits: those of the images the cross-entropy was taken at, detached: how well they are
            classified is told as the training accuracy.
        seen: what else was measured, detached, such as the trace; not minimised.
        after: called once gradients are there and before weights change.
    """

    terms: Mapping[str, Tensor]
    logits: Tensor
    seen: Mapping[str, Tensor] = field(default_factory=dict)
    after: Callable[[], None] | None = None


@contextmanager
def steady(model: Classifier) -> Iterator[Classifier]:
    """Inside, the network is in eval mode and in fp32; weights can be trained as before.

    What is differentiated in the images must not mix them (batch statistics), must be the same
    function at both ends of a difference (dropout), must leave running statistics alone, and
    needs all digits; so do searches, which follow the signs of small gradients. What torch
    differentiates only once is written out.
    """
    precision = model.precision
    with in_eval_mode(model), TwiceDifferentiable():
        model.precision = "fp32"
        try:
            yield model
        finally:
            model.precision = precision


@dataclass(frozen=True)
class Watched:
    """One batch, run forward so that gradients in its pixels can be taken and trained.

    Attributes:
        training: logits in training mode, for the cross-entropy, ``(n, classes)``.
        pixels: the images, of which ``steady`` is differentiable, ``(n, c, h, w)``.
        steady: logits of the pixels in eval mode and fp32. The same tensor as ``training`` where
            the network knows no difference.
    """

    training: Tensor
    pixels: Tensor
    steady: Tensor


@contextmanager
def watched(step: Step) -> Iterator[Watched]:
    """Run the batch forward; gradients in the pixels are to be taken inside.

    The network goes forward once, and a second time only where it behaves otherwise in training:
    then on the running statistics from before the batch, which searches see as well.
    """
    with differentiating(step.images, graph=True) as pixels:
        if step.one_mode and step.model.precision == "fp32":
            with TwiceDifferentiable():
                logits = step.model(pixels)
            yield Watched(logits, pixels, logits)
            return
        before = [
            (module, name, buffer.clone())
            for module in step.model.modules()
            for name, buffer in module.named_buffers(recurse=False)
        ]
        training = step.model(step.images)
        with steady(step.model), _having(before):
            yield Watched(training, pixels, step.model(pixels))


@contextmanager
def _having(buffers: Sequence[tuple[nn.Module, str, Tensor]]) -> Iterator[None]:
    """Inside, modules have these buffers; outside, those they have now.

    Other tensors, not other values in the same ones: the backward pass reads them later.
    """
    now = [getattr(module, name) for module, name, _ in buffers]
    try:
        for module, name, buffer in buffers:
            setattr(module, name, buffer)
        yield
    finally:
        for (module, name, _), buffer in zip(buffers, now, strict=True):
            setattr(module, name, buffer)


def of_labels(logits: Tensor, labels: Tensor) -> Tensor:
    """Each image's logit of its own label, ``(n,)``."""
    own: Tensor = logits.gather(1, labels.unsqueeze(1)).squeeze(1)
    return own


def squares(gradients: Tensor) -> Tensor:
    """Squared L2 norm of each image's gradient, ``(n,)``."""
    total: Tensor = gradients.flatten(1).square().sum(1)
    return total


def at_least(option: str, value: float, least: float) -> None:
    """Refuse a number that means nothing.

    Raises:
        InputError: ``value`` is below ``least`` or not a number.
    """
    if not value >= least:
        raise InputError(option=option, value=value, fix=f"give {least:g} or more")
