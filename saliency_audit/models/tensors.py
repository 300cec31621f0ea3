"""State dicts: read from a file without running it, freed of wrappers, put into a network."""

import pickle
import re
import warnings
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from saliency_audit.errors import InputError
from saliency_audit.importable import importable
from saliency_audit.models.activation import InPlace, activation_said
from saliency_audit.models.files import Kind, one_line
from saliency_audit.models.vet_tensors import corrupt, vet_checkpoint

StateDict = dict[str, Tensor]

# What training code nests weights under, and what wrappers put before their names.
_ENTRIES = ("state_dict", "model_state_dict", "model", "net", "network", "weights")
_PREFIXES = ("module.", "model.", "_orig_mod.", "net.", "network.")
# An average of the weights over the steps of training.
_EMA = re.compile(r"(^|_)ema($|_)|^averaged_model$", re.IGNORECASE)


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint holds.

    Attributes:
        state: the state dict, or a whole module where one was pickled and is trusted.
        entry: of the file that it was found under, if any.
        activation: what the file says it was trained with in place of ReLU, if it does.
        ema: the entry with an EMA copy of the weights, if there is one.
    """

    state: StateDict | nn.Module
    entry: str | None = None
    activation: InPlace | None = None
    ema: str | None = None


def read_checkpoint(
    path: Path, kind: Kind, *, trust_pickle: bool = False, ema: bool = False
) -> Checkpoint:
    """Read the tensors of a checkpoint; code pickled into it is not run.

    Args:
        path: the file.
        kind: "safetensors" or "checkpoint".
        trust_pickle: unpickle anything, running what code it asks for.
        ema: read the entry with the EMA copy of the weights, if there is one.

    Raises:
        InputError: it holds other objects than plain tensors, or cannot be read.
    """
    if kind == "safetensors":
        try:
            with safe_open(path, "pt") as file:
                said = file.metadata() or {}
            state = _tensors(path, load_file(path))
        except (SafetensorError, ValueError) as error:
            raise InputError(f"'{path}' is no valid safetensors file: {error}") from error
        activation = activation_said(path, said.get("activation"), said.get("beta"))
        return Checkpoint(state, activation=activation)
    found = _unpickle(path, trust_pickle=trust_pickle)
    if isinstance(found, nn.Module):
        return Checkpoint(found)
    if not isinstance(found, Mapping):
        raise InputError(
            f"'{path}' holds a {type(found).__name__}, not a state dict (names to tensors)"
        )
    pair = found.get("activation")
    pair = pair if isinstance(pair, list | tuple) and len(pair) == 2 else (None, None)
    activation = activation_said(path, *pair)
    copies = [
        str(entry)
        for entry, inner in found.items()
        if _EMA.search(str(entry)) and _holds_tensors(inner)
    ]
    copy = next(iter(copies), None)
    for entry in copies[:1] if ema and copies else _ENTRIES:
        inner = found.get(entry)
        if isinstance(inner, nn.Module):
            return Checkpoint(inner, entry, activation, copy)
        if isinstance(inner, Mapping):
            return Checkpoint(_tensors(path, inner), entry, activation, copy)
    return Checkpoint(_tensors(path, found), activation=activation)


def _holds_tensors(found: Any) -> bool:
    return isinstance(found, nn.Module) or (
        isinstance(found, Mapping) and any(isinstance(value, Tensor) for value in found.values())
    )


def without_ema(state: StateDict) -> tuple[StateDict, StateDict]:
    """The weights, and the EMA copy that stands among them under names of its own.

    >>> plain, copy = without_ema(dict.fromkeys(("model.w", "model_ema.w"), torch.zeros(1)))
    >>> list(plain), list(copy)
    (['model.w'], ['model_ema.w'])
    """
    averaged = {
        name: tensor
        for name, tensor in state.items()
        if any(_EMA.search(part) for part in name.split(".")[:-1])
    }
    if len(averaged) == len(state):
        return state, {}
    return {name: tensor for name, tensor in state.items() if name not in averaged}, averaged


def _unpickle(path: Path, *, trust_pickle: bool) -> Any:
    if not trust_pickle:
        vet_checkpoint(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return torch.load(path, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError as error:
            refused = error
        except Exception as error:
            raise corrupt(path, error) from error
        if not trust_pickle:
            if re.search("magic number|pickle data was truncated|ran out of input", str(refused)):
                raise corrupt(path, refused) from refused
            seen = re.search(r"(?:GLOBAL|global|function|class) ([\w.]*\.\w+)", str(refused))
            what = f" ({seen[1]})" if seen else ""
            raise InputError(
                f"'{path}' holds pickled Python objects{what}; loading them can run code, so they "
                "were not read. Save the weights with torch.save(model.state_dict(), ...) and give "
                "--arch, export a .pt2, or add --trust-pickle if you trust its author"
            ) from refused
        try:
            # Classes of the user's own lie where --arch would find them.
            with importable(Path.cwd()):
                return torch.load(path, map_location="cpu", weights_only=False)
        except (ImportError, AttributeError) as error:
            raise _unknown_class(path, error) from error
        except Exception as error:
            raise corrupt(path, error) from error


def _unknown_class(path: Path, error: Exception) -> InputError:
    """That what was pickled needs code which is not here."""
    module = getattr(error, "name", None) if isinstance(error, ImportError) else None
    missing = f"import {module}" if module else one_line(error)
    where = (
        "a class of the script or notebook that saved it"
        if "__main__" in str(error)
        else "a class that cannot be imported here"
    )
    return InputError(
        f"'{path}' needs {where} ({missing} failed): run in the folder that has its module, or "
        "install that; or save torch.save(model.state_dict(), ...) where the class is, and give "
        "--arch"
    )


def _tensors(path: Path, found: Mapping[Any, Any]) -> StateDict:
    state = {str(name): value for name, value in found.items() if isinstance(value, Tensor)}
    for name, tensor in state.items():
        if tensor.layout != torch.strided or tensor.is_complex() or tensor.is_quantized:
            kind = f"{tensor.dtype} {tensor.layout}".replace("torch.", "")
            raise InputError(
                f"'{path}' holds {name} as {kind}; weights are plain dense real numbers"
            )
    if not state:
        shown = ", ".join(map(str, list(found)[:5])) or "nothing"
        raise InputError(f"'{path}' holds no state dict; its entries are: {shown}")
    return state


def without_prefix(state: StateDict, expected: Collection[str] = ()) -> StateDict:
    """Names without what wrappers (``DataParallel``, ``torch.compile``, Lightning) put before them.

    A prefix is stripped while every name has it and no name is expected as it is.
    """
    # AveragedModel counts its updates beside the module.
    state = {name: tensor for name, tensor in state.items() if name != "n_averaged"}
    # Parts may have been compiled, too.
    state = {name.replace("._orig_mod.", "."): tensor for name, tensor in state.items()}
    while not any(name in expected for name in state):
        prefix = next(
            (p for p in _PREFIXES if state and all(name.startswith(p) for name in state)), None
        )
        if prefix is None:
            break
        state = {name.removeprefix(prefix): tensor for name, tensor in state.items()}
    return state


def inside(state: StateDict, expected: Collection[str]) -> tuple[StateDict, list[str]]:
    """The part of a training checkpoint that is the network: without the rest's prefix and entries.

    Lightning keeps a network as ``model.`` beside its criterion's weights, robustness as
    ``module.model.`` and once more as ``module.attacker.model.``.

    Args:
        state: names to tensors, ``without_prefix``.
        expected: names that the network has.

    Returns:
        What stands under the one prefix where all names are found, or the state as it is; and the
        names that were left out. Others that the network itself or a module of it would own are
        kept: they show that it is another network.
    """
    needed = {n for n in expected if not auxiliary(n) and not n.endswith(".num_batches_tracked")}
    if not needed:
        return state, []
    longest = max(needed, key=len)
    prefixes = {name.removesuffix(longest) for name in state if name.endswith(longest)}
    modules = {name.partition(".")[0] for name in expected}
    for prefix in sorted(prefixes, key=len):
        part = {n.removeprefix(prefix): t for n, t in state.items() if n.startswith(prefix)}
        if (prefix and not prefix.endswith(".")) or not needed <= part.keys():
            continue
        kept = {
            n: t
            for n, t in part.items()
            if n in expected or "." not in n or n.partition(".")[0] in modules
        }
        return kept, [
            n for n in state if not n.startswith(prefix) or n.removeprefix(prefix) not in kept
        ]
    return state, []


def auxiliary(name: str) -> bool:
    """Whether a tensor belongs to a head that is used in training only (Inception, GoogLeNet)."""
    return name.lower().startswith(("aux1.", "aux2.", "auxlogits."))


def differences(state: StateDict, network: nn.Module) -> list[str]:
    """Why a state dict does not fit a network, one entry per tensor; empty where it fits."""
    expected = network.state_dict()
    missing = [f"no {n}" for n in expected if n not in state and not auxiliary(n)]
    unknown = [f"unexpected {n}" for n in state if n not in expected and not auxiliary(n)]
    shapes = [
        f"{n} is {_shape(state[n])} instead of {_shape(tensor)}"
        for n, tensor in expected.items()
        if n in state and not is_lazy(tensor) and state[n].shape != tensor.shape
        if not auxiliary(n)
    ]
    # An old checkpoint may lack the counters, which eval mode does not read.
    missing = [entry for entry in missing if not entry.endswith(".num_batches_tracked")]
    return missing + unknown + shapes


def fill(network: nn.Module, state: StateDict, *, file: str, arch: str) -> None:
    """Put a state dict into a network.

    Args:
        network: is changed.
        state: its weights by name.
        file: the file they came from, for the message.
        arch: what the network is, for the message.

    Raises:
        InputError: names or shapes differ; the message lists the first of them.
    """
    why = differences(state, network)
    if why:
        shown = ", ".join(why[:6]) + (f" and {len(why) - 6} more" if len(why) > 6 else "")
        raise InputError(f"'{file}' does not fit {arch}: {shown}")
    own = network.state_dict()
    # Lazy weights take the shape of what is put into them.
    fitting = {
        n: t for n, t in state.items() if n in own and (is_lazy(own[n]) or t.shape == own[n].shape)
    }
    network.load_state_dict(fitting, strict=False)


def _shape(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "one number"
