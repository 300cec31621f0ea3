"""Weights in the layout that convolutions run fastest on, on many CPUs."""

import torch
from torch import nn

from saliency_audit.errors import UnsupportedError
from saliency_audit.models.classifier import Classifier, evaluating
from saliency_audit.models.files import one_line
from saliency_audit.models.taken import FAILURES, works


def lay_out_channels_last(model: Classifier) -> None:
    """Keep the weights of convolutions channels last, in place: a pixel's channels side by side.

    What a convolution gives is then laid out alike, and so is what follows. No value changes;
    sums are taken in another order, which changes outputs by round-off.

    Args:
        model: on its device. Copies of its network have the same layout.

    Raises:
        UnsupportedError: it has no weights ``(out, in, h, w)``, or its code does not run on
            tensors in that layout; the weights are then as they were.
    """
    kernels = [p for p in model.network.parameters() if p.ndim == 4]
    if not kernels:
        raise UnsupportedError(
            f"--channels-last is for convolutions, and {model.name} has none; leave it"
        )
    grey = model.mean.new_full((2, *model.input_shape), 0.5, dtype=model.dtype)
    with evaluating(model), model.activated():
        worked = works(model.network, grey)
        _lay_out(kernels, torch.channels_last)
        try:
            with torch.no_grad():
                model.network(grey)
        except FAILURES as error:
            _lay_out(kernels, torch.contiguous_format)
            # What runs in no layout is explained where the first images are tried.
            if worked:
                raise UnsupportedError(
                    f"--channels-last: {model.name} does not run so ({one_line(error)}); leave it, "
                    "or write flatten or reshape for view in its code"
                ) from error


def is_channels_last(model: Classifier) -> bool:
    """Whether weights of the network are laid out channels last."""
    return any(
        p.is_contiguous(memory_format=torch.channels_last) and not p.is_contiguous()
        for p in model.network.parameters()
        if p.ndim == 4
    )


def _lay_out(weights: list[nn.Parameter], layout: torch.memory_format) -> None:
    for weight in weights:
        weight.data = weight.data.contiguous(memory_format=layout)
