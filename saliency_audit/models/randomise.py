"""Weights drawn at random, for a while: layer by layer, restored bit for bit."""

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from saliency_audit.errors import InputError, UnsupportedError
from saliency_audit.models.classifier import Classifier
from saliency_audit.seeding import generators

Randomisation = Literal["reinit", "shuffle"]


@dataclass(frozen=True)
class WeightLayer:
    """A module that owns weights.

    Attributes:
        name: as in ``named_modules()``; what the network itself owns goes by its first weight.
        module: the owner.
        weights: its parameters by their name in the module; one that several modules share belongs
            to the first of them.
        used: whether the logits were computed with them.
    """

    name: str
    module: nn.Module
    weights: Mapping[str, Tensor]
    used: bool = True


class _Uses(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """When each of some tensors is read first, by its address."""

    def __init__(self, addresses: Collection[int]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.addresses = addresses
        self.first: dict[int, int] = {}

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        waiting = [*args, *(kwargs or {}).values()]
        while waiting:
            value = waiting.pop(0)
            if isinstance(value, Tensor):
                address = value.data_ptr()
                if address in self.addresses:
                    self.first.setdefault(address, len(self.first))
            elif isinstance(value, list | tuple):
                waiting[:0] = value
        return function(*args, **(kwargs or {}))


def weight_layers(model: Classifier, images: Tensor) -> list[WeightLayer]:
    """The layers that own weights, from the input to the output.

    Every weight of the network belongs to exactly one layer: also those that no leaf module owns,
    such as the class token of a transformer. The order is that in which one forward pass reads
    them first; it is watched below the modules, so it is seen in programs and in TorchScript too.

    Args:
        model: the classifier, of any format.
        images: ``(n, c, h, w)``, n >= 1; the first is run.

    Returns:
        The layers. Those that are not used (heads for training only) come first: a cascade from
        the output reaches them last.

    Raises:
        UnsupportedError: the network owns no weights.
    """
    owned: list[tuple[str, nn.Module, dict[str, Tensor]]] = []
    addresses: set[int] = set()
    for name, module in model.network.named_modules():
        weights = {
            key: weight
            for key, weight in module.named_parameters(recurse=False)
            if weight.numel() and weight.data_ptr() not in addresses
        }
        addresses.update(weight.data_ptr() for weight in weights.values())
        if weights:
            owned.append((name or next(iter(weights)), module, weights))
    if not owned:
        raise UnsupportedError(
            f"{model.name} has no weights that could be drawn at random (they are constants): "
            "give the state dict with --arch"
        )
    with _Uses(addresses) as uses, torch.no_grad():
        model(images[:1])

    def first(weights: Mapping[str, Tensor]) -> int:
        found = [uses.first.get(weight.data_ptr(), -1) for weight in weights.values()]
        return min((at for at in found if at >= 0), default=-1)

    # Where nothing is seen (compiled code), the order of definition is the best guess.
    layers = [
        WeightLayer(name, module, weights, used=first(weights) >= 0 or not uses.first)
        for name, module, weights in owned
    ]
    return sorted(layers, key=lambda layer: first(layer.weights))


def resolve_randomisation(
    model: Classifier, layers: Collection[WeightLayer], how: str
) -> Randomisation:
    """What ``--randomise`` means for a model.

    Args:
        model: the classifier.
        layers: of it, by `weight_layers`.
        how: "reinit", "shuffle" or "auto".

    Returns:
        "reinit" if asked for, or with "auto" where every layer can draw its own initialisation;
        else "shuffle".

    Raises:
        InputError: unknown ``how``.
        UnsupportedError: "reinit" was asked for and a layer has no initialisation of its own.
    """
    if how not in ("auto", "reinit", "shuffle"):
        raise InputError(f"--randomise is '{how}'; give auto, reinit or shuffle")
    if how == "shuffle":
        return "shuffle"
    try:
        if model.format != "module":
            raise UnsupportedError(
                f"{model.name} is a saved program, whose layers do not know how they were "
                "initialised"
            )
        for layer in layers:
            _initialised(layer, seed=0)
    except UnsupportedError as error:
        if how == "reinit":
            raise UnsupportedError(f"{error}; --randomise shuffle works") from error
        return "shuffle"
    return "reinit"


@contextmanager
def randomised(
    *, how: Randomisation, seed: int, draw: int = 0
) -> Iterator[Callable[[WeightLayer], None]]:
    """Inside: layers can be given random weights, in place. Outside: every bit is as it was.

    ``reinit`` draws a layer's own initialisation (``reset_parameters``) and resets the running
    statistics of a normalisation. ``shuffle`` puts the entries of each weight in random order,
    which keeps their distribution, and leaves running statistics alone; a weight whose entries are
    all equal stays as it is.

    Args:
        how: as said.
        seed: of the run.
        draw: number of the draw; a layer has other weights in each.

    Yields:
        ``randomise(layer)``, which gives one more layer random weights. They depend on the seed,
        the draw and the names alone, not on when it is called; the global random state is not
        touched.

    Raises:
        UnsupportedError: ``randomise`` was given a layer without an initialisation of its own.
    """
    saved: dict[Tensor, Tensor] = {}

    def replace(tensor: Tensor, value: Tensor) -> None:
        if tensor not in saved:
            saved[tensor] = tensor.detach().clone()
        tensor.copy_(value)

    def generator(of: str, device: torch.device | str = "cpu") -> torch.Generator:
        return generators(seed, [of], f"randomise|{draw}", device)[0]

    @torch.no_grad()
    def randomise(layer: WeightLayer) -> None:
        if how == "reinit":
            fresh = _initialised(layer, seed=generator(layer.name).initial_seed())
            for key, weight in layer.weights.items():
                replace(weight, fresh.get_parameter(key))
            for key, buffer in layer.module.named_buffers(recurse=False):
                replace(buffer, fresh.get_buffer(key))
            return
        for key, weight in layer.weights.items():
            order = torch.randperm(
                weight.numel(),
                generator=generator(f"{layer.name}|{key}", weight.device),
                device=weight.device,
            )
            replace(weight, weight.flatten()[order].view(weight.shape))

    try:
        yield randomise
    finally:
        with torch.no_grad():
            for tensor, value in saved.items():
                tensor.copy_(value)


def _initialised(layer: WeightLayer, *, seed: int) -> nn.Module:
    """A copy of the layer's module on the CPU, freshly initialised.

    Raises:
        UnsupportedError: it has no initialisation, or one that leaves some of its weights alone.
    """
    kind = type(layer.module).__name__
    reset = next(
        (n for n in ("reset_parameters", "_reset_parameters") if hasattr(layer.module, n)), None
    )
    if reset is None:
        raise _uninitialised(layer, f"{kind} has no reset_parameters()")
    try:
        # Draws fill weights in the order of memory, and are to be those of any other layout.
        fresh = deepcopy(layer.module).cpu().to(memory_format=torch.contiguous_format)
        with torch.no_grad():
            for key in layer.weights:
                fresh.get_parameter(key).fill_(torch.nan)
            with torch.random.fork_rng(devices=[]):
                # Not torch.manual_seed, which seeds the GPUs as well.
                torch.default_generator.manual_seed(seed)
                getattr(fresh, reset)()
    except (RuntimeError, TypeError, AttributeError, ValueError) as error:
        reason = " ".join(str(error).split())[:100]
        raise _uninitialised(layer, f"{kind}.{reset}() failed with {reason}") from error
    left = [key for key in layer.weights if fresh.get_parameter(key).isnan().any()]
    if left:
        raise _uninitialised(layer, f"{kind}.{reset}() leaves {left[0]} alone")
    return fresh


def _uninitialised(layer: WeightLayer, why: str) -> UnsupportedError:
    return UnsupportedError(
        f"layer '{layer.name}' has weights but no initialisation of its own ({why})"
    )
