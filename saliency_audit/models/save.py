"""Write networks to disk, each file whole or not at all."""

import io
import json
import warnings
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save as to_safetensors
from torch import nn
from torch.utils._pytree import tree_leaves

from saliency_audit.errors import UnsupportedError
from saliency_audit.models.activation import InPlace
from saliency_audit.models.classifier import Format, evaluating
from saliency_audit.models.files import one_line
from saliency_audit.models.surrogates import surrogate
from saliency_audit.writing import replace_file


def save(
    network: nn.Module,
    path: Path,
    *,
    format: Format,
    input_shape: tuple[int, int, int],
    activation: InPlace | None = None,
    dtype: torch.dtype | None = None,
) -> None:
    """Write a network as a program that runs without its Python code.

    Args:
        network: ``(n, c, h, w)`` to ``(n, classes)``, on one device; is as before afterwards. It
            is saved in eval mode; a ``.pt2`` is saved for the CPU.
        path: where to; an existing file is replaced.
        format: what the user's model came as: "torchscript" is written as TorchScript, anything
            else as a ``torch.export`` program (``.pt2``) that takes any number of images.
        input_shape: ``(c, h, w)``.
        activation: what the program is to compute in place of ReLU-like activations, as
            `Classifier` has it; None means the network's own.
        dtype: of the images that it takes; None means fp32.

    Raises:
        UnsupportedError: the network cannot be captured in that format.
        OSError: the file cannot be written.
    """
    # Two images: torch takes sizes of one for constants.
    device = next((tensor.device for tensor in network.state_dict().values()), torch.device("cpu"))
    example = torch.zeros(2, *input_shape, device=device, dtype=dtype)
    capture = _torchscript if format == "torchscript" else _exported
    activated: AbstractContextManager[Any] = nullcontext()
    if activation is not None:
        if format == "torchscript":
            raise UnsupportedError(
                "the network runs softplus in place of ReLU, which cannot be saved as TorchScript; "
                "save a .pt2 or the state dict"
            )
        # The exporter records what is called, so it records what is called instead.
        activated = surrogate(network, "softplus", beta=activation[1])
    with warnings.catch_warnings(), evaluating(network), activated:
        warnings.simplefilter("ignore")
        data = capture(network, example)
    replace_file(path, data)


def save_state_dict(
    network: nn.Module, path: Path, *, metadata: Mapping[str, str] | None = None
) -> None:
    """Write a network's weights under their names, as safetensors.

    Args:
        network: stays as it is.
        path: where to; an existing file is replaced.
        metadata: written beside the weights; ``activation_metadata(model.activation)`` is what
            ``load`` looks for.

    Raises:
        OSError: the file cannot be written.
    """
    # The format has no shared tensors; each name gets its own copy.
    tensors = {
        name: tensor.detach().cpu().contiguous().clone()
        for name, tensor in network.state_dict().items()
    }
    replace_file(path, _in_order(to_safetensors(tensors, dict(metadata or {}) or None)))


def _in_order(content: bytes) -> bytes:
    """The same file with its metadata sorted: safetensors writes it in an order drawn anew."""
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + size])
    if "__metadata__" not in header:
        return content
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + content[8 + size :]


def _exported(network: nn.Module, example: torch.Tensor) -> bytes:
    # Imported here: it brings torch's compiler along.
    from torch.export.passes import move_to_device_pass

    buffer = io.BytesIO()
    try:
        shapes: Any = ({0: torch.export.Dim("batch")},)
        if isinstance(network, torch.export.UnflattenedModule):
            shapes = (shapes,)  # a loaded program takes *args
        with torch.no_grad():
            program = torch.export.export(network, (example,), dynamic_shapes=shapes)
        # Programs name their device; a file should not depend on where it was written.
        torch.export.save(move_to_device_pass(program, "cpu"), buffer)
    # Anything can go wrong inside: it runs the user's forward under a tracer.
    except Exception as error:
        raise _uncaptured("torch.export program with any number of images", error) from error
    return buffer.getvalue()


def _torchscript(network: nn.Module, example: torch.Tensor) -> bytes:
    program: Any
    try:
        program = torch.jit.script(network)
    # Scripting knows a part of Python only; tracing records what happens instead.
    except Exception:
        program = _traced(network, example)
    buffer = io.BytesIO()
    torch.jit.save(program, buffer)
    return buffer.getvalue()


def _traced(network: nn.Module, example: torch.Tensor) -> Any:
    three = torch.linspace(0, 1, 3 * example[0].numel(), device=example.device)
    three = three.view(3, *example.shape[1:]).to(example.dtype)
    try:
        with torch.no_grad():
            program = torch.jit.trace(  # type: ignore[no-untyped-call]
                network, (example,), check_trace=False, strict=False
            )
            same = _alike(program(three), network(three))
    except Exception as error:
        raise _uncaptured("TorchScript", error) from error
    if not same:
        raise UnsupportedError(
            "the network cannot be saved as TorchScript: its trace depends on the images or on "
            "their number; give the state dict with --arch, or a .pt2"
        )
    return program


def _alike(one: Any, other: Any) -> bool:
    """Whether two outputs are the same but for round-off, whatever holds their tensors."""
    pairs = zip(tree_leaves(one), tree_leaves(other), strict=True)
    return all(
        torch.allclose(a, b, rtol=1e-4, atol=1e-5) for a, b in pairs if isinstance(a, torch.Tensor)
    )


def _uncaptured(form: str, error: Exception) -> UnsupportedError:
    return UnsupportedError(f"the network cannot be saved as a {form}: {one_line(error)}")
