"""Smooth stand-ins for ReLU-like activations, for whatever needs second derivatives.

The second derivative of a ReLU is zero almost everywhere, so the gradient of a map through a ReLU
network misses most of what moves the map. Inside ``surrogate`` the activations are replaced as
they are called, in eager modules and in ``torch.export`` programs alike; the module itself is
never touched.
"""

from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from saliency_audit.errors import InputError, UnsupportedError, lookup
from saliency_audit.models.smooth import (
    ACTIVATIONS,
    CALLABLES,
    WRITTEN_OUT,
    Activation,
    Smooth,
    mark,
    rectified,
)

Kind = Literal["softplus", "exact-forward"]

ENTERED: list[AbstractContextManager[Any]] = []
"""Contexts that `surrogate` gave and that are entered now; what is made again is made inside."""


class _ExactForward(torch.autograd.Function):
    """The activation's own value, with the derivative of its smooth version."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, exact: Callable[[Tensor], Tensor], slope: Smooth, beta: float
    ) -> Tensor:
        ctx.save_for_backward(x)
        ctx.slope, ctx.beta = slope, beta
        return exact(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        (x,) = ctx.saved_tensors
        return gradients[0] * ctx.slope(x, ctx.beta), None, None, None


class Activations(TorchFunctionMode):
    """A context in which calls of ReLU-like activations are replaced, however they are written.

    Attributes:
        replaced: calls of each activation that were replaced so far, by its name.
    """

    def __init__(self) -> None:
        super().__init__()
        self.replaced: Counter[str] = Counter()

    def replacement(
        self, name: str, activation: Activation, exact: Callable[[Tensor], Tensor], x: Tensor
    ) -> Tensor:
        """What is computed in place of ``exact(x)``."""
        raise NotImplementedError

    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Replace the call if it is an activation's; called by torch for every function."""
        if function in WRITTEN_OUT:
            return self._written_out(function, args, kwargs or {})
        if function not in CALLABLES or "out" in (kwargs or {}):
            return function(*args, **(kwargs or {}))
        name, in_place = CALLABLES[function]
        make, count = ACTIVATIONS[name]
        named = dict(kwargs or {})
        x, *others = args or (named.pop("input"),)
        in_place = others[count] if len(others) > count else named.pop("inplace", in_place)
        activation = make(*others[:count], **named)
        if activation is None or not x.is_floating_point():
            return function(*args, **(kwargs or {}))
        self.replaced[name] += 1
        out_of_place = getattr(F, name, None) or getattr(torch, name)
        result = self.replacement(
            name,
            activation,
            lambda value: out_of_place(value, *others[:count], **named),
            x.clone() if in_place else x,
        )
        # The caller may go on with x instead of with what is returned.
        return x.copy_(result) if in_place else result

    def _written_out(self, function: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        """Replace a ReLU that is written as a product, a choice or a maximum."""
        x = None if kwargs else rectified(function, args)
        if x is not None:
            self.replaced["relu"] += 1
            activation = ACTIVATIONS["relu"][0]()
            assert activation is not None
            return self.replacement("relu", activation, torch.relu, x)
        result = function(*args, **kwargs)
        mark(function, args, result)
        return result


class Surrogate(Activations):
    """The context that ``surrogate`` gives."""

    def __init__(self, kind: Kind, beta: float) -> None:
        super().__init__()
        self.kind = kind
        self.beta = beta

    def __enter__(self) -> "Surrogate":
        """Replace from now on."""
        super().__enter__()  # type: ignore[no-untyped-call]
        ENTERED.append(self)
        return self

    def __exit__(self, *error: Any) -> None:
        """Replace no more."""
        ENTERED.remove(self)
        super().__exit__(*error)  # type: ignore[no-untyped-call]

    def replacement(
        self, name: str, activation: Activation, exact: Callable[[Tensor], Tensor], x: Tensor
    ) -> Tensor:
        """The smooth version, or the exact value with its derivative."""
        if self.kind == "softplus":
            return activation.smooth(x, self.beta)
        if activation.learned:
            # Adding exactly zero, whose gradient reaches the activation's own weights too.
            smooth = activation.smooth(x, self.beta)
            return exact(x).detach() + (smooth - smooth.detach())
        result: Tensor = _ExactForward.apply(x, exact, activation.slope, self.beta)
        return result


class TwiceDifferentiable(TorchFunctionMode):
    r"""Inside, hardsigmoid is written out: torch knows no second derivative of it.

    :math:`\min(\max(x + 3, 0), 6) / 6` is what it is, and what it is made of has one: 0 wherever
    there is one. To be entered for the forward pass, as `surrogate` is.
    """

    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Write out the call if it is one; called by torch for every function."""
        name, in_place = CALLABLES.get(function, ("", False))
        named = dict(kwargs or {})
        if name != "hardsigmoid" or "out" in named:
            return function(*args, **named)
        x, *others = args or (named.pop("input"),)
        in_place = others[0] if others else named.get("inplace", in_place)
        result = F.relu6(x + 3) / 6
        return x.copy_(result) if in_place else result


def surrogate(model: nn.Module, kind: Kind, *, beta: float) -> Surrogate:
    """A context in which ReLU-like activations are smooth.

    Enter it for the forward pass; gradients of what was computed inside may be taken outside.
    ELU, CELU, SELU, GELU and SiLU have second derivatives and stay. ``clamp`` counts as an
    activation where its lower bound is 0; ``maximum(x, 0)``, ``x * (x > 0)`` and
    ``where(x > 0, x, 0)`` are ReLU. The derivative of a custom function is its own.

    Args:
        model: what will be run inside; is not changed.
        kind: "softplus" replaces the activation in both directions, as the papers do; outputs
            move by up to ln 2 / beta a unit. "exact-forward" keeps every output as it is, bit for
            bit, and takes the softplus version's derivatives.
        beta: sharpness; in inverse units of the activations.

    Returns:
        The context; ``replaced`` counts what was replaced.

    Raises:
        InputError: unknown kind, or beta is not positive.
        UnsupportedError: the model holds TorchScript, which does not let calls be replaced.

    >>> x = torch.tensor([0.0], requires_grad=True)
    >>> with surrogate(nn.ReLU(), "softplus", beta=10.0) as context:
    ...     y = nn.functional.relu(x)
    >>> round(y.item() * 10, 4), context.replaced["relu"]  # ln 2
    (0.6931, 1)
    """
    lookup("surrogate", {known: known for known in get_args(Kind)}, kind)
    if not beta > 0:
        raise InputError(f"beta is {beta}; it must be above 0")
    if any(isinstance(module, torch.jit.ScriptModule) for module in model.modules()):
        raise UnsupportedError(
            "activations inside TorchScript cannot be made smooth: give the state dict with "
            "--arch, or a .pt2 program"
        )
    return Surrogate(kind, beta)
