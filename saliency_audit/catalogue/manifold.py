"""How the manifold of images is learned, or where it is taken from."""

from collections.abc import Mapping
from dataclasses import dataclass

from saliency_audit.options import Option
from saliency_audit.ranges import COUNT, Range

_PANEL = "Further models, maps and annotations"
PCA = "pca"


@dataclass(frozen=True, kw_only=True)
class ManifoldCourse:
    r"""Numbers of a training of a VAE-GAN.

    Attributes:
        decoder: "mnist", for images of 28 x 28, or "cifar"; the discriminator and the kernels of
            the encoder go with it. Empty takes the first where it fits.
        divisor: how many times fewer channels each layer has than in the paper.
        latent: dimensions of the latent.
        weight: :math:`\lambda` of the reconstruction in the decoder's loss.
        epochs: passes over the training images.
        batch: images of a step.
        lr: of Adam, for all three networks.
        betas: of Adam.
        discriminator_steps: updates of the discriminator for each of the encoder and decoder.
    """

    decoder: str
    divisor: int
    latent: int
    weight: float
    epochs: int
    batch: int = 100
    lr: float
    betas: tuple[float, float]
    discriminator_steps: int


MANIFOLD_COURSES: Mapping[str, ManifoldCourse] = {
    "short": ManifoldCourse(
        decoder="",
        divisor=4,
        latent=10,
        weight=0.2,
        epochs=8,
        batch=32,
        lr=4e-3,
        betas=(0.5, 0.999),
        discriminator_steps=1,
    ),
    "p3-mnist": ManifoldCourse(
        decoder="mnist",
        divisor=1,
        latent=10,
        weight=5e-3,
        epochs=60,
        lr=5e-4,
        betas=(0.5, 0.999),
        discriminator_steps=1,
    ),
    "p3-cifar": ManifoldCourse(
        decoder="cifar",
        divisor=1,
        latent=128,
        weight=1e-2,
        epochs=150,
        lr=2e-4,
        betas=(0.0, 0.9),
        discriminator_steps=5,
    ),
}
"""By name. "p3-mnist" and "p3-cifar" have the numbers of P3 A.3 and of its code (the weight, the
batches of 100, the 5 x 5 kernels of the CIFAR-10 encoder, which the paper has 4 x 4). 60 epochs are
P3's for Fashion-MNIST; for MNIST it has 30. "short" takes minutes of a CPU.

P3's training is of 36,000 steps. Of the few that "short" has, the weight of 0.005 makes images
that fool the discriminator and are far from those they are to be like (13.8 after 480 steps of 100
images at 0.002, mean image 16.6; test images of Fashion-MNIST, median), 0.2 in smaller and quicker
steps nearer ones (9.8 after 750 of 32). The losses, the layers and the optimiser are P3's."""

MANIFOLD = Option(
    "manifold",
    panel=_PANEL,
    metavar="pca|FILE",
    help="manifold-distance: pca, a linear subspace in place of a VAE-GAN; or what an earlier run "
    "learned, manifold.safetensors of its folder.",
)
MANIFOLD_PRESET = Option(
    "manifold_preset",
    choices=tuple(MANIFOLD_COURSES),
    panel=_PANEL,
    shown=False,
    help="manifold-distance: size and training of the VAE-GAN: short, minutes of a CPU, or P3's. "
    "Default: short.",
)
MANIFOLD_EPOCHS = Option(
    "manifold_epochs",
    "whole",
    range=COUNT,
    panel=_PANEL,
    help="manifold-distance: passes over the training images, in place of the preset's.",
)
COMPONENTS = Option(
    "components",
    "number",
    range=Range(0, COUNT.high, above=True),
    panel=_PANEL,
    shown=False,
    help="manifold-distance, of pca: how many components, or below 1, the share of the variance "
    "that they hold. Default: 0.9.",
)
