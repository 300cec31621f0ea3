"""Smooth stand-ins for ReLU-like activations, for whatever needs second derivatives.

The second derivative of a ReLU is zero almost everywhere, so the gradient of a map through a ReLU
network misses most of what moves the map. Inside ``surrogate`` the activations are replaced as
they are called, in eager modules and in ``torch.export`` programs alike; the module itself is
never touched.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from saliency_audit.errors import InputError, UnsupportedError
from saliency_audit.models.classifier import Classifier
from saliency_audit.models.gradients import input_gradient

Kind = Literal["softplus", "exact-forward"]
Smooth = Callable[[Tensor, float], Tensor]


@dataclass(frozen=True)
class _Activation:
    """An activation with its parameters bound: its smooth version and that one's derivative.

    Both take the input and beta; they are made of differentiable operations.
    """

    smooth: Smooth
    slope: Smooth


def _relu() -> _Activation:
    return _Activation(
        lambda x, beta: F.softplus(x, beta), lambda x, beta: torch.sigmoid(beta * x)
    )


def _leaky_relu(negative_slope: float = 0.01) -> _Activation:
    a = negative_slope
    return _Activation(
        lambda x, beta: a * x + (1 - a) * F.softplus(x, beta),
        lambda x, beta: a + (1 - a) * torch.sigmoid(beta * x),
    )


def _hardtanh(min_val: float = -1.0, max_val: float = 1.0) -> _Activation:
    low, high = min_val, max_val
    return _Activation(
        lambda x, beta: low + F.softplus(x - low, beta) - F.softplus(x - high, beta),
        lambda x, beta: torch.sigmoid(beta * (x - low)) - torch.sigmoid(beta * (x - high)),
    )


def _relu6() -> _Activation:
    return _hardtanh(0.0, 6.0)


def _hardsigmoid() -> _Activation:
    ramp = _hardtanh(-3.0, 3.0)
    return _Activation(
        lambda x, beta: (ramp.smooth(x, beta) + 3) / 6, lambda x, beta: ramp.slope(x, beta) / 6
    )


def _hardswish() -> _Activation:
    gate = _hardsigmoid()
    return _Activation(
        lambda x, beta: x * gate.smooth(x, beta),
        lambda x, beta: gate.smooth(x, beta) + x * gate.slope(x, beta),
    )


def _prelu(weight: Tensor) -> _Activation:
    def along_channels(x: Tensor) -> Tensor:
        return weight if weight.numel() == 1 else weight.view(-1, *[1] * (x.ndim - 2))

    return _Activation(
        lambda x, beta: along_channels(x) * x + (1 - along_channels(x)) * F.softplus(x, beta),
        lambda x, beta: along_channels(x) + (1 - along_channels(x)) * torch.sigmoid(beta * x),
    )


def _threshold(threshold: float, value: float) -> _Activation:
    if threshold != value:
        raise UnsupportedError(
            f"the model has a threshold({threshold}, {value}), which jumps and so has no smooth "
            "surrogate; use a method or an attack that needs no second derivatives"
        )
    return _Activation(
        lambda x, beta: value + F.softplus(x - value, beta),
        lambda x, beta: torch.sigmoid(beta * (x - value)),
    )


_ACTIVATIONS: dict[str, Callable[..., _Activation]] = {
    "relu": _relu,
    "relu6": _relu6,
    "leaky_relu": _leaky_relu,
    "hardtanh": _hardtanh,
    "hardsigmoid": _hardsigmoid,
    "hardswish": _hardswish,
    "prelu": _prelu,
    "threshold": _threshold,
}


def _callables() -> dict[Any, tuple[str, bool]]:
    """Every function that a call to an activation can arrive as, with its name and in-placeness."""
    found: dict[Any, tuple[str, bool]] = {}
    for name in _ACTIVATIONS:
        for variant, in_place in ((name, False), (f"{name}_", True)):
            packet = getattr(torch.ops.aten, variant, None)
            overload = getattr(packet, "default", None)
            for owner in (F, torch, Tensor, torch._C._nn):
                function = getattr(owner, variant, None)
                if function is not None:
                    found[function] = (name, in_place)
            for operator in (packet, overload):
                if operator is not None:
                    found[operator] = (name, in_place)
    return found


_CALLABLES = _callables()


class _ExactForward(torch.autograd.Function):
    """The activation's own value, with the derivative of its smooth version."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, value: Tensor, slope: Smooth, beta: float) -> Tensor:
        ctx.save_for_backward(x)
        ctx.slope, ctx.beta = slope, beta
        return value.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        (x,) = ctx.saved_tensors
        return gradients[0] * ctx.slope(x, ctx.beta), None, None, None


class Surrogate(TorchFunctionMode):
    """The context that ``surrogate`` returns.

    Attributes:
        replaced: how often each activation was replaced, by its name.
    """

    def __init__(self, kind: Kind, beta: float) -> None:
        super().__init__()
        self.kind = kind
        self.beta = beta
        self.replaced: Counter[str] = Counter()

    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        if function not in _CALLABLES:
            return function(*args, **kwargs)
        name, in_place = _CALLABLES[function]
        x, *parameters = args if args else (kwargs.pop("input", kwargs.pop("self", None)),)
        in_place = kwargs.pop("inplace", in_place)
        if function is getattr(F, name, None) and len(parameters) == _PLACE.get(name, 9) + 1:
            in_place = parameters.pop()
        activation = _ACTIVATIONS[name](*parameters, **kwargs)
        self.replaced[name] += 1
        if self.kind == "softplus":
            result = activation.smooth(x.clone() if in_place else x, self.beta)
        else:
            result = self._exact(activation, function, args, kwargs)
        # The caller may go on with x instead of what is returned.
        return x.copy_(result) if in_place else result
