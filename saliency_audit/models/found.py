"""What is known of a model once its network has been found, before anything is assumed."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import nn

from saliency_audit.models.activation import InPlace
from saliency_audit.models.classifier import Format


@dataclass
class Found:
    """A network and what its source says about it.

    Attributes:
        network: the user's model.
        name: how reports call it.
        format: what kind of object the network is.
        shape: ``(c, h, w)`` of one image; None where the source does not say.
        mean: per channel, in pixel units; None where the source does not say.
        std: likewise.
        resize: shorter side before the centre crop.
        dtype: of the images that it takes; None means that of its weights.
        activation: what it was trained with in place of its own; None where nothing is said.
        sha256: of the file; empty for a network that came by name.
        usual: the ``--mean`` and ``--std`` that such networks usually have.
        class_names: of its outputs from 0 on; None where the source does not say.
        like: whose shape, mean and std these are where the weights' own are not known.
        notes: lines to tell the user.
        assumed: what of the input nobody said, in a few words each.
    """

    network: nn.Module
    name: str
    format: Format = "module"
    shape: tuple[int | None, int | None, int | None] = (None, None, None)
    mean: Sequence[float] | float | None = None
    std: Sequence[float] | float | None = None
    resize: int | None = None
    dtype: torch.dtype | None = None
    activation: InPlace | None = None
    sha256: str = ""
    usual: str = "ImageNet's are --mean 0.485,0.456,0.406 --std 0.229,0.224,0.225"
    class_names: Sequence[str] | None = None
    like: str = ""
    notes: list[str] = field(default_factory=list)
    assumed: list[str] = field(default_factory=list)
