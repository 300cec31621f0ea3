"""``torch.export`` programs (``.pt2``): loaded without letting the file run code."""

import math
import os
import pickle
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.export import ExportedProgram, unflatten

from saliency_audit.errors import InputError, UnsupportedError
from saliency_audit.models.files import one_line
from saliency_audit.models.operators import unlisted
from saliency_audit.models.taken import counted
from saliency_audit.models.vet_exported import vet_exported
from saliency_audit.models.vet_tensors import archive

_TRAINING_ARGUMENT = {"dropout": 2, "feature_dropout": 2, "alpha_dropout": 2, "batch_norm": 5}


def load_exported(
    path: Path, *, trust_pickle: bool = False, device: torch.device | str = "cpu"
) -> tuple[nn.Module, Any, int | None, torch.dtype]:
    """Load a program as a module whose submodules have the names they were exported with.

    Args:
        path: the ``.pt2`` archive.
        trust_pickle: let the archive run code.
        device: where it will run; programs name the device they were exported on.

    Returns:
        The module; the shape it takes, ``(c, h, w)`` with None for a size that is dynamic; the
        most images it takes at a time, None if there is no limit; the type of the images.

    Raises:
        InputError: it cannot be loaded, would run code, or takes something other than images.
        UnsupportedError: it was exported with a fixed batch size or in training mode.
    """
    # Imported here: they bring torch's compiler along.
    from torch.export.passes import move_to_device_pass
    from torch.export.pt2_archive._package import load_pt2

    if not trust_pickle:
        with archive(path) as reader:
            vet_exported(path, reader)
    # From an open file: load_pt2 distrusts paths that do not end in .pt2.
    with path.open("rb") as file, _weights_only(not trust_pickle), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            programs = load_pt2(file).exported_programs
            program = move_to_device_pass(programs["model"], str(device))
            network = unflatten(program)
        except pickle.UnpicklingError as error:
            raise unlisted(path, "holds pickled Python objects") from error
        except Exception as error:
            raise _unloadable(path, error) from error
    takes = _input_of(path, program)
    _refuse_training(path, program)
    return network, *takes


def _unloadable(path: Path, error: Exception) -> InputError:
    return InputError(
        f"'{path}' cannot be loaded by torch {torch.__version__} ({one_line(error)}); "
        "export the model again with this version, on the CPU"
    )


@contextmanager
def _weights_only(force: bool) -> Iterator[None]:
    """Make every ``torch.load`` refuse pickled code: load_pt2 asks it not to."""
    name = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"
    before = os.environ.get(name)
    if force:
        os.environ[name] = "1"
    try:
        yield
    finally:
        if force:
            os.environ.pop(name)
            if before is not None:
                os.environ[name] = before


def _refuse_training(path: Path, program: ExportedProgram) -> None:
    for node in program.graph.nodes:
        if not isinstance(node.target, torch._ops.OpOverload):
            continue
        operator = node.target._schema.name.removeprefix("aten::").rstrip("_")
        position = _TRAINING_ARGUMENT.get(operator)
        training = (
            position is not None and len(node.args) > position and node.args[position] is True
        )
        if not training and operator not in ("native_dropout", "_native_batch_norm_legit"):
            continue
        # Dropout of nothing is none, and weights or single images are normalised the same way.
        if node.args[1] != 0 if "dropout" in operator else _joins_images(node, program):
            raise UnsupportedError(
                f"'{path}' was exported in training mode ({operator} is active), so its output "
                "changes from run to run or with the batch; call model.eval() before the export"
            )


def _joins_images(node: torch.fx.Node, program: ExportedProgram) -> bool:
    """Whether the statistics of a batch normalisation are of several images."""
    images = program.graph_signature.user_inputs[0]
    (given,) = (n for n in program.graph.nodes if n.op == "placeholder" and n.name == images)
    batch = _symbols(given.meta["val"].shape[0])
    normalised = node.args[0].meta["val"].shape  # type: ignore[union-attr]
    sizes = [size for place, size in enumerate(normalised) if place != 1]
    return any(batch & _symbols(size) for size in sizes)


def _symbols(size: int | torch.SymInt) -> set[Any]:
    return set() if isinstance(size, int) else set(size.node.expr.free_symbols)


def _input_of(
    path: Path, program: ExportedProgram
) -> tuple[tuple[int | None, ...], int | None, torch.dtype]:
    inputs = program.graph_signature.user_inputs
    if len(inputs) != 1:
        raise InputError(f"'{path}' takes {len(inputs)} inputs; an image classifier takes one")
    (node,) = (n for n in program.graph.nodes if n.op == "placeholder" and n.name == inputs[0])
    image = node.meta.get("val")
    shape = tuple(getattr(image, "shape", ()))
    if len(shape) != 4:
        raise InputError(
            f"'{path}' takes an input of shape {tuple(map(str, shape))}; "
            "an image classifier takes (n, channels, height, width)"
        )
    if not image.dtype.is_floating_point:
        raise InputError(
            f"'{path}' takes images of {image.dtype}".replace("torch.", "")
            + ", in which no gradient can be taken; export what comes after they are made floats"
        )
    fixed = [size if isinstance(size, int) else None for size in shape]
    if fixed[0] is not None:
        raise UnsupportedError(
            f"'{path}' takes {counted(fixed[0])} at a time, no more and no fewer; export it again "
            "with torch.export.export(model.eval(), (images,), "
            "dynamic_shapes=({0: torch.export.Dim('batch')},)), images being a batch of 2 (a view "
            "or reshape in the code that has the number must have len(images) instead)"
        )
    most = program.range_constraints[shape[0].node.expr].upper
    finite = most.is_finite and float(most) < math.inf
    return tuple(fixed[1:]), int(most) if finite else None, image.dtype
