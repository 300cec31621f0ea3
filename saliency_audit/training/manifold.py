"""Learn the manifold of images: a VAE-GAN (Larsen et al. 2016; P3 A.3), or a PCA."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from saliency_audit.catalogue.manifold import ManifoldCourse
from saliency_audit.data import ImageData, batches, in_order
from saliency_audit.errors import AuditError, InputError
from saliency_audit.models.manifold import (
    AutoEncoder,
    Manifold,
    ManifoldDesign,
    Subspace,
    drawn_autoencoder,
)
from saliency_audit.seeding import seed_of
from saliency_audit.training.optimise import optimizer

MOST_VALUES = 4096
"""Of an image, for a PCA: its covariance is held, and decomposed."""
_AT_ONCE = 256


def reconstruction(images: Tensor, made: Tensor) -> Tensor:
    """L1 distance, summed over all values, ``(n,)``; in place of Larsen's features (P3 A.3)."""
    return (images - made).abs().flatten(1).sum(1)


def encoder_loss(autoencoder: AutoEncoder, images: Tensor, noise: Tensor) -> Tensor:
    r"""What the encoder learns by.

    .. math:: \|x - \mathrm{dec}(z)\|_1 + KL,\quad z = \mu + \sigma\,\epsilon,\quad
        KL = -\tfrac12 \sum (1 + \log\sigma^2 - \mu^2 - \sigma^2)

    Args:
        autoencoder: gives :math:`\mu` and :math:`\log\sigma^2`.
        images: ``(n, c, h, w)`` in [-1, 1].
        noise: :math:`\epsilon`, ``(n, latent)``.

    Returns:
        The mean over the images. Source: P3 A.3; its code.
    """
    mean, log_variance = autoencoder.encode(images)
    made = autoencoder.decode(mean + (log_variance / 2).exp() * noise)
    divergence = -(1 + log_variance - mean.square() - log_variance.exp()).sum(1) / 2
    return (reconstruction(images, made) + divergence).mean()


def decoder_loss(
    autoencoder: AutoEncoder,
    discriminator: nn.Module,
    images: Tensor,
    noise: Tensor,
    prior: Tensor,
    *,
    weight: float,
) -> Tensor:
    r"""What the decoder learns by.

    .. math:: \lambda \|x - \mathrm{dec}(z)\|_1 - \log D(\mathrm{dec}(z)) - \log D(\mathrm{dec}(p))

    Args:
        autoencoder: its encoder gives z, as in `encoder_loss`.
        discriminator: gives the logit of D.
        images: ``(n, c, h, w)`` in [-1, 1].
        noise: of z, ``(n, latent)``.
        prior: p, drawn from the prior, ``(n, latent)``.
        weight: :math:`\lambda`.

    Returns:
        The mean over the images. Source: P3 A.3; its code.
    """
    made, drawn = _made(autoencoder, images, noise, prior)
    fooled = softplus(-discriminator(made)) + softplus(-discriminator(drawn))
    return (weight * reconstruction(images, made) + fooled.flatten()).mean()


def discriminator_loss(
    autoencoder: AutoEncoder,
    discriminator: nn.Module,
    images: Tensor,
    noise: Tensor,
    prior: Tensor,
) -> Tensor:
    r"""What the discriminator learns by: images are real, both of the decoder's are not.

    .. math:: -\log D(x) - \log(1 - D(\mathrm{dec}(z))) - \log(1 - D(\mathrm{dec}(p)))

    Args:
        autoencoder: learns nothing of it.
        discriminator: gives the logit of D.
        images: ``(n, c, h, w)`` in [-1, 1].
        noise: of z, ``(n, latent)``.
        prior: p, ``(n, latent)``.

    Returns:
        The mean over the images. Source: P3 A.3; its code.
    """
    with torch.no_grad():
        made, drawn = _made(autoencoder, images, noise, prior)
    told = softplus(discriminator(made)) + softplus(discriminator(drawn))
    return (softplus(-discriminator(images)) + told).mean()


def _made(
    autoencoder: AutoEncoder, images: Tensor, noise: Tensor, prior: Tensor
) -> tuple[Tensor, Tensor]:
    """Images through a drawn latent, and images of the prior."""
    with torch.no_grad():
        mean, log_variance = autoencoder.encode(images)
        latents = mean + (log_variance / 2).exp() * noise
    return autoencoder.decode(latents), autoencoder.decode(prior)


@dataclass(frozen=True)
class Taught:
    """One step of a training that was done.

    Attributes:
        step: its number, from 1.
        steps: how many there will be.
        manifold: what was learned so far; in eval mode, weights frozen, once all are done.
        state: gives what a checkpoint holds now.
    """

    step: int
    steps: int
    manifold: Manifold
    state: Callable[[], dict[str, Any]]


def train_vae_gan(
    data: ImageData,
    design: ManifoldDesign,
    *,
    course: ManifoldCourse,
    seed: int,
    device: torch.device,
    workers: int = 0,
    state: Mapping[str, Any] | None = None,
) -> Iterator[Taught]:
    """Train a VAE-GAN, one step at a time: encoder, then decoder, then discriminator.

    Which images a step has and what is drawn for it depend on the seed and the number of the step
    alone, so a resumed training ends in the same weights.

    Args:
        data: the training images.
        design: of the VAE-GAN.
        course: numbers of the training.
        seed: of all draws.
        device: where it is trained.
        workers: processes that read images.
        state: of a checkpoint, to go on from.

    Yields:
        One `Taught` after each step.

    Raises:
        InputError: fewer than two images, or none that can be read.
        AuditError: a loss is not finite.
    """
    refuse_few(data)
    size = min(course.batch, len(data))
    steps = course.epochs * (len(data) // size)
    autoencoder, discriminator = drawn_autoencoder(design, seed_of(seed, "vae-gan"))
    networks: dict[str, nn.Module] = {"autoencoder": autoencoder, "discriminator": discriminator}
    learners = {
        "encoder": autoencoder.encoder,
        "decoder": autoencoder.decoder,
        "discriminator": discriminator,
    }
    for network in networks.values():
        network.to(device).train()
    adams = {
        name: optimizer(network.parameters(), name="adam", lr=course.lr, betas=course.betas)
        for name, network in learners.items()
    }
    done = read = 0
    if state is not None:
        done, read = int(state["step"]), int(state["read"])
        for name, network in networks.items():
            network.load_state_dict(state[name])
        for name, adam in adams.items():
            adam.load_state_dict(state["optimizers"][name])

    def snapshot(step: int, read: int) -> dict[str, Any]:
        return {
            **{name: network.state_dict() for name, network in networks.items()},
            "optimizers": {name: adam.state_dict() for name, adam in adams.items()},
            "step": step,
            "read": read,
        }

    order = islice(_order(len(data), size, seed), done, steps)
    for step, batch in enumerate(in_order(data, order, workers=workers, device=device), done):
        # Statistics of a batch need two.
        if len(batch.names) > 1:
            read += len(batch.names)
            _learn(
                autoencoder,
                discriminator,
                adams,
                learners,
                2 * batch.images - 1,
                course,
                seed,
                step,
            )
        elif not read and (step + 1) * size >= len(data):
            raise InputError(f"too few images of {data.name} can be read to train on")
        if step + 1 == steps:
            autoencoder.requires_grad_(False).eval()
        yield Taught(
            step + 1,
            steps,
            Manifold(design, autoencoder),
            lambda step=step, read=read: snapshot(step + 1, read),  # type: ignore[misc]
        )


def _learn(
    autoencoder: AutoEncoder,
    discriminator: nn.Module,
    adams: Mapping[str, torch.optim.Optimizer],
    learners: Mapping[str, nn.Module],
    images: Tensor,
    course: ManifoldCourse,
    seed: int,
    step: int,
) -> None:
    """One step of all three, each with draws of its own, as P3's code goes."""
    draw = torch.Generator(images.device).manual_seed(seed_of(seed, "vae-gan", step))

    def drawn() -> Tensor:
        shape = (len(images), autoencoder.design.latent)
        return torch.randn(shape, generator=draw, device=images.device)

    def move(name: str, loss: Tensor) -> None:
        if not bool(loss.isfinite()):
            raise AuditError(f"the loss of the VAE-GAN's {name} is not finite at step {step + 1}")
        weights = list(learners[name].parameters())
        for weight, slope in zip(weights, torch.autograd.grad(loss, weights), strict=True):
            weight.grad = slope
        adams[name].step()

    move("encoder", encoder_loss(autoencoder, images, drawn()))
    both = (autoencoder, discriminator, images)
    move("decoder", decoder_loss(*both, drawn(), drawn(), weight=course.weight))
    for _ in range(course.discriminator_steps):
        move("discriminator", discriminator_loss(*both, drawn(), drawn()))


def fit_pca(
    data: ImageData,
    shape: tuple[int, int, int],
    *,
    components: float,
    device: torch.device,
    workers: int = 0,
    advance: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[Manifold, float]:
    """The plane of the directions in which training images differ most.

    Args:
        data: the training images.
        shape: of an image, ``(c, h, w)``.
        components: how many directions; below 1, the share of the variance that the fewest of
            them hold.
        device: where the plane goes.
        workers: processes that read images.
        advance: called with (images seen, images).

    Returns:
        The manifold, and the share of the variance that its directions hold.

    Raises:
        InputError: fewer than two images that differ, too many values, or more directions than
            there are.
    """
    refuse_few(data)
    size = shape[0] * shape[1] * shape[2]
    if size > MOST_VALUES:
        raise InputError(
            f"--manifold pca takes images of up to {MOST_VALUES:,} values, and these have {size:,} "
            f"({'x'.join(map(str, shape))}); leave it, to train a VAE-GAN"
        )
    if components >= 1 and components != int(components):
        raise InputError(
            option="components", value=components, fix="give a whole number, or a share below 1"
        )
    total, products, count = torch.zeros(size).double(), torch.zeros(size, size).double(), 0
    for batch in batches(data, batch_size=_AT_ONCE, workers=workers):
        # Between -0.5 and 0.5, so that squares lose little to the mean's.
        values = batch.images.double().flatten(1) - 0.5
        total += values.sum(0)
        products += values.T @ values
        count += len(values)
        advance(count, len(data))
    mean = total / max(count, 1)
    variances, directions = torch.linalg.eigh(products / max(count, 1) - torch.outer(mean, mean))
    variances = variances.flip(0).clamp_min(0)
    # What round-off leaves of directions in which no image differs.
    variances[variances <= variances[0] * size * torch.finfo(variances.dtype).eps] = 0
    rank = int((variances > 0).sum())
    if not rank:
        raise InputError(f"the images of {data.name} are all the same; there is no plane of them")
    shares = variances.cumsum(0) / variances.sum()
    if components > rank:
        raise InputError(
            option="components",
            value=components,
            fix=f"the {count:,} images of {data.name} differ in {rank:,} directions; give no more",
        )
    chosen = int(components) if components >= 1 else int((shares < components).sum()) + 1
    network = Subspace(2 * mean.float(), directions.flip(1).T[:chosen].float().contiguous())
    manifold = Manifold(ManifoldDesign("pca", shape, chosen), network.to(device).eval())
    return manifold, float(shares[chosen - 1])


def refuse_few(data: ImageData) -> None:
    """Refuse images that no manifold can be learned of.

    Raises:
        InputError: there are fewer than two.
    """
    if len(data) < 2:
        raise InputError(
            f"--train {data.name} has {len(data)} image{'s' * (len(data) != 1)}, of which no "
            "manifold can be learned; give some thousands"
        )


def _order(images: int, size: int, seed: int) -> Iterator[list[int]]:
    """Positions of the images of each step, without end; in each epoch in another order."""
    epoch = 0
    while True:
        draw = torch.Generator().manual_seed(seed_of(seed, "order", epoch))
        order = torch.randperm(images, generator=draw)
        yield from (part.tolist() for part in torch.split(order, size) if len(part) == size)
        epoch += 1
