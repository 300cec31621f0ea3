"""ReLU-like activations as softplus makes them smooth."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

Smooth = Callable[[Tensor, float], Tensor]


@dataclass(frozen=True)
class Activation:
    """An activation with its parameters bound: its smooth version and that one's derivative.

    Attributes:
        smooth: of the input and beta; made of differentiable operations.
        slope: likewise.
        learned: has weights of its own.
    """

    smooth: Smooth
    slope: Smooth
    learned: bool = False


def _relu() -> Activation:
    return Activation(lambda x, beta: F.softplus(x, beta), lambda x, beta: torch.sigmoid(beta * x))


def _leaky_relu(negative_slope: float = 0.01) -> Activation:
    a = negative_slope
    return Activation(
        lambda x, beta: a * x + (1 - a) * F.softplus(x, beta),
        lambda x, beta: a + (1 - a) * torch.sigmoid(beta * x),
    )


def _hardtanh(min_val: float = -1.0, max_val: float = 1.0) -> Activation:
    low, high = min_val, max_val
    return Activation(
        lambda x, beta: low + F.softplus(x - low, beta) - F.softplus(x - high, beta),
        lambda x, beta: torch.sigmoid(beta * (x - low)) - torch.sigmoid(beta * (x - high)),
    )


def _relu6() -> Activation:
    return _hardtanh(0.0, 6.0)


def _hardsigmoid() -> Activation:
    ramp = _hardtanh(-3.0, 3.0)
    return Activation(
        lambda x, beta: (ramp.smooth(x, beta) + 3) / 6, lambda x, beta: ramp.slope(x, beta) / 6
    )


def _hardswish() -> Activation:
    gate = _hardsigmoid()
    return Activation(
        lambda x, beta: x * gate.smooth(x, beta),
        lambda x, beta: gate.smooth(x, beta) + x * gate.slope(x, beta),
    )


def _prelu(weight: Tensor) -> Activation:
    def smooth(x: Tensor, beta: float) -> Tensor:
        slope = weight if weight.numel() == 1 else weight.view(-1, *[1] * (x.ndim - 2))
        return slope * x + (1 - slope) * F.softplus(x, beta)

    return Activation(smooth, smooth, learned=True)


def _threshold(threshold: float, value: float) -> Activation | None:
    # Elsewhere it jumps, which no smooth function follows.
    if threshold != value:
        return None
    return Activation(
        lambda x, beta: value + F.softplus(x - value, beta),
        lambda x, beta: torch.sigmoid(beta * (x - value)),
    )


ACTIVATIONS: dict[str, tuple[Callable[..., Activation | None], int]] = {
    "relu": (_relu, 0),
    "relu6": (_relu6, 0),
    "leaky_relu": (_leaky_relu, 1),
    "hardtanh": (_hardtanh, 2),
    "hardsigmoid": (_hardsigmoid, 0),
    "hardswish": (_hardswish, 0),
    "prelu": (_prelu, 1),
    "threshold": (_threshold, 2),
}
"""What binds an activation's parameters, and how many come between the input and ``inplace``."""


def _callables() -> dict[Any, tuple[str, bool]]:
    found: dict[Any, tuple[str, bool]] = {}
    for name in ACTIVATIONS:
        for variant, in_place in ((name, False), (f"{name}_", True)):
            operator = getattr(torch.ops.aten, variant, None)
            functions = [getattr(o, variant, None) for o in (F, torch, Tensor, torch._C._nn)]
            for function in (*functions, operator, getattr(operator, "default", None)):
                if function is not None:
                    found[function] = (name, in_place)
    return found


CALLABLES = _callables()
"""Functions and operators that are an activation: its name, and whether they work in place."""
