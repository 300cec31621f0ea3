"""What a ``.pt2`` may hold: everything in it that could become a call, looked at as data.

Deny by default. Every key and every string of the program has a rule by the place where it stands;
a place that has none takes words joined by dots. torch resolves what it reads to objects and prints
the program as Python source, so a name that is more than a name could run.
"""

import ast
import json
import re
from collections.abc import Callable
from fnmatch import fnmatchcase
from keyword import iskeyword
from pathlib import Path
from typing import Any

from saliency_audit.errors import InputError
from saliency_audit.models.files import one_line
from saliency_audit.models.operators import SIZE_ARITHMETIC, only_computes, unlisted
from saliency_audit.models.vet_tensors import (
    Declared,
    archive,
    refuse_records,
    refuse_sizes,
    vet_pickle,
)

PROGRAM = "models/model.json"
_EXAMPLE = "data/sample_inputs/model.pt"
_PAYLOADS = ("data/weights/model_weights_config.json", "data/constants/model_constants_config.json")

# What torch.export.save writes for a program of tensors. Custom objects are pickles and AOTInductor
# packages are compiled code: neither is on the list.
_RECORDS = (
    PROGRAM,
    *_PAYLOADS,
    "data/weights/weight_*",
    "data/constants/tensor_*",
    _EXAMPLE,
    "archive_format",
    "archive_version",
    "byteorder",
    "version",
    ".data/*",
    "extra/*",
)
_OPERATOR = re.compile(r"torch\.ops\.(\w+)\.(\w+)(?:\.\w+)?", re.ASCII)
_WORDS = re.compile(r"(?:\w+(?:\.\w+)*)?", re.ASCII)
# Modules may be called what Python would not take for a name; it is quoted where it is printed.
_ATOM = r"[\w@:+=/#' -]+"
_MODULE = re.compile(rf"(?:{_ATOM}(?:\.{_ATOM})*)?")
_FRAME = r"[\w@:+=/#' .\[\]-]*,[\w@:+=/#' .-]*,[\w.@<>-]*"
_STACK = re.compile(rf"(?:{_FRAME}(?:;{_FRAME})*)?")
_DEVICE = re.compile(r"cpu|cuda|mps|meta")
_CONTAINERS = (None, "builtins.tuple", "builtins.list", "builtins.dict", "collections.OrderedDict")
_KEYS_OF_CONTAINER = re.compile(r'null|\[("\w+"(, "\w+")*)?\]')

LONGEST_EXPRESSION = 2_000
"""Characters of a size."""
LARGEST_NUMBER = 1024
"""Bits of the largest number that the arithmetic of a size can make."""

_SIZE_NODES = (
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
    ast.Add,
    ast.Sub,
    ast.Mult,
    ast.Div,
    ast.FloorDiv,
    ast.Mod,
    ast.Pow,
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
_SIZE_CONSTANT = re.compile(r"\w{0,30}|-?[\d.]{1,30}(?:e[+-]?\d{1,3})?", re.ASCII)


def vet_exported(path: Path, reader: Any) -> None:
    """Refuse a program that could do anything but compute, before it is loaded.

    Args:
        path: the file, for the message.
        reader: the ``torch._C.PyTorchFileReader`` that will load it, so both see the same records.

    Raises:
        InputError: it holds or names what is not on the lists, or declares sizes that it does not
            have.
    """
    refuse_records(path, reader)
    for record in reader.get_all_records():
        if not any(fnmatchcase(record, pattern) for pattern in _RECORDS):
            raise unlisted(path, f"holds '{record[:80]}'")
    for record in (PROGRAM, *_PAYLOADS):
        try:
            # As torch decodes it: json alone would guess at other encodings.
            content = json.loads(reader.get_record(record).decode())
            _vet(path, content, "")
        except RecursionError as error:
            raise unlisted(path, f"is nested without end in {record}") from error
        if record in _PAYLOADS:
            refuse_sizes(path, _declared(path, content, record.rpartition("/")[0], reader))
    with archive(path, reader.get_record(_EXAMPLE)) as example:
        vet_pickle(path, example, "data.pkl")


def _vet(path: Path, value: Any, place: str) -> None:
    """Apply the rules to JSON; ``place`` is the key it stands under."""
    if isinstance(value, list):
        for item in value:
            _vet(path, item, place)
    elif isinstance(value, dict):
        for key, item in value.items():
            # Of the payloads, tensors by the names that modules and their weights have.
            rule = _MODULE if place == "config" else _WORDS
            if not rule.fullmatch(key):
                raise unlisted(path, f"has an entry '{key[:60]}'")
            if place in _NAMED and not _is_name(key):
                raise unlisted(path, f"calls a value '{key[:60]}'")
            _vet(path, item, key)
    elif isinstance(value, str):
        says, allowed = _RULES.get(place, ("names", _is_words))
        if not allowed(value):
            raise unlisted(path, f"{says} '{value[:60]}'")
    elif isinstance(value, int) and value.bit_length() > 64:
        raise unlisted(path, f"has a number of {value.bit_length()} bits in {place}")


def _is_words(text: str) -> bool:
    return bool(_WORDS.fullmatch(text))


def _is_name(text: str) -> bool:
    """Whether it may stand as a variable of Python source."""
    return text.isascii() and text.isidentifier() and not iskeyword(text)


def _is_operator(text: str) -> bool:
    found = _OPERATOR.fullmatch(text)
    return text in SIZE_ARITHMETIC or (found is not None and only_computes(found[1], found[2]))


def _is_any_text(text: str) -> bool:
    return True


def _is_never(text: str) -> bool:
    return False


def _is_number(text: str) -> bool:
    return text in ("Infinity", "-Infinity", "NaN")


def _is_module(text: str) -> bool:
    return bool(_MODULE.fullmatch(text))


def _is_stack(text: str) -> bool:
    return bool(_STACK.fullmatch(text))


def _is_device(text: str) -> bool:
    return bool(_DEVICE.fullmatch(text))


def _is_file(text: str) -> bool:
    return bool(re.fullmatch(r"(?:weight|tensor)_\d+", text, re.ASCII))


def _is_size(text: str) -> bool:
    """Whether a symbolic size is arithmetic only, of bounded length and numbers.

    sympy hands it to ``eval``.
    """
    from torch.utils._sympy import functions

    if len(text) > LONGEST_EXPRESSION:
        return False
    try:
        tree = ast.parse(text, mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    for node in ast.walk(tree):
        if not isinstance(node, _SIZE_NODES):
            return False
        if isinstance(node, ast.Constant) and not _SIZE_CONSTANT.fullmatch(str(node.value)):
            return False
        if isinstance(node, ast.Call):
            called = getattr(node.func, "id", "")
            if called not in _SIZE_FUNCTIONS and called not in functions.__all__:
                return False
            # How many digits a number is computed to, beside assumptions on symbols.
            digits = [keyword.value for keyword in node.keywords]
            digits += node.args[1:] if called == "Float" else []
            if not all(-1 <= _number(value) <= LARGEST_NUMBER for value in digits):
                return False
    try:
        return _bits(tree.body) <= LARGEST_NUMBER
    except (RecursionError, OverflowError, ValueError):
        return False


def _bits(node: ast.expr) -> int:
    """An upper bound on the bits of what an expression comes to; a symbol has 64."""
    if isinstance(node, ast.Constant):
        value = node.value
        # Text is a symbol's name, or a number in quotes.
        return int(abs(value)).bit_length() if isinstance(value, int | float) else 64
    if isinstance(node, ast.BinOp):
        name, operands = type(node.op).__name__, [node.left, node.right]
    elif isinstance(node, ast.Call):
        name, operands = getattr(node.func, "id", ""), [*node.args]
    else:
        name, operands = "", [n for n in ast.iter_child_nodes(node) if isinstance(n, ast.expr)]
    sizes = [_bits(operand) for operand in operands]
    if name in ("Pow", "PowByNatural", "FloatPow", "LShift") and len(operands) == 2:
        exponent = _number(operands[1])
        # An exponent that is not a small number could make any size.
        return sizes[0] * exponent if 0 <= exponent <= 8 else LARGEST_NUMBER + 1
    if name in ("Mult", "Mul"):
        return sum(sizes)
    return max(sizes, default=64) + len(sizes)


def _number(node: ast.expr) -> int:
    """A whole number, as itself or in ``Integer(...)``; -1 for anything else."""
    if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Integer" and node.args:
        return _number(node.args[0])
    value = node.value if isinstance(node, ast.Constant) else None
    return value if type(value) is int else -1


def _is_source(text: str) -> bool:
    """Whether the functions that nodes came from are layers or operators: torch looks them up."""

    def is_plain(target: str) -> bool:
        name = target.removeprefix("torch.").removeprefix("nn.functional.")
        return (
            target.startswith("torch.nn.modules.")
            or _is_operator(target)
            or only_computes("aten", name)
            or not target.startswith(("torch", "_operator", "math", "#"))
        )

    entries = [entry.partition(",") for entry in text.split(";")]
    return all(_is_words(name) and _is_words(of) and is_plain(of) for name, _, of in entries)


def _is_tree(text: str) -> bool:
    """Whether the description of a container names no class to be imported."""

    def is_plain(tree: Any) -> bool:
        context = tree["context"]
        return (
            tree["type"] in _CONTAINERS
            and (context is None or bool(_KEYS_OF_CONTAINER.fullmatch(str(context))))
            and all(is_plain(child) for child in tree["children_spec"])
        )

    try:
        return not text or is_plain(json.loads(text)[1])
    except (ValueError, TypeError, KeyError, IndexError, RecursionError):
        return False


_NAMED = (
    "tensor_values",
    "sym_int_values",
    "sym_bool_values",
    "sym_float_values",
    "custom_obj_values",
)
_RULES: dict[str, tuple[str, Callable[[str], bool]]] = {
    "target": ("calls", _is_operator),
    "as_operator": ("calls", _is_operator),
    "expr_str": ("has the size", _is_size),
    "in_spec": ("takes objects other than tuples, lists and dicts:", _is_tree),
    "out_spec": ("returns objects other than tuples, lists and dicts:", _is_tree),
    "name": ("calls a value", lambda text: not text or _is_name(text)),
    "as_name": ("calls a value", _is_name),
    "forward_arg_names": ("calls an argument", _is_name),
    "parameter_name": ("calls a parameter", _is_module),
    "buffer_name": ("calls a buffer", _is_module),
    "tensor_constant_name": ("calls a constant", _is_module),
    "fqn": ("calls a module", _is_module),
    "nn_module_stack": ("calls a module", _is_stack),
    "source_fn_stack": ("came from", _is_source),
    "path_name": ("keeps a tensor in", _is_file),
    "type": ("runs on", _is_device),
    "as_float": ("has the number", _is_number),
    "as_floats": ("has the number", _is_number),
    "class_fqn": ("takes an object of", _is_never),
    "guards_code": ("checks its input with", _is_never),
    # Arguments of operators and what people read: never resolved, and quoted where it is printed.
    "as_string": ("", _is_any_text),
    "as_strings": ("", _is_any_text),
    "stack_trace": ("", _is_any_text),
    "torch_fn": ("", _is_any_text),
    "from_node": ("", _is_any_text),
    "custom": ("", _is_any_text),
    "torch_version": ("", _is_any_text),
}
"""What may stand under a key, and how a refusal begins."""


def _declared(path: Path, config: Any, folder: str, reader: Any) -> list[Declared]:
    """The tensors of a payload as it describes them."""
    # Imported here: they bring torch's compiler along.
    from torch._export.serde.schema import Layout, ScalarType
    from torch._export.serde.serialize import deserialize_scalar_type

    found = []
    try:
        for name, payload in config["config"].items():
            if payload["use_pickle"]:
                raise unlisted(path, f"keeps {name[:60]} as a pickle")
            tensor = payload["tensor_meta"]
            if tensor["layout"] != Layout.Strided:
                raise unlisted(path, f"keeps {name[:60]} in another layout than plain tensors have")
            sizes, strides = ([e["as_int"] for e in tensor[key]] for key in ("sizes", "strides"))
            found.append(
                Declared(
                    name,
                    sizes=sizes,
                    strides=strides,
                    offset=tensor["storage_offset"]["as_int"],
                    width=deserialize_scalar_type(ScalarType(tensor["dtype"])).itemsize,
                    kept=reader.get_record_size(f"{folder}/{payload['path_name']}"),
                )
            )
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise InputError(
            f"'{path}' does not say what its tensors are ({one_line(error)}); export it again"
        ) from error
    return found
