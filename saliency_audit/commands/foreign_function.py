"""A user's own function as a saliency method."""

import random
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from difflib import get_close_matches
from functools import partial
from importlib import import_module
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from inspect import Parameter, signature
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from saliency_audit.catalogue.entries import SaliencyMethod
from saliency_audit.errors import InputError, UnsupportedError
from saliency_audit.importable import importable, namesake
from saliency_audit.models import Classifier
from saliency_audit.models.files import one_line
from saliency_audit.regular import refuse_irregular

Function = Callable[..., Any]
EXPECTED = ("model", "inputs", "targets")


def maps_from_callable(place: str) -> tuple[str, SaliencyMethod]:
    """A function that makes maps, as a saliency method.

    It is called as Quantus calls its ``explain_func``: ``f(model=, inputs=, targets=)``, by
    position if its parameters have other names, and with ``device=`` if it has that parameter.
    ``model`` is the user's own network, in eval mode, its weights frozen; ``inputs`` are what that
    network takes, normalised, ``(n, c, h, w)``; ``targets`` are class indices, ``(n,)``. Both are
    NumPy arrays, and if the function fails on those, tensors on the model's device. Its maps are
    used as they are: NaN stays NaN.

    The function may use the global random numbers of torch, NumPy and Python: they are seeded
    before each call, and as before after it. What it draws for an image depends on the other
    images of its call.

    Args:
        place: ``package.module:function``, looked for in the working folder too, or
            ``file.py:function``.

    Returns:
        Name of the method, and the method.

    Raises:
        InputError: there is no such function.
    """
    where, _, name = place.rpartition(":")
    if not where or not name:
        raise InputError(
            f"--explain is '{place}'; give package.module:function or file.py:function"
        )
    path = Path(where).expanduser()
    is_file = path.suffix == ".py"
    folder = path.resolve().parent if is_file else Path.cwd()

    def hint() -> str:
        return "" if is_file else namesake(where, folder)

    try:
        with importable(folder):
            module = _run(path) if is_file else import_module(where)
    except InputError:
        raise
    except Exception as error:
        what = path if is_file else f"import {where}"
        raise InputError(
            f"--explain {place}: {what} failed with {one_line(error)}{hint()}"
        ) from error
    function = getattr(module, name, None)
    if not callable(function):
        known = [n for n in dir(module) if n[0] != "_" and callable(getattr(module, n))]
        near = get_close_matches(name, known, n=3, cutoff=0.3) or known[:3]
        raise InputError(
            f"--explain {place}: {where} has no function '{name}'; nearest: "
            f"{', '.join(near) or 'none'}{hint()}"
        )
    made = partial(_maps, function=function, called=place, folder=folder)
    return f"explain:{name}", SaliencyMethod(
        made, f"the function {place}", differentiable=False, stochastic=True
    )


def file_of_callable(place: str) -> Path | None:
    """The file that a function of `maps_from_callable` comes from; None if it has none."""
    where = place.rpartition(":")[0]
    if where.endswith(".py"):
        return Path(where).expanduser()
    with importable(Path.cwd()):
        spec = find_spec(where)
    return Path(spec.origin) if spec is not None and spec.origin is not None else None


def _run(path: Path) -> ModuleType:
    refuse_irregular(path, "function's file")
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    # Under a name of its own: it must not stand for an installed package of the same name.
    spec = spec_from_file_location(f"_explain_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    # Data classes and pickles look their module up.
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def _maps(
    model: Classifier,
    images: Tensor,
    targets: Tensor,
    *,
    generators: Sequence[torch.Generator],
    function: Function,
    called: str,
    folder: Path,
    scalar: str = "logit",
    graph: bool = False,
    batch_size: int | None = None,
) -> Tensor:
    """What the function makes of the images, at most ``batch_size`` at once.

    Returns:
        ``(n, c, h, w)`` or ``(n, 1, h, w)``, of the images' type and device.

    Raises:
        UnsupportedError: it fails, or returns something else.
    """
    del scalar
    if graph:
        raise UnsupportedError(f"{called} returns arrays, which cannot be differentiated")
    size = batch_size or len(images)
    device = images.device
    autocast = (
        nullcontext() if model.precision == "fp32" else torch.autocast(device.type, torch.bfloat16)
    )
    maps = []
    with torch.enable_grad(), autocast, _counted(model), model.activated(), importable(folder):
        for start in range(0, len(images), size):
            part = images[start : start + size].detach()
            inputs = (part - model.mean.to(part.dtype)) / model.std.to(part.dtype)
            with _seeded(generators[start].initial_seed(), device):
                result = _called(
                    function, called, model.network, inputs, targets[start : start + size]
                )
            maps.append(_checked(result, part, called))
    return torch.cat(maps)


def _called(
    function: Function, called: str, network: nn.Module, inputs: Tensor, targets: Tensor
) -> Any:
    def call(*given: Any) -> Any:
        parameters = _parameters(function)
        any_name = any(p.kind is Parameter.VAR_KEYWORD for p in parameters.values())
        more: dict[str, Any] = {}
        if "device" in parameters or any_name:
            more["device"] = str(inputs.device)
        by_name = all(name in parameters for name in EXPECTED) or (
            any_name and len(parameters) == 1
        )
        if by_name:
            return function(**dict(zip(EXPECTED, given, strict=True)), **more)
        return function(*given, **more)

    try:
        try:
            return call(network, inputs.cpu().numpy(), targets.cpu().numpy())
        except (TypeError, AttributeError, AssertionError) as error:
            on_arrays = one_line(error)
        try:
            return call(network, inputs.clone(), targets.clone())
        except (TypeError, AttributeError, AssertionError) as error:
            on_tensors = one_line(error)
    except torch.OutOfMemoryError:
        raise
    except Exception as error:
        raise UnsupportedError(f"{called} failed with {one_line(error)}") from error
    also = "" if on_tensors == on_arrays else f", and on tensors with {on_tensors}"
    raise UnsupportedError(f"{called} failed on NumPy arrays with {on_arrays}{also}")


def _parameters(function: Function) -> dict[str, Parameter]:
    try:
        return dict(signature(function).parameters)
    except ValueError:  # of something written in C
        return {}


def _checked(result: Any, images: Tensor, called: str) -> Tensor:
    if isinstance(result, np.ndarray) and result.dtype.kind in "biuf":
        maps = torch.from_numpy(np.array(result, dtype=result.dtype.newbyteorder("=")))
    elif isinstance(result, Tensor) and not result.is_complex():
        maps = result.detach()
    else:
        seen = getattr(result, "dtype", type(result).__name__)
        raise UnsupportedError(
            f"{called} returns {seen}; return an array or tensor of numbers, one map an image"
        )
    if maps.ndim == 3:
        maps = maps.unsqueeze(1)
    count, channels, height, width = images.shape
    fits = [(count, k, height, width) for k in (1, channels)]
    if tuple(maps.shape) not in fits:
        raise UnsupportedError(
            f"{called} returns shape {tuple(result.shape)} for images of {tuple(images.shape)}; "
            f"return {fits[-1]}, {fits[0]} or {(count, height, width)}"
        )
    return maps.to(images)


@contextmanager
def _counted(model: Classifier) -> Iterator[None]:
    """Inside, images that enter the network past its wrapper are counted.

    TorchScript allows no such hook: there they are not.
    """
    if isinstance(model.network, torch.jit.ScriptModule):
        yield
        return

    def count(network: nn.Module, given: tuple[Any, ...]) -> None:
        if given and isinstance(given[0], Tensor):
            model.count(len(given[0]))

    hook = model.network.register_forward_pre_hook(count)
    try:
        yield
    finally:
        hook.remove()


@contextmanager
def _seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Inside, the global random numbers are those of a seed; outside, they are as before."""
    on_cuda = [device] if device.type == "cuda" else []
    python, array = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(on_cuda):
        try:
            torch.manual_seed(seed)
            random.seed(seed)
            np.random.seed(seed % 2**32)
            yield
        finally:
            random.setstate(python)
            np.random.set_state(array)
