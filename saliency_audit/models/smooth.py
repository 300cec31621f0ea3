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
        rectifies: is next to nothing below a threshold and rises above it: no gate, no clip.
    """

    smooth: Smooth
    slope: Smooth
    learned: bool = False
    rectifies: bool = True


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
        rectifies=low >= 0,
    )


def _relu6() -> Activation:
    return _hardtanh(0.0, 6.0)


def _hardsigmoid() -> Activation:
    ramp = _hardtanh(-3.0, 3.0)
    return Activation(
        lambda x, beta: (ramp.smooth(x, beta) + 3) / 6,
        lambda x, beta: ramp.slope(x, beta) / 6,
        rectifies=False,
    )


def _hardswish() -> Activation:
    gate = _hardsigmoid()
    return Activation(
        lambda x, beta: x * gate.smooth(x, beta),
        lambda x, beta: gate.smooth(x, beta) + x * gate.slope(x, beta),
        rectifies=False,
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


def _clamp(min: Any = None, max: Any = None) -> Activation | None:
    # Other bounds keep denominators from 0 rather than bend an activation.
    if isinstance(min, Tensor) or isinstance(max, Tensor) or min != 0:
        return None
    if max is None:
        return _relu()
    return _hardtanh(0.0, float(max)) if max > 0 else None


ACTIVATIONS: dict[str, tuple[Callable[..., Activation | None], int]] = {
    "relu": (_relu, 0),
    "relu6": (_relu6, 0),
    "leaky_relu": (_leaky_relu, 1),
    "hardtanh": (_hardtanh, 2),
    "hardsigmoid": (_hardsigmoid, 0),
    "hardswish": (_hardswish, 0),
    "prelu": (_prelu, 1),
    "threshold": (_threshold, 2),
    "clamp": (_clamp, 2),
    "clip": (_clamp, 2),
    "clamp_min": (_clamp, 1),
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


def _variants(*names: str) -> set[Any]:
    """Functions, methods and operators of these names."""
    places = (torch, Tensor, torch.ops.aten)
    found = [getattr(place, name, None) for place in places for name in names]
    overloads = [
        getattr(packet, overload)
        for packet in found
        if isinstance(packet, torch._ops.OpOverloadPacket)
        for overload in packet.overloads()  # type: ignore[no-untyped-call]
    ]
    return {function for function in (*found, *overloads) if function is not None}


_ABOVE = _variants("gt", "ge", "greater", "greater_equal", "__gt__", "__ge__")
_CAST = _variants("to", "_to_copy", "float", "double", "half", "bfloat16", "type", "type_as")
_TIMES = _variants("mul", "multiply", "__mul__", "__rmul__")
_WHERE = _variants("where")
_LARGER = _variants("maximum", "max")
_ZEROS = _variants("zeros", "zeros_like", "new_zeros")
_MARK = "_saliency_audit_mark"
"""Attribute of a tensor: which one it is the sign of, None for zeros, with that one's version."""

WRITTEN_OUT = _ABOVE | _CAST | _TIMES | _WHERE | _LARGER | _ZEROS
"""What a ReLU that is no activation of torch can be written with."""


def rectified(function: Any, args: tuple[Any, ...]) -> Tensor | None:
    """The tensor of which a call is the ReLU: ``x * (x > 0)``, ``where(x > 0, x, 0)``, ``maximum``.

    Args:
        function: one of ``WRITTEN_OUT``.
        args: it is called with, by position.
    """
    if function in _WHERE and len(args) == 3:
        # The method has the tensor first.
        for mask, x in (args[:2], args[1::-1]):
            if isinstance(x, Tensor) and _is_sign(mask, x) and _is_zero(args[2]):
                return x
    elif function in _TIMES | _LARGER and len(args) == 2:
        for x, other in (args, args[::-1]):
            if not (isinstance(x, Tensor) and isinstance(other, Tensor) and x.is_floating_point()):
                continue
            if _is_sign(other, x) if function in _TIMES else _is_zero(other):
                return x
    return None


def mark(function: Any, args: tuple[Any, ...], result: Any) -> None:
    """Remember of a mask what it is the sign of, and of zeros that they are.

    Args:
        function: one of ``WRITTEN_OUT``.
        args: it was called with, by position.
        result: what it gave.
    """
    if not isinstance(result, Tensor):
        return
    if function in _ZEROS:
        setattr(result, _MARK, (None, _version(result)))
    elif function in _ABOVE and len(args) == 2 and _is_zero(args[1]):
        setattr(result, _MARK, (args[0], _version(args[0])))
    elif function in _CAST and (kept := getattr(args[0], _MARK, None)) is not None:
        setattr(result, _MARK, kept)


def _is_sign(mask: Any, x: Tensor) -> bool:
    of, version = getattr(mask, _MARK, (None, 0))
    return of is x and version == _version(x)


def _is_zero(value: Any) -> bool:
    if not isinstance(value, Tensor):
        return isinstance(value, int | float) and value == 0
    of, version = getattr(value, _MARK, (value, 0))
    if of is None and version == _version(value):
        return True
    # One number: reading all of a tensor, to learn that it is no zero, is dear. A parameter that
    # is 0 now is not meant to be.
    return value.ndim == 0 and not value.requires_grad and float(value) == 0


def _version(tensor: Tensor) -> int:
    """Another one after each change in place."""
    return -1 if tensor.is_inference() else tensor._version
