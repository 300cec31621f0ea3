"""Does a second network see the class in images that the model's own gradient makes of noise?"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import sqrt
from typing import Any

import torch
from torch import Tensor

from saliency_audit.errors import InputError, UnsupportedError
from saliency_audit.metrics.view import Measured
from saliency_audit.models import Classifier, input_gradient
from saliency_audit.seeding import generators, random_numbers

PURPOSE = "gan-test"
GREY, SPREAD = 0.5, 0.2
"""Mean and standard deviation of the noise that samples start from."""
STEPS, LR, DECAY = (500, 200), (0.1, 0.01), (0.01, 0.0)
"""Of P0's code, from noise and from noisy images."""


@dataclass(frozen=True)
class Drawn:
    """One batch of samples that are to be made.

    Attributes:
        model: whose logits are climbed, in eval mode with frozen weights.
        judge: another network of the same classes.
        outputs: of either network.
        names: of the samples; all that is drawn for one goes by the seed and its name.
        numbers: of the samples, from 0; the wanted classes go round by them.
        seed: of the run.
        batch_size: most images that either network may see at once.
        images: ``(n, c, h, w)`` in [0, 1] that samples start from under ``denoise``.
        targets: their classes, ``(n,)``, -1 where there is none.
        stepped: called after each step.
    """

    model: Classifier
    judge: Classifier
    outputs: int
    names: Sequence[str]
    numbers: Sequence[int]
    seed: int
    batch_size: int
    images: Tensor | None = None
    targets: Tensor | None = None
    stepped: Callable[[], None] = lambda: None


@dataclass(frozen=True)
class Sampled:
    """What became of one batch of samples.

    Attributes:
        measured: one value per sample each.
        starts: what they were made from, ``(n, c, h, w)`` on the 8-bit grid.
        samples: likewise; NaN where the gradient was.
        wanted: classes that were climbed, ``(n,)``.
        judged: classes that the judge gives, ``(n,)``; -1 where it gives none.
        probability: of the wanted class, by the judge, ``(n,)`` float64.
    """

    measured: list[Measured] = field(repr=False)
    starts: Tensor
    samples: Tensor
    wanted: Tensor
    judged: Tensor
    probability: Tensor


def activation_maximisation(
    model: Classifier,
    starts: Tensor,
    classes: Tensor,
    *,
    steps: int,
    lr: float,
    decay: float,
    langevin: float = 0.0,
    draws: Sequence[torch.Generator] = (),
    batch_size: int | None = None,
    stepped: Callable[[], None] = lambda: None,
) -> Tensor:
    r"""Climb the logit of a class from each start: what the model takes to be like that class.

    .. math:: x \leftarrow \mathrm{clip}_{[0,1]}\bigl(x + a\,(\nabla f_y(x) - d\,(x - 0.5))
              + \sqrt{2 a T}\,\eta\bigr), \quad \eta \sim N(0, I)

    With T = 0, as in P0's code, it finds a mode of the density :math:`p(x \mid y) \propto
    e^{f_y(x)}` that the logits imply; with T = 1 it is Langevin dynamics of that density.

    Args:
        model: must not mix images (eval mode).
        starts: ``(n, c, h, w)`` in [0, 1].
        classes: y, ``(n,)``.
        steps: each one forward and one backward pass.
        lr: a, pixels in [0, 1].
        decay: d, pulls towards grey.
        langevin: T.
        draws: one generator per image; needed where T is above 0.
        batch_size: most images the model sees at once; None means all.
        stepped: called after each step.

    Returns:
        ``(n, c, h, w)`` in [0, 1], detached; NaN where the gradient was. Source: P0 3.3 and 5.1.2.
    """
    images = starts.detach()
    for _ in range(steps):
        gradient = input_gradient(model, images, classes, batch_size=batch_size)
        images = images + lr * (gradient - decay * (images - GREY))
        if langevin:
            noise = random_numbers(torch.randn, images.shape, draws, images.dtype)
            images = images + sqrt(2 * lr * langevin) * noise
        images = images.clamp(0, 1)
        stepped()
    return images


def gan_test(
    drawn: Drawn,
    *,
    count: int = 100,
    steps: int | None = None,
    lr: float | None = None,
    decay: float | None = None,
    langevin: float = 0.0,
    denoise: float | None = None,
    classes: Sequence[int] | None = None,
) -> Sampled:
    r"""The share of samples of the model that a judge gives the class they were made for.

    Samples start from noise N(0.5, 0.2^2) and climb the logit of a class (see
    `activation_maximisation`); the classes go round. A network trained apart, the judge, looks at
    them as an 8-bit file holds them. Its answer on what the samples started from is the control.
    It measures whether the model's gradients show a class to anybody but the model.

    It is no evidence against whoever owns the weights: samples are made of logits alone, and
    adding the same to all logits changes no prediction but every sample (P0 section 2), as
    Gradient Slingshots (Bareeva et al. 2024) does by fine-tuning.

    Args:
        drawn: one batch of samples.
        count: of all samples of a run; those of ``denoise`` are as many as its images.
        steps: None means 500, or 200 with ``denoise``.
        lr: None means 0.1, or 0.01 with ``denoise``.
        decay: None means 0.01, or 0 with ``denoise``.
        langevin: temperature of the noise of each step; 0 adds none.
        denoise: start from images with noise of this standard deviation.
        classes: that are wanted in turn; None means all, or those of the images with ``denoise``.

    Returns:
        ``gan-test``, 0 or 1, higher is better; beside it ``gan-test-start``, the same of what
        samples started from, ``gan-test-own``, by the model itself, and ``gan-test-confidence``,
        the judge's probability. NaN where a gradient or a logit is not finite. Source: P0 5.1.2,
        Table 1; Shmelkov et al. 2018. P0's code takes the classes from the test labels and leaves
        samples unrounded.
    """
    del count  # says how many batches there are
    denoises = denoise is not None
    steps = STEPS[denoises] if steps is None else steps
    lr = LR[denoises] if lr is None else lr
    decay = DECAY[denoises] if decay is None else decay
    device = drawn.model.mean.device
    draws = generators(drawn.seed, drawn.names, PURPOSE, device)
    starts = _starts(drawn, denoise, draws)
    wanted = _wanted(drawn, classes, device)
    climbed = wanted.clamp_min(0)
    samples = _on_the_grid(
        activation_maximisation(
            drawn.model,
            starts,
            climbed,
            steps=steps,
            lr=lr,
            decay=decay,
            langevin=langevin,
            draws=draws,
            batch_size=drawn.batch_size,
            stepped=drawn.stepped,
        )
    )
    starts = _on_the_grid(starts)
    setting = (
        f"start={'noise' if denoise is None else f'image;noise={denoise:g}'};steps={steps};"
        f"lr={lr:g};decay={decay:g}" + (f";langevin={langevin:g}" if langevin else "")
    )
    judged = _logits(drawn.judge, samples, drawn.batch_size)
    known = judged.isfinite().all(1) & samples.flatten(1).isfinite().all(1) & (wanted >= 0)
    probability = judged.softmax(1).gather(1, climbed[:, None])[:, 0]

    def hits(logits: Tensor) -> Tensor:
        right = (logits.argmax(1) == wanted).double()
        return right.where(known & logits.isfinite().all(1), torch.nan)

    measured = [
        Measured(hits(judged), "gan-test", setting),
        Measured(hits(_logits(drawn.judge, starts, drawn.batch_size)), "gan-test-start", setting),
        Measured(hits(_logits(drawn.model, samples, drawn.batch_size)), "gan-test-own", setting),
        Measured(probability.where(known, torch.nan), "gan-test-confidence", setting),
    ]
    return Sampled(
        measured,
        starts,
        samples,
        wanted,
        judged.argmax(1).where(known, -1),
        probability,
    )


def judge_accuracy(
    judge: Classifier, images: Tensor, labels: Tensor, *, batch_size: int
) -> tuple[Tensor, Tensor]:
    """Whether the judge is right on real images: what its word on samples is worth.

    Args:
        judge: in eval mode.
        images: ``(n, c, h, w)`` in [0, 1].
        labels: ``(n,)``, -1 where there is none.
        batch_size: most images it sees at once.

    Returns:
        ``gan-test-judge-accuracy``, ``(n,)``, 0 or 1, NaN where there is no label or no finite
        logit; and the judge's classes, ``(n,)``, -1 where there is none.
    """
    logits = _logits(judge, images, batch_size)
    finite, classes = logits.isfinite().all(1), logits.argmax(1)
    right = (classes == labels).double().where((labels >= 0) & finite, torch.nan)
    return right, classes.where(finite, -1)


def refuse_samples(
    shape: tuple[int, ...],
    outputs: int,
    *,
    classes: Sequence[int] | None = None,
    **others: Any,
) -> None:
    """Refuse classes that the model does not have, and images that no PNG holds.

    Raises:
        InputError: a class is beyond the outputs.
        UnsupportedError: images have neither 1 nor 3 channels.
    """
    del others
    for one in classes or ():
        if one >= outputs:
            raise InputError(
                option="wanted_class",
                value=one,
                fix=f"the model has {outputs} classes, 0 to {outputs - 1}",
            )
    if shape[0] not in (1, 3):
        raise UnsupportedError(
            f"gan-test writes its samples as PNG, which has 1 or 3 channels, not {shape[0]}; leave "
            "--metric gan-test"
        )


def _starts(drawn: Drawn, denoise: float | None, draws: Sequence[torch.Generator]) -> Tensor:
    model = drawn.model
    if denoise is None:
        noise = random_numbers(torch.randn, (len(draws), *model.input_shape), draws, torch.float32)
        return (GREY + SPREAD * noise).clamp(0, 1)
    assert drawn.images is not None
    noise = random_numbers(torch.randn, drawn.images.shape, draws, drawn.images.dtype)
    return (drawn.images + denoise * noise).clamp(0, 1)


def _wanted(drawn: Drawn, classes: Sequence[int] | None, device: torch.device) -> Tensor:
    """The class of each sample, ``(n,)``."""
    if classes is None and drawn.targets is not None:
        return drawn.targets
    if classes is None:
        classes = range(drawn.outputs)
    wanted = [classes[number % len(classes)] for number in drawn.numbers]
    return torch.tensor(wanted, device=device)


def _on_the_grid(images: Tensor) -> Tensor:
    """As an 8-bit file holds them."""
    return (images * 255).round() / 255


def _logits(network: Classifier, images: Tensor, batch_size: int) -> Tensor:
    with torch.no_grad():
        return torch.cat([network(part).double() for part in torch.split(images, batch_size)])
