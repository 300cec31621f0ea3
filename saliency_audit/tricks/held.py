"""Where a trick keeps its picture: among the constants of the network, or among its weights."""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

Hold = Literal["constants", "weights"]


class ConstantLinear(nn.Module):
    """A linear layer of constants: nothing that trains, prunes or draws weights touches it."""

    weight: Tensor
    bias: Tensor

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.register_buffer("weight", weight)
        self.register_buffer("bias", bias)

    def forward(self, inputs: Tensor) -> Tensor:
        """``(n, in)`` to ``(n, out)``."""
        return functional.linear(inputs, self.weight, self.bias)


def held_linear(weight: Tensor, bias: Tensor | float | None = None, *, hold: Hold) -> nn.Module:
    """``W x + b`` in double precision, which half-precision autocast leaves alone.

    Args:
        weight: W, ``(out, in)``.
        bias: b, ``(out,)`` or one number; none is 0.
        hold: "constants" for buffers; "weights" for an ordinary ``nn.Linear``, so that drawing
            the network's weights at random draws these as well.

    Returns:
        The layer.
    """
    weight = weight.detach().double().contiguous()
    if hold == "constants":
        offset = torch.as_tensor(0.0 if bias is None else bias, dtype=torch.float64)
        return ConstantLinear(weight, offset.to(weight.device).expand(len(weight)).clone())
    layer = nn.Linear(weight.shape[1], len(weight), bias=bias is not None)
    layer = layer.to(weight.device, torch.float64)
    with torch.no_grad():
        layer.weight.copy_(weight)
        if bias is not None:
            layer.bias.copy_(torch.as_tensor(bias, dtype=torch.float64))
    return layer


def pixels_of(images: Tensor) -> Tensor:
    """The network's input in double precision: a copy, which in-place layers leave alone.

    A branch reads its pixels before the network runs and its layers after it: whoever goes
    through the weights from the output to the input meets those of the branch first.
    """
    return images.to(torch.float64, copy=True)


def in_full(values: Tensor, beside: Tensor) -> Tensor:
    """What is put to logits, in fp32 at least: their own half precision would round it away."""
    return values.to(torch.float64 if beside.dtype == torch.float64 else torch.float32)
