"""``torch.export`` programs (``.pt2``): loaded without letting the file run code."""

import ast
import json
import math
import os
import pickle
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.export import ExportedProgram, unflatten

from saliency_audit.errors import InputError, UnsupportedError
from saliency_audit.models.files import one_line

# What torch.export.save writes for a program of tensors. Custom objects are pickles and AOTInductor
# packages are compiled code: neither is on the list.
_PLAIN_RECORDS = (
    "models/model.json",
    "data/weights/*",
    "data/constants/tensor_*",
    "data/constants/model_constants_config.json",
    "data/sample_inputs/model.pt",
    "archive_format",
    "archive_version",
    "byteorder",
    "version",
    ".data/*",
    "extra/*",
)
# Operators of tensors and arithmetic on sizes. torch resolves any other dotted name too, and calls
# what it finds: "torch.os.system" would do.
_PLAIN_TARGET = re.compile(
    r"(?!.*\b(?:save|from_file|load_tensor)\b)"
    r"(?:torch\.ops\.(?!__)\w+\.(?!__)\w+\.(?!__)\w+|torch\.ops\.higher_order\.(?!__)\w+"
    r"|torch\._?sym_\w+|math\.(?!__)\w+"
    r"|_operator\.(eq|ne|le|ge|lt|gt|neg|pos|mul|add|sub|floordiv|truediv|mod|pow|and_|or_"
    r"|lshift|rshift|getitem))"
)
_PLAIN_TYPES = (None, "builtins.tuple", "builtins.list", "builtins.dict", "collections.OrderedDict")
_PLAIN_CONTEXT = re.compile(r'null|\[("\w+"(, "\w+")*)?\]')
_PLAIN_CONSTANT = re.compile(r"\w+|[\d.eE+-]+")
_PLAIN_NODES = (
    ast.Expression,
    ast.Call,
    ast.keyword,
    ast.Name,
    ast.Load,
    ast.Constant,
    ast.BinOp,
    ast.UnaryOp,
    ast.BoolOp,
    ast.Compare,
    ast.operator,
    ast.unaryop,
    ast.boolop,
    ast.cmpop,
)
# Of sympy; torch adds its own.
_SIZE_FUNCTIONS = {
    "Abs", "Add", "And", "Eq", "Equality", "Float", "Ge", "GreaterThan", "Gt", "Integer", "Le",
    "LessThan", "Lt", "Max", "Min", "Mod", "Mul", "Ne", "Not", "Or", "Piecewise", "Pow", "Rational",
    "StrictGreaterThan", "StrictLessThan", "Symbol", "Unequality", "ceiling", "floor", "sqrt",
}  # fmt: skip
_TRAINING_ARGUMENT = {"dropout": 2, "feature_dropout": 2, "alpha_dropout": 2, "batch_norm": 5}


def load_exported(
    path: Path, *, trust_pickle: bool = False, device: torch.device | str = "cpu"
) -> tuple[nn.Module, Any, int | None]:
    """Load a program as a module whose submodules have the names they were exported with.

    Args:
        path: the ``.pt2`` archive.
        trust_pickle: let the archive run code.
        device: where it will run; programs name the device they were exported on.

    Returns:
        The module; the shape it takes, ``(c, h, w)`` with None for a size that is dynamic; the
        most images it takes at a time, None if there is no limit.

    Raises:
        InputError: it cannot be loaded, would run code, or takes something other than images.
        UnsupportedError: it was exported with a fixed batch size or in training mode.
    """
    # Imported here: they bring torch's compiler along.
    from torch.export.passes import move_to_device_pass
    from torch.export.pt2_archive._package import load_pt2

    if not trust_pickle:
        _refuse_code(path)
    # From an open file: load_pt2 distrusts paths that do not end in .pt2.
    with path.open("rb") as file, _weights_only(not trust_pickle), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            programs = load_pt2(file).exported_programs
            program = move_to_device_pass(programs["model"], str(device))
            network = unflatten(program)
        except pickle.UnpicklingError as error:
            raise _unsafe(path, "holds pickled Python objects") from error
        except Exception as error:
            raise _unloadable(path, error) from error
    _refuse_training(path, program)
    shape, most = _input_of(path, program)
    return network, shape, most


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


def _refuse_code(path: Path) -> None:
    """Refuse what would run code when it is loaded or called, by reading it as data.

    The archive is read with the reader that loads it, so both see the same records.
    """
    try:
        reader = torch._C.PyTorchFileReader(str(path))
        records = reader.get_all_records()
        program = json.loads(reader.get_record("models/model.json"))
    except (RuntimeError, ValueError) as error:
        raise _unloadable(path, error) from error
    for record in records:
        if not any(fnmatchcase(record, pattern) for pattern in _PLAIN_RECORDS):
            raise _unsafe(path, f"holds '{record}'")
    for key, value in _entries(program):
        if key == "target" and not _PLAIN_TARGET.fullmatch(str(value)):
            raise _unsafe(path, f"calls '{str(value)[:60]}'")
        if key == "expr_str" and not _is_plain_expression(str(value)):
            raise _unsafe(path, f"has the size '{str(value)[:60]}'")
        if key in ("in_spec", "out_spec") and value and not _is_plain_tree(str(value)):
            raise _unsafe(path, "takes or returns objects other than tuples, lists and dicts")


def _unsafe(path: Path, why: str) -> InputError:
    return InputError(
        f"'{path}' {why}, which can run code, so it was not loaded; "
        "if you trust its author, add --trust-pickle"
    )


def _entries(value: Any) -> Iterator[tuple[str, Any]]:
    """Every key that has a plain value, anywhere in nested JSON."""
    if isinstance(value, list):
        for item in value:
            yield from _entries(item)
    elif isinstance(value, dict):
        for key, item in value.items():
            if isinstance(item, dict | list):
                yield from _entries(item)
            else:
                yield key, item


def _is_plain_expression(text: str) -> bool:
    """Whether a symbolic size is arithmetic only: sympy hands it to ``eval``."""
    from torch.utils._sympy import functions

    try:
        tree = ast.parse(text, mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    for node in ast.walk(tree):
        if not isinstance(node, _PLAIN_NODES):
            return False
        if isinstance(node, ast.Constant) and not _PLAIN_CONSTANT.fullmatch(str(node.value)):
            return False
        if isinstance(node, ast.Call):
            called = getattr(node.func, "id", "")
            if called not in _SIZE_FUNCTIONS and called not in functions.__all__:
                return False
    return True


def _is_plain_tree(text: str) -> bool:
    """Whether the description of a container names no class to be imported."""

    def is_plain(tree: Any) -> bool:
        context = tree["context"]
        return (
            tree["type"] in _PLAIN_TYPES
            and (context is None or bool(_PLAIN_CONTEXT.fullmatch(str(context))))
            and all(is_plain(child) for child in tree["children_spec"])
        )

    try:
        return is_plain(json.loads(text)[1])
    except (ValueError, TypeError, KeyError, IndexError, RecursionError):
        return False


def _refuse_training(path: Path, program: ExportedProgram) -> None:
    for node in program.graph.nodes:
        if not isinstance(node.target, torch._ops.OpOverload):
            continue
        operator = node.target._schema.name.removeprefix("aten::").rstrip("_")
        position = _TRAINING_ARGUMENT.get(operator)
        training = (
            position is not None and len(node.args) > position and node.args[position] is True
        )
        if training or operator in ("native_dropout", "_native_batch_norm_legit"):
            raise UnsupportedError(
                f"'{path}' was exported in training mode ({operator} is active), so its output "
                "changes from run to run or with the batch; call model.eval() before the export"
            )


def _input_of(path: Path, program: ExportedProgram) -> tuple[tuple[int | None, ...], int | None]:
    inputs = program.graph_signature.user_inputs
    if len(inputs) != 1:
        raise InputError(f"'{path}' takes {len(inputs)} inputs; an image classifier takes one")
    (node,) = (n for n in program.graph.nodes if n.op == "placeholder" and n.name == inputs[0])
    shape = tuple(getattr(node.meta.get("val"), "shape", ()))
    if len(shape) != 4:
        raise InputError(
            f"'{path}' takes an input of shape {tuple(map(str, shape))}; "
            "an image classifier takes (n, channels, height, width)"
        )
    fixed = [size if isinstance(size, int) else None for size in shape]
    if fixed[0] is not None:
        raise UnsupportedError(
            f"'{path}' takes {fixed[0]} images at a time, no more and no fewer; export it again "
            "with torch.export.export(model.eval(), (images,), "
            "dynamic_shapes=({0: torch.export.Dim('batch')},)), images being a batch of 2"
        )
    most = program.range_constraints[shape[0].node.expr].upper
    finite = most.is_finite and float(most) < math.inf
    return tuple(fixed[1:]), int(most) if finite else None
