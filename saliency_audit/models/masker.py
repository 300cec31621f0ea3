"""A network that masks an image from the feature maps of a classifier (Dabkowski and Gal 2017)."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from saliency_audit.errors import InputError, UnsupportedError
from saliency_audit.models.classifier import Classifier
from saliency_audit.models.layers import moved_layer
from saliency_audit.models.scales import feature_maps, scales

MOST_SCALES = 4
"""Feature maps that are read: the coarsest, and three to go up by (the authors' code). The mask of
a network that ends at a 32nd of the image's side so has a quarter of it."""


@dataclass(frozen=True)
class Design:
    """What a masking network is made for.

    Attributes:
        layers: whose feature maps it reads, the coarsest first.
        channels: of each.
        classes: of the classifier.
        width: channels of the finest stage; each coarser one has twice as many.
    """

    layers: tuple[str, ...]
    channels: tuple[int, ...]
    classes: int
    width: int

    @property
    def written(self) -> str:
        """As JSON, for the metadata of a file."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def read(cls, text: str) -> "Design":
        """The design that was written.

        Raises:
            ValueError: it is none.

        >>> design = Design(("features",), (8,), 10, 16)
        >>> Design.read(design.written) == design
        True
        """
        try:
            said = json.loads(text)
            numbers = [int(said["classes"]), int(said["width"])]
            layers, channels = [str(n) for n in said["layers"]], [int(c) for c in said["channels"]]
        except (KeyError, TypeError, OverflowError, RecursionError) as error:
            raise ValueError(f"{text[:80]} is no design of a masking network") from error
        fits = 0 < len(layers) == len(channels) <= MOST_SCALES
        if not fits or min(*numbers, *channels) < 1:
            raise ValueError(f"{text[:80]} is no design of a masking network")
        return cls(tuple(layers), tuple(channels), *numbers)


class MaskingNetwork(nn.Module):
    r"""Class selector and decoder: feature maps and a class in, a mask out.

    The selector multiplies the coarsest map by :math:`\sigma(\langle f_{ij}, E_c \rangle)` with a
    learned vector :math:`E_c` for each class. Each stage of the decoder goes up to the next finer
    map and is joined with it. Two channels a and b of the last make the mask
    :math:`|a| / (|a| + |b|)`.

    Args:
        design: what it is made for.
    """

    def __init__(self, design: Design) -> None:
        super().__init__()
        self.design = design
        coarsest, *finer = design.channels
        self.selector = nn.Embedding(design.classes, coarsest)
        nn.init.normal_(self.selector.weight, std=coarsest**-0.5)
        # Twice as wide at each coarser stage.
        widths = [design.width * 2**level for level in reversed(range(len(design.channels)))]
        self.enter = _block(coarsest, widths[0], 1)
        self.stages = nn.ModuleList(
            _Stage(inputs, skipped, outputs)
            for (inputs, outputs), skipped in zip(pairwise(widths), finer, strict=True)
        )
        self.leave = nn.Conv2d(widths[-1], 2, 1)

    def evidence(self, coarsest: Tensor, targets: Tensor) -> Tensor:
        """How much each position speaks for a class, ``(n, 1, gh, gw)``.

        Args:
            coarsest: the coarsest feature map, ``(n, channels, gh, gw)``.
            targets: classes, ``(n,)``.
        """
        return torch.einsum("nchw,nc->nhw", coarsest, self.selector(targets)).unsqueeze(1)

    def forward(self, maps: Sequence[Tensor], targets: Tensor, size: Sequence[int]) -> Tensor:
        """The mask ``(n, 1, h, w)`` in [0, 1] of feature maps, the coarsest first."""
        coarsest, *finer = maps
        x = self.enter(coarsest * self.evidence(coarsest, targets).sigmoid())
        for stage, skipped in zip(self.stages, finer, strict=True):
            x = stage(x, skipped)
        a, b = self.leave(x).abs().split(1, 1)
        # Where both are 0, neither side has any evidence.
        least = torch.finfo(a.dtype).eps
        mask = (a + least) / (a + b + 2 * least)
        return F.interpolate(mask, size=tuple(size), mode="bilinear", align_corners=False)


@dataclass(frozen=True)
class Masker:
    """A trained masking network.

    It is no module, so that no classifier counts its weights among its own.

    Attributes:
        network: in eval mode, weights frozen.
    """

    network: MaskingNetwork

    def mask(self, model: Classifier, images: Tensor, targets: Tensor) -> Tensor:
        """The mask of images, by one forward pass of the classifier.

        Args:
            model: the classifier it is made for, or one made of that.
            images: ``(n, c, h, w)`` in [0, 1].
            targets: classes, ``(n,)``.

        Returns:
            ``(n, 1, h, w)`` in [0, 1], in the graph of the images where gradients are on.

        Raises:
            UnsupportedError: the format gives no access to layers, one is no map, or it has
                others of that name.
            InputError: the classifier has no such layers.
        """
        # An added layer lies around the network, whose own layers then have longer names.
        layers = [moved_layer(name, model.network) or name for name in self.network.design.layers]
        logits, maps = feature_maps(model, images, layers)
        self.refuse_other(model, logits, maps)
        kind = self.network.selector.weight.dtype
        mask: Tensor = self.network([map.to(kind) for map in maps], targets, images.shape[2:])
        return mask.to(images.dtype)

    def refuse_other(self, model: Classifier, logits: Tensor, maps: Sequence[Tensor]) -> None:
        """Refuse a classifier of other shapes.

        Raises:
            UnsupportedError: it is.
        """
        made = (self.network.design.channels, self.network.design.classes)
        has = (tuple(map.shape[1] for map in maps), logits.shape[1])
        if made != has:
            raise UnsupportedError(
                f"the masking network is made for {made[1]} classes and feature maps of "
                f"{_listed(made[0])} channels, and {model.name} has {has[1]} and "
                f"{_listed(has[0])}; train one for it, with --train"
            )


def untrained(model: Classifier, images: Tensor, *, width: int, seed: int) -> Masker:
    """A masking network for a classifier, its weights drawn.

    Args:
        model: the classifier; runs twice on one image.
        images: ``(n, c, h, w)``; only the shape, type and device are used.
        width: channels of the finest stage, >= 1.
        seed: of the weights; the global random state is not touched.

    Returns:
        The masking network in eval mode, on the model's device and in its precision.

    Raises:
        UnsupportedError: the format gives no access to layers, or no layer is a map.
        InputError: ``model.layer`` does not exist.
    """
    layers = scales(model, images, most=MOST_SCALES)
    with torch.no_grad():
        logits, maps = feature_maps(model, torch.full_like(images[:1], 0.5), layers)
    design = Design(tuple(layers), tuple(map.shape[1] for map in maps), logits.shape[1], width)
    network = _drawn(design, seed)
    kind = torch.float64 if model.dtype == torch.float64 else torch.float32
    return Masker(network.to(model.mean.device, kind).requires_grad_(False).eval())


def restored(state: Mapping[str, Tensor], design: Design, model: Classifier) -> Masker:
    """A masking network with weights from a file.

    Args:
        state: its weights, by name.
        design: what it was made for.
        model: the classifier it is for; tells the device.

    Raises:
        InputError: the weights are not of that design.
    """
    other = InputError("its weights are not of the network that its metadata describes")
    shapes = {name: tuple(tensor.shape) for name, tensor in state.items()}
    coarsest, widest = design.channels[0], design.width * 2 ** (len(design.channels) - 1)
    # Before anything is made: a file may claim to be of any size.
    if (
        shapes.get("selector.weight") != (design.classes, coarsest)
        or shapes.get("enter.0.weight") != (widest, coarsest, 1, 1)
        or any(
            shapes.get(f"stages.{i}.skip.0.weight", (0, 0))[1] != skipped
            for i, skipped in enumerate(design.channels[1:])
        )
    ):
        raise other
    network = _drawn(design, seed=0)
    if shapes != {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}:
        raise other
    double = state["selector.weight"].dtype == torch.float64
    network.to(torch.float64 if double else torch.float32).load_state_dict(dict(state))
    return Masker(network.to(model.mean.device).requires_grad_(False).eval())


def _drawn(design: Design, seed: int) -> MaskingNetwork:
    with torch.random.fork_rng(devices=[]):
        # Not torch.manual_seed, which seeds the GPUs as well.
        torch.default_generator.manual_seed(seed)
        return MaskingNetwork(design)


class _Stage(nn.Module):
    """Up to the grid of a finer map, joined with it, and one residual block."""

    def __init__(self, inputs: int, skipped: int, outputs: int) -> None:
        super().__init__()
        self.skip = _block(skipped, outputs, 1)
        self.join = _block(inputs + outputs, outputs, 3)
        self.further = _block(outputs, outputs, 3)

    def forward(self, coarse: Tensor, skipped: Tensor) -> Tensor:
        up = F.interpolate(coarse, size=skipped.shape[2:], mode="bilinear", align_corners=False)
        joined: Tensor = self.join(torch.cat([up, self.skip(skipped)], 1))
        further: Tensor = self.further(joined)
        return joined + further


def _block(inputs: int, outputs: int, side: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, side, padding=side // 2, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    )


def _listed(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers))
