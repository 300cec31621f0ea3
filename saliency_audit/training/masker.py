"""Train a masking network on a frozen classifier, in two phases (Dabkowski and Gal 2017)."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from saliency_audit.catalogue.masking import Course
from saliency_audit.data import ImageBatch, ImageData, batches, in_order, subset
from saliency_audit.data.blur import blur
from saliency_audit.errors import AuditError, InputError, UnsupportedError
from saliency_audit.models import Classifier, Masker, feature_maps, untrained
from saliency_audit.seeding import generators, random_numbers, seed_of
from saliency_audit.training.optimise import optimizer

SMOOTH, DESTROY, DESTROY_POWER = 10.0, 5.0, 0.3
r"""Paper: :math:`\lambda_1, \lambda_3, \lambda_4`."""
LEAST = 5e-4
"""Added to the mask before a power of it is taken, whose slope at 0 has no end (authors' code)."""
BLUR_HALF, BLUR_SIGMA, BLUR_SIDE = 27, 11.0, 224
"""Of the blurred image, pixels, for images of this side (the authors' code)."""
COLOUR, NOISE, KEPT_NOISE = 0.165, 0.055, 0.015
"""How far the plain colour is from mid-grey at most, and standard deviations of its noise and of
that of the image: the authors' code, whose images are in [-1, 1], halved."""
_TRIED = 256
"""Training images on which it is measured how well the masks do."""


@dataclass(frozen=True)
class Taught:
    """A trained masking network, and what its masks do on training images.

    Attributes:
        masker: the network.
        tells: share of right answers of the selector on whether a class is shown; half of the
            images are asked for another class.
        area: mean of the mask of the classifier's class.
        inside: median probability of that class where the rest of the image is replaced.
        outside: where what the mask marks is replaced.
    """

    masker: Masker
    tells: float
    area: float
    inside: float
    outside: float


def train_masker(
    model: Classifier,
    data: ImageData,
    *,
    course: Course,
    seed: int,
    batch_size: int,
    workers: int = 0,
    advance: Callable[[int, int], None] = lambda done, total: None,
) -> Taught:
    """Train a masking network for a classifier, which stays as it is, in this process alone.

    First the class selector learns whether a class is shown: the mean of its evidence is the
    logit. Then the decoder learns by `mask_loss`, and the selector stays. An image without a label
    counts as of the class that the classifier says.

    Args:
        model: the classifier.
        data: the training images.
        course: numbers of both phases.
        seed: of all draws.
        batch_size: most images the classifier sees at once.
        workers: processes that read images.
        advance: called with (steps done, steps to do).

    Raises:
        UnsupportedError: the format gives no access to layers, no layer is a map, or the outputs
            do not exclude each other.
        InputError: no image can be read.
        AuditError: the training diverged.
    """
    if not model.outputs.exclusive:
        raise UnsupportedError(
            f"{model.name} is {model.outputs.name}, and a masking network learns from one class "
            "for each image"
        )
    with model.audited():
        blank = torch.full((1, *model.input_shape), 0.5, device=model.mean.device)
        masker = untrained(model, blank, width=course.width, seed=seed_of(seed, "masker"))
        network, layers = masker.network, masker.network.design.layers
        done, steps = 0, course.selector_steps + course.decoder_steps

        def counted(loss: Tensor) -> None:
            nonlocal done
            if not bool(loss.isfinite()):
                raise AuditError(f"the masking network's loss is not finite at step {done + 1}")
            done += 1
            advance(done, steps)

        chosen = network.selector.requires_grad_(True)
        adam = optimizer(
            chosen.parameters(), name="adam", lr=course.lr, weight_decay=course.weight_decay
        )
        for step, batch in enumerate(
            _drawn(model, data, course.selector_batch, course.selector_steps, seed, workers)
        ):
            logits, (coarsest,) = _seen(model, batch.images, layers[:1], batch_size)
            asked = _asked(logits, batch, course.selector_fakes, f"selector|{step}", seed)
            evidence = network.evidence(coarsest, asked.classes).mean((1, 2, 3))
            loss = F.binary_cross_entropy_with_logits(evidence, asked.real.to(evidence.dtype))
            _move(adam, loss, course.lr * 0.1 ** (step // course.selector_falls))
            counted(loss.detach())
        chosen.requires_grad_(False)

        others = [w for name, w in network.named_parameters() if not name.startswith("selector.")]
        for weight in others:
            weight.requires_grad_(True)
        adam = optimizer(others, name="adam", lr=course.lr, weight_decay=course.weight_decay)
        network.train()
        for step, batch in enumerate(
            _drawn(model, data, course.decoder_batch, course.decoder_steps, seed, workers)
        ):
            logits, maps = _seen(model, batch.images, layers, batch_size)
            asked = _asked(logits, batch, course.decoder_fakes, f"decoder|{step}", seed)
            masks = network(maps, asked.classes, batch.images.shape[2:]).to(batch.images.dtype)
            draws = generators(seed, batch.names, f"masked|{step}", masks.device)
            terms = mask_loss(
                model,
                batch.images,
                asked.labels,
                asked.real,
                masks,
                draws,
                area=course.area,
                area_power=course.area_power,
                batch_size=batch_size,
            )
            loss = torch.stack(list(terms.values())).sum()
            _move(adam, loss, course.lr * 0.1 ** (step // course.decoder_falls))
            counted(loss.detach())
        network.requires_grad_(False).eval()
        return _measured(
            model, masker, subset(data, min(_TRIED, len(data)), seed), seed, batch_size
        )


def mask_loss(
    model: Classifier,
    images: Tensor,
    labels: Tensor,
    real: Tensor,
    masks: Tensor,
    draws: Sequence[torch.Generator],
    *,
    area: float,
    area_power: float,
    batch_size: int | None = None,
) -> dict[str, Tensor]:
    r"""What a mask costs: smooth, small, and it shall hold what makes the class.

    .. math:: \lambda_1 TV(M) + \lambda_2\,\overline{(M + 0.0005)^\alpha} - \log p_y(\Phi(x, M))
        + \lambda_3\, p_y(\Phi(x, 1 - M))^{\lambda_4},\quad \Phi(x, M) = M x + (1 - M) A

    with what stands in place of the image, A, of `in_place_of`. Where the mask was asked for a
    class that is not shown, M and 1 - M change places in the last two terms: the mask shall leave
    the class that is.

    Args:
        model: the classifier, in eval mode.
        images: ``(n, c, h, w)`` in [0, 1].
        labels: the class y of each image, ``(n,)``.
        real: whether the mask was asked for that class, ``(n,)`` bool.
        masks: ``(n, 1, h, w)`` in [0, 1].
        draws: of the images.
        area: :math:`\lambda_2`.
        area_power: :math:`\alpha`.
        batch_size: most images the classifier sees at once; None means all.

    Returns:
        The four terms, means over the images: "smooth", "area", "preserve", "destroy". Source:
        Dabkowski and Gal 2017, the loss of their masking model, where the power is 1 and the area
        weighs 0.001 (see ``COURSES``); what is done with classes that are not shown as in their
        code.
    """
    noise = random_numbers(torch.randn, images.shape, draws, images.dtype)
    instead, images = in_place_of(images, draws), images + KEPT_NOISE * noise
    both = torch.cat([masked(images, masks, instead), masked(images, 1 - masks, instead)])
    logits = torch.cat([model(part) for part in torch.split(both, batch_size or len(both))])
    inside, outside = model.explained("log-prob", logits, labels.repeat(2)).chunk(2)
    preserved, destroyed = inside.where(real, outside), outside.where(real, inside)
    return {
        "smooth": SMOOTH * total_variation(masks).mean(),
        "area": area * (masks + LEAST).pow(area_power).mean(),
        "preserve": -preserved.mean(),
        # A power of a probability by its logarithm: the slope stays finite where it is 0.
        "destroy": DESTROY * (DESTROY_POWER * destroyed).exp().mean(),
    }


def total_variation(masks: Tensor) -> Tensor:
    """Squared differences of neighbours, down and across, over the number of pixels, ``(n,)``.

    Args:
        masks: ``(n, 1, h, w)``.

    >>> float(total_variation(torch.tensor([[[[0.0, 1.0], [0.0, 0.5]]]])))
    0.375
    """
    down, across = masks.diff(dim=2).square(), masks.diff(dim=3).square()
    return (down.flatten(1).sum(1) + across.flatten(1).sum(1)) / masks[0].numel()


def masked(images: Tensor, masks: Tensor, instead: Tensor) -> Tensor:
    r""":math:`\Phi(x, M) = M x + (1 - M) A`."""
    return masks * images + (1 - masks) * instead


def in_place_of(images: Tensor, draws: Sequence[torch.Generator]) -> Tensor:
    """What stands where an image is masked: itself blurred, or a plain colour with noise.

    Args:
        images: ``(n, c, h, w)`` in [0, 1].
        draws: of the images; each tosses a coin first.

    Returns:
        The same shape; noise may go a little beyond [0, 1].
    """
    side = min(images.shape[2:]) / BLUR_SIDE
    half = max(1, round(BLUR_HALF * side))
    coins = random_numbers(torch.rand, (len(images), 1, 1, 1), draws, images.dtype)
    colours = random_numbers(torch.rand, (*images.shape[:2], 1, 1), draws, images.dtype)
    noise = random_numbers(torch.randn, images.shape, draws, images.dtype)
    plain = 0.5 + COLOUR * (2 * colours - 1) + NOISE * noise
    return blur(images, half=half, sigma=BLUR_SIGMA * side).where(coins < 0.5, plain)


@dataclass(frozen=True)
class _Asked:
    """Classes that are shown, and those that are asked for."""

    labels: Tensor
    classes: Tensor
    real: Tensor


def _asked(logits: Tensor, batch: ImageBatch, fakes: float, purpose: str, seed: int) -> _Asked:
    """What each image is asked for: its class, or with some probability another one."""
    classes = logits.shape[1]
    labels = batch.labels.where(batch.labels >= 0, logits.argmax(1))
    draws = generators(seed, batch.names, f"masker|{purpose}", batch.images.device)
    real = random_numbers(torch.rand, (len(labels),), draws) >= fakes
    further = random_numbers(torch.rand, (len(labels),), draws) * (classes - 1)
    others = (labels + 1 + further.long().clamp_max(classes - 2)) % classes
    return _Asked(labels, labels.where(real, others), real)


def _drawn(
    model: Classifier, data: ImageData, size: int, steps: int, seed: int, workers: int
) -> Iterator[ImageBatch]:
    """Batches of a training; in each epoch in another order."""
    size = min(size, len(data))

    def order() -> Iterator[list[int]]:
        epoch = 0
        while True:
            draw = torch.Generator().manual_seed(seed_of(seed, "order", epoch))
            yield from (
                part.tolist()
                for part in torch.split(torch.randperm(len(data), generator=draw), size)
                if len(part) == size
            )
            epoch += 1

    lost = made = 0
    for batch in in_order(data, order(), workers=workers, device=model.mean.device):
        # Statistics of a batch need two.
        if len(batch.names) > 1:
            lost, made = 0, made + 1
            yield batch
        else:
            lost += 1
        if made == steps:
            return
        if lost > len(data):
            raise InputError(f"too few images of {data.name} can be read to train on")


def _seen(
    model: Classifier, images: Tensor, layers: Sequence[str], batch_size: int
) -> tuple[Tensor, list[Tensor]]:
    """Logits and feature maps of images, by one pass; nothing of them is learned."""
    with torch.no_grad():
        parts = [feature_maps(model, part, layers) for part in torch.split(images, batch_size)]
    kind = torch.float64 if model.dtype == torch.float64 else torch.float32
    maps = zip(*(maps for _, maps in parts), strict=True)
    return torch.cat([logits for logits, _ in parts]), [torch.cat(m).to(kind) for m in maps]


def _move(adam: torch.optim.Optimizer, loss: Tensor, rate: float) -> None:
    for group in adam.param_groups:
        group["lr"] = rate
    adam.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    adam.step()


def _measured(
    model: Classifier, masker: Masker, data: ImageData, seed: int, batch_size: int
) -> Taught:
    """What the masks do, on images that were trained on."""
    right: list[Tensor] = []
    areas: list[Tensor] = []
    logs: list[Tensor] = []
    layers = masker.network.design.layers[:1]
    size = max(1, batch_size // 2)
    for batch in batches(data, batch_size=size, device=model.mean.device):
        if not batch.names:
            continue
        with torch.no_grad():
            logits, (coarsest,) = _seen(model, batch.images, layers, batch_size)
            asked = _asked(logits, batch, 0.5, "measured", seed)
            evidence = masker.network.evidence(coarsest, asked.classes).mean((1, 2, 3))
            right.append((evidence > 0) == asked.real)
            own = logits.argmax(1)
            masks = masker.mask(model, batch.images, own)
            areas.append(masks.mean((1, 2, 3)))
            draws = generators(seed, batch.names, "masked|measured", masks.device)
            instead = in_place_of(batch.images, draws)
            both = [masked(batch.images, each, instead) for each in (masks, 1 - masks)]
            logits = model(torch.cat(both))
            logs.append(torch.stack(model.explained("prob", logits, own.repeat(2)).chunk(2)))
    inside, outside = torch.cat(logs, 1).median(1).values.tolist()
    tells, area = (float(torch.cat(each).double().mean()) for each in (right, areas))
    return Taught(masker, tells, area, inside, outside)
