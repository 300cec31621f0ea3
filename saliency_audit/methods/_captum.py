"""What Captum's methods need: a private copy of the network, and no silently wrong answers.

Captum hooks the modules it knows and sees nothing else: an activation called as a function is
passed over without a word, one module that runs twice keeps only its last run, and some state stays
behind after errors. So its methods work on a copy, and only where the copy is of known parts.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any, NoReturn
from warnings import catch_warnings, simplefilter

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from saliency_audit.errors import UnsupportedError
from saliency_audit.models import Classifier

RECTIFIERS = frozenset(
    name + suffix
    for suffix in ("", "_")
    for name in (
        *("relu", "relu6", "leaky_relu", "elu", "selu", "celu", "gelu", "silu", "mish"),
        *("hardtanh", "hardswish", "hardsigmoid", "softplus", "prelu", "rrelu", "threshold"),
        *("clamp", "clamp_min", "clamp_max", "clip", "maximum"),
    )
)
"""Functions that bend or select activations; called outside a module, Captum does not see them."""


def refuse_graph(method: str, graph: bool) -> None:
    """Refuse ``graph=True``: what is computed has no derivative.

    Raises:
        UnsupportedError: ``graph`` is set.
    """
    if graph:
        raise UnsupportedError(
            f"{method} cannot be differentiated; "
            "`saliency-audit list saliency` shows the methods that can"
        )


def refuse_softplus(method: str, model: Classifier) -> None:
    """Refuse a network that was trained with softplus in place of what its layers say.

    Raises:
        UnsupportedError: it was.
    """
    if model.activation is not None:
        raise UnsupportedError(
            f"{method} has a rule for ReLU, and {model.name} runs softplus instead; "
            "use gradient, smoothgrad or integrated-gradients"
        )


def refuse(method: str, model: Classifier, reason: str) -> NoReturn:
    """Say in one line why a method would give a wrong map of this network."""
    raise UnsupportedError(f"{method} would be wrong for {model.name}: {reason}")


@dataclass
class Trace:
    """What one forward pass of a network ran.

    Attributes:
        layers: torch's own layers that ran, in order, once for each run.
        functions: names of the torch functions called outside them.
    """

    layers: list[nn.Module] = field(default_factory=list)
    functions: set[str] = field(default_factory=set)


def private_copy(model: Classifier, images: Tensor, method: str) -> tuple[Classifier, Trace]:
    """A copy in which no activation works in place and no layer runs twice, and what it ran.

    It is in fp32 where the network is in half precision. A layer that runs k times becomes k
    layers that run once each.

    Args:
        model: the classifier; stays as it is.
        images: ``(n, c, h, w)``, n >= 1; the first is run.
        method: for messages.

    Raises:
        UnsupportedError: the format has no eager modules, the network runs softplus in place of
            what its modules say, or it cannot be copied so that its logits stay the same.
    """
    refuse_softplus(method, model)
    if model.format != "module":
        raise UnsupportedError(
            f"{method} hooks eager modules, which {model.format} programs do not have: "
            "give the state dict with --arch"
        )
    try:
        network = deepcopy(model.network)
    except (RuntimeError, TypeError) as error:
        raise UnsupportedError(f"{method} works on a copy of {model.name}: {error}") from error
    half = model.dtype in (torch.float16, torch.bfloat16)
    # Captum's rules divide by sums that half precision rounds to 0.
    copy = (
        model.replaced(network.float(), precision="fp32", dtype=torch.float32)
        if half
        else model.replaced(network, precision="fp32")
    )
    for module in copy.modules():
        if getattr(module, "inplace", False) is True:
            module.inplace = False  # type: ignore[assignment]
    first = images[:1].detach()
    runs = Counter(_trace(copy, first).layers)
    for parent in list(copy.modules()):
        for name, child in list(parent.named_children()):
            if runs[child] > 1:
                setattr(parent, name, _InTurn(child, runs[child]))
    trace = _trace(copy, first)
    with torch.no_grad():
        logits = model.replaced(model.network, precision="fp32")(first)
        loose = 5e-2 * float(logits.abs().max()) if half else 1e-8
        same = torch.allclose(copy(first), logits, atol=loose)
    if not same or max(Counter(trace.layers).values(), default=0) > 1:
        refuse(method, model, "one of its layers runs several times, not always as often")

    def count(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        model.count(len(inputs[0]))

    network.register_forward_pre_hook(count)
    return copy, trace


class _InTurn(nn.Module):
    """Stands for a layer that runs ``count`` times in a forward: each time, the next copy runs."""

    def __init__(self, layer: nn.Module, count: int) -> None:
        super().__init__()
        self.copies = nn.ModuleList(deepcopy(layer) for _ in range(count))
        self.runs = 0

    def forward(self, *args: Any) -> Any:
        self.runs += 1
        return self.copies[(self.runs - 1) % len(self.copies)](*args)


class _Functions(TorchFunctionMode):
    """Notes the torch functions called while no layer of torch runs."""

    def __init__(self, trace: Trace) -> None:
        super().__init__()
        self.trace = trace
        self.in_network = False
        self.depth = 0

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        if self.in_network and self.depth == 0:
            self.trace.functions.add(getattr(func, "__name__", str(func)))
        return func(*args, **(kwargs or {}))


def _is_layer(module: nn.Module) -> bool:
    return type(module).__module__.startswith("torch.nn.") and not list(module.children())


def _trace(model: Classifier, images: Tensor) -> Trace:
    trace = Trace()
    mode = _Functions(trace)

    def enter(module: nn.Module, _: Any) -> None:
        mode.depth += _is_layer(module)
        mode.in_network |= module is model.network
        if _is_layer(module):
            trace.layers.append(module)

    def leave(module: nn.Module, *_: Any) -> None:
        mode.depth -= _is_layer(module)
        mode.in_network &= module is not model.network

    handles = [module.register_forward_pre_hook(enter) for module in model.network.modules()]
    handles += [module.register_forward_hook(leave) for module in model.network.modules()]
    try:
        with mode, torch.no_grad():
            model(images)
    finally:
        for handle in handles:
            handle.remove()
    return trace


@contextmanager
def captum_quiet() -> Iterator[None]:
    """Inside, gradients are on and Captum's warnings about its own hooks are off."""
    with catch_warnings(), torch.enable_grad():
        simplefilter("ignore")
        yield
