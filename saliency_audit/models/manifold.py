"""A learned manifold of images: the autoencoder of a VAE-GAN, or the subspace of a PCA (P3 2.1)."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from saliency_audit.budget import lengths
from saliency_audit.errors import InputError

KINDS = ("pca", "vae-gan")
DECODERS = ("mnist", "cifar")
MNIST_SIDES = (28, 28)
"""Of the images that P3's decoder for MNIST gives."""
_MOST = 1 << 24
"""Numbers of an image or a latent, beyond which a file is not believed."""


@dataclass(frozen=True)
class ManifoldDesign:
    """What an autoencoder is made for.

    Attributes:
        kind: "pca" or "vae-gan".
        shape: of an image, ``(c, h, w)``.
        latent: dimensions.
        decoder: of a VAE-GAN "mnist" or "cifar".
        divisor: how many times fewer channels each of its layers has than in P3.
    """

    kind: str
    shape: tuple[int, int, int]
    latent: int
    decoder: str = ""
    divisor: int = 1

    @property
    def written(self) -> str:
        """As JSON, for the metadata of a file."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def read(cls, text: str) -> "ManifoldDesign":
        """The design that was written.

        Raises:
            ValueError: it is none.

        >>> design = ManifoldDesign("vae-gan", (1, 28, 28), 10, "mnist", 4)
        >>> ManifoldDesign.read(design.written) == design
        True
        """
        none = ValueError(f"{text[:80]} is no design of a manifold")
        try:
            said = json.loads(text)
            channels, height, width = (int(side) for side in said["shape"])
            latent, divisor = int(said["latent"]), int(said["divisor"])
            kind, decoder = str(said["kind"]), str(said["decoder"])
        except (KeyError, TypeError, ValueError, OverflowError, RecursionError) as error:
            raise none from error
        shape = (channels, height, width)
        fits = min(*shape, latent, divisor) > 0 and max(channels * height * width, latent) < _MOST
        if not fits or kind not in KINDS or (decoder in DECODERS) != (kind == "vae-gan"):
            raise none
        if decoder == "mnist" and shape[1:] != MNIST_SIDES:
            raise none
        return cls(kind, shape, latent, decoder, divisor)


class Subspace(nn.Module):
    r"""The plane of a PCA: :math:`\pi(x) = m + V^T V (x - m)`.

    Args:
        mean: m, ``(d,)``.
        basis: V, ``(k, d)``, orthonormal rows.
    """

    def __init__(self, mean: Tensor, basis: Tensor) -> None:
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("basis", basis)
        self.mean: Tensor
        self.basis: Tensor

    def forward(self, images: Tensor) -> Tensor:
        """The nearest points of the plane."""
        centred = images.flatten(1) - self.mean
        return (self.mean + centred @ self.basis.T @ self.basis).view_as(images)


class AutoEncoder(nn.Module):
    """Encoder and decoder of a VAE-GAN, of P3 A.3 (images in [-1, 1]).

    Args:
        design: of a VAE-GAN.
    """

    def __init__(self, design: ManifoldDesign) -> None:
        super().__init__()
        self.design = design
        self.encoder = _encoder(design)
        self.decoder = _mnist_decoder(design) if design.decoder == "mnist" else _decoder(design)

    def encode(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of the latent, ``(n, latent)`` each."""
        mean, log_variance = self.encoder(images).chunk(2, dim=1)
        return mean, log_variance

    def decode(self, latents: Tensor) -> Tensor:
        """Images ``(n, c, h, w)`` in [-1, 1]."""
        _, height, width = self.design.shape
        made: Tensor = self.decoder(latents)
        return made[..., :height, :width]

    def forward(self, images: Tensor) -> Tensor:
        """The images through the mean of their latents: no draw decides a projection."""
        return self.decode(self.encode(images)[0])


@dataclass(frozen=True)
class Manifold:
    """A manifold that images can be projected to.

    Attributes:
        design: what it is made for.
        network: images in [-1, 1] to their projections; in eval mode, weights frozen.
    """

    design: ManifoldDesign
    network: nn.Module

    def project(self, images: Tensor) -> Tensor:
        """The projections ``(n, c, h, w)`` of images in [0, 1], in the same unit."""
        kind = next(iter(self.network.state_dict().values())).dtype
        with torch.no_grad():
            made: Tensor = self.network(2 * images.to(kind) - 1)
        return (made + 1) / 2

    def distance(self, images: Tensor) -> Tensor:
        r"""How far images are from the manifold.

        .. math:: d_\pi(x) = \|x - \mathrm{dec}(\mathrm{enc}(x))\|_2

        Args:
            images: ``(n, c, h, w)`` in [0, 1].

        Returns:
            ``(n,)``, of the images' values stretched to [-1, 1], as in P3: twice the length in
            pixel units. Source: P3 2.1.
        """
        made = self.project(images)
        return 2 * lengths(images.to(made.dtype) - made)


def drawn_autoencoder(design: ManifoldDesign, seed: int) -> tuple[AutoEncoder, nn.Sequential]:
    """An autoencoder and its discriminator, weights drawn; the global random state stays.

    Args:
        design: of a VAE-GAN.
        seed: of the weights.

    Returns:
        Both in training mode; the second gives logits ``(n, 1)`` of images in [-1, 1] being real.
    """
    with torch.random.fork_rng(devices=[]):
        # Not torch.manual_seed, which seeds the GPUs as well.
        torch.default_generator.manual_seed(seed)
        made = AutoEncoder(design)
        build = _mnist_discriminator if design.decoder == "mnist" else _discriminator
        return made, build(design)


def restored_manifold(
    state: Mapping[str, Tensor], design: ManifoldDesign, device: torch.device
) -> Manifold:
    """A manifold with weights from a file.

    Args:
        state: its weights, by name.
        design: what it was made for.
        device: where to.

    Raises:
        InputError: the weights are not of that design, or not finite.
    """
    other = InputError("its weights are not of the autoencoder that its metadata describes")
    shapes = {name: tuple(tensor.shape) for name, tensor in state.items()}
    if design.kind == "pca":
        size = design.shape[0] * design.shape[1] * design.shape[2]
        if shapes != {"mean": (size,), "basis": (design.latent, size)}:
            raise other
        network: nn.Module = Subspace(state["mean"], state["basis"])
    else:
        # On no device: a file may claim to be of any size.
        with torch.device("meta"):
            blank = AutoEncoder(design).state_dict()
        if shapes != {name: tuple(tensor.shape) for name, tensor in blank.items()}:
            raise other
        network = drawn_autoencoder(design, 0)[0]
        network.load_state_dict(dict(state))
    if not all(bool(tensor.isfinite().all()) for tensor in state.values()):
        raise InputError("it holds numbers that are not finite")
    return Manifold(design, network.to(device).requires_grad_(False).eval())


class Same(nn.Module):
    """Zeros around images so that a convolution gives ``ceil(side / stride)`` of a side.

    TensorFlow's "SAME", in which P3's code has it: an odd zero comes last.

    >>> Same(4, 2)(torch.ones(1, 1, 7, 7)).shape
    torch.Size([1, 1, 10, 10])
    """

    def __init__(self, kernel: int, stride: int) -> None:
        super().__init__()
        self.kernel, self.stride = kernel, stride

    def forward(self, images: Tensor) -> Tensor:
        """The images, larger."""
        around: list[int] = []
        for side in reversed(images.shape[2:]):
            more = max((-(-side // self.stride) - 1) * self.stride + self.kernel - side, 0)
            around += [more // 2, more - more // 2]
        return F.pad(images, around)


Layer = TypeVar("Layer", nn.Conv2d, nn.ConvTranspose2d, nn.Linear)


def _glorot(layer: Layer) -> Layer:
    """Glorot's weights and no bias, as P3's code starts."""
    nn.init.xavier_uniform_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


def _convolution(
    inputs: int, outputs: int, kernel: int, stride: int, *, normal: bool, spectral: bool = False
) -> list[nn.Module]:
    layer: nn.Module = _glorot(nn.Conv2d(inputs, outputs, kernel, stride, bias=not normal))
    if spectral:
        layer = nn.utils.parametrizations.spectral_norm(layer)
    return [Same(kernel, stride), layer, *([nn.BatchNorm2d(outputs)] if normal else [])]


def _transposed(inputs: int, outputs: int, stride: int) -> list[nn.Module]:
    # With a stride of 2 the sides double, with 1 they grow by 3.
    return [
        _glorot(nn.ConvTranspose2d(inputs, outputs, 4, stride, padding=stride - 1, bias=False)),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    ]


def _dense(inputs: int, outputs: int) -> list[nn.Module]:
    return [_glorot(nn.Linear(inputs, outputs, bias=False)), nn.BatchNorm1d(outputs)]


def _sides(design: ManifoldDesign, halvings: int) -> int:
    """Pixels of an image whose sides were halved, rounding up."""
    _, height, width = design.shape
    return -(-height >> halvings) * -(-width >> halvings)


def _widths(design: ManifoldDesign, *widths: int) -> list[int]:
    return [max(1, width // design.divisor) for width in widths]


def _encoder(design: ManifoldDesign) -> nn.Sequential:
    widths = _widths(design, 64, 128, 256)
    kernel = 4 if design.decoder == "mnist" else 5
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise([design.shape[0], *widths]):
        layers += [*_convolution(inputs, outputs, kernel, 2, normal=True), nn.ReLU()]
    return nn.Sequential(
        *layers, nn.Flatten(), *_dense(widths[-1] * _sides(design, 3), 2 * design.latent)
    )


def _mnist_decoder(design: ManifoldDesign) -> nn.Sequential:
    """From 2 x 2 (the code's 1024 values) to 4, 7, 14 and 28."""
    wide, middle, narrow = _widths(design, 256, 128, 32)
    return nn.Sequential(
        *_dense(design.latent, 4 * wide),
        nn.ReLU(),
        nn.Unflatten(1, (wide, 2, 2)),
        *_transposed(wide, wide, 2),
        *_transposed(wide, middle, 1),
        *_transposed(middle, narrow, 2),
        _glorot(nn.ConvTranspose2d(narrow, design.shape[0], 4, 2, padding=1)),
        nn.Tanh(),
    )


def _decoder(design: ManifoldDesign) -> nn.Sequential:
    """From an eighth of the sides, rounded up, by doubling."""
    widest, *widths = _widths(design, 512, 256, 128, 64)
    _, height, width = design.shape
    start = (widest, -(-height // 8), -(-width // 8))
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise([widest, *widths]):
        layers += _transposed(inputs, outputs, 2)
    return nn.Sequential(
        _glorot(nn.Linear(design.latent, start[0] * start[1] * start[2])),
        nn.Unflatten(1, start),
        *layers,
        *_convolution(widths[-1], design.shape[0], 3, 1, normal=False),
        nn.Tanh(),
    )


def _mnist_discriminator(design: ManifoldDesign) -> nn.Sequential:
    first, *widths, dense = _widths(design, 32, 128, 256, 256, 512)
    layers = [*_convolution(design.shape[0], first, 4, 2, normal=False), nn.ReLU()]
    for inputs, outputs in pairwise([first, *widths]):
        layers += [*_convolution(inputs, outputs, 4, 2, normal=True), nn.ReLU()]
    flat = widths[-1] * _sides(design, 4)
    return nn.Sequential(
        *layers, nn.Flatten(), *_dense(flat, dense), nn.ReLU(), _glorot(nn.Linear(dense, 1))
    )


def _discriminator(design: ManifoldDesign) -> nn.Sequential:
    """Of Miyato et al. 2018: spectral normalisation, leaky ReLU of slope 0.1."""
    widths = _widths(design, 64, 64, 128, 128, 256, 256, 512)
    layers: list[nn.Module] = []
    for i, (inputs, outputs) in enumerate(pairwise([design.shape[0], *widths])):
        kernel, stride = (4, 2) if i % 2 else (3, 1)
        layers += _convolution(inputs, outputs, kernel, stride, normal=False, spectral=True)
        layers.append(nn.LeakyReLU(0.1))
    return nn.Sequential(
        *layers, nn.Flatten(), _glorot(nn.Linear(widths[-1] * _sides(design, 3), 1))
    )
