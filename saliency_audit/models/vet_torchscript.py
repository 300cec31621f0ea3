"""What a TorchScript archive may hold: its code parsed and vetted, then the graphs it compiles to.

Deny by default, twice. Code of an archive runs while it is loaded, where a class restores its own
state; so the source of every record is parsed first, and what the printer of TorchScript does not
write is refused. What a call reaches is decided by the compiler; so the operators of the compiled
graphs are looked at as well.
"""

import ast
import io
import re
import tokenize
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from saliency_audit.models.operators import PACKED_METHODS, PACKED_WEIGHTS, only_computes, unlisted
from saliency_audit.models.vet_tensors import refuse_records, vet_pickle

_RECORDS = re.compile(
    r"data\.pkl|constants\.pkl|traced_inputs\.pkl|(?:data|constants|traced_inputs)/\d+"
    r"|code/__torch__(?:/\w+)*\.py(?:\.debug_pkl)?|version|byteorder|\.data/\w+|\.format_version"
    r"|\.storage_alignment|extra/[^/]+",
    re.ASCII,
)
_NAMED = re.compile(
    r"__torch__\..+|torch\._utils\._rebuild_\w+|torch\.jit\._pickle\.\w+|collections\.OrderedDict"
    r"|torch(?:\.storage|\.cuda)?\.\w+Storage|torch\.q?u?int\d+|torch\.per_\w+",
    re.ASCII,
)
_CODE = re.compile(r"code/.*\.py", re.ASCII)

_NODES = (
    *(ast.FunctionDef, ast.Assign, ast.AnnAssign, ast.AugAssign, ast.Expr, ast.Return, ast.Pass),
    *(ast.If, ast.For, ast.While, ast.With, ast.Delete, ast.Assert, ast.Raise),
    *(ast.Name, ast.Attribute, ast.Subscript, ast.Slice, ast.Call, ast.Constant, ast.Tuple),
    *(ast.List, ast.Dict, ast.Compare, ast.BinOp, ast.UnaryOp, ast.BoolOp, ast.IfExp),
    *(ast.expr_context, ast.operator, ast.unaryop, ast.boolop, ast.cmpop),
    *(ast.keyword, ast.arguments, ast.arg, ast.withitem),
)
_BASES = {"Module", "NamedTuple", "Enum", "Interface", "ModuleInterface"}
_BUILTINS = {
    "annotate", "bool", "complex", "dict", "enumerate", "float", "getattr", "hasattr", "int",
    "isinstance", "len", "list", "max", "min", "range", "sorted", "str", "tuple",
    "unchecked_cast", "uninitialized", "zip",
}  # fmt: skip
_MEANT = {"torch", "ops", "__torch__", "CONSTANTS", "self", "getattr"}
"""Names by which the compiler finds what is called, so that no variable may have them."""
_ALIAS = re.compile(r"_\d+", re.ASCII)
# Both readers take these for the same; a prefix, a third quote or a letter in numbers need not be.
_STRING = re.compile(
    r""""(?:[^"\\\n]|\\["'\\ntrabfv]|\\x[01]\w|\\0[0-3]\d)*"|'(?:[^'\\\n]|\\["'\\ntrabfv])*'"""
)
DEEPEST = 300
"""Levels of one expression within another."""


def vet_source(path: Path, reader: Any) -> None:
    """Refuse an archive whose code could do anything but compute, before it is loaded.

    Args:
        path: the file, for the message.
        reader: the ``torch._C.PyTorchFileReader`` that will load it, so both see the same records.

    Raises:
        InputError: it holds what TorchScript does not write, or names what is not on the lists.
    """
    refuse_records(path, reader)
    records = reader.get_all_records()
    for record in records:
        if not _RECORDS.fullmatch(record):
            raise unlisted(path, f"holds '{record[:80]}'")
        # Traced inputs are shapes without values, and are not read.
        if record.endswith("pkl") and record != "traced_inputs.pkl":
            vet_pickle(path, reader, record, names=_is_of_torchscript, quantised=True)
    modules = {
        record: _parsed(path, record, reader.get_record(record))
        for record in records
        if _CODE.fullmatch(record)
    }
    defined = {
        node.name
        for module in modules.values()
        for node in ast.walk(module)
        if isinstance(node, ast.FunctionDef)
    }
    for record, module in modules.items():
        for problem in _problems(module, defined - _compiled_names()):
            raise unlisted(path, f"{problem} in {record}")


def vet_graphs(path: Path, network: torch.jit.ScriptModule) -> None:
    """Refuse a loaded archive whose compiled methods hold an operator that is not on the lists.

    Args:
        path: the file, for the message.
        network: as it was loaded.

    Raises:
        InputError: there is such an operator.
    """
    names = network._c._method_names()
    # Nodes do not keep their graph alive.
    graphs = [network._c._get_method(name).inlined_graph for name in names]
    waiting = list(graphs)
    while waiting:
        for node in waiting.pop().nodes():
            namespace, _, name = node.kind().partition("::")
            if not only_computes(namespace, name):
                raise unlisted(path, f"calls {node.kind()}")
            waiting.extend(node.blocks())


def _is_of_torchscript(name: str) -> bool:
    """Whether a pickle of TorchScript may name it: its own classes, tensors and lists."""
    packed = name.removeprefix("__torch__.torch.classes.")
    return packed in PACKED_WEIGHTS if packed != name else bool(_NAMED.fullmatch(name))


def _compiled_names() -> set[str]:
    """Operators that a method call can reach besides methods of the file's own classes."""
    schemas = torch._C._jit_get_all_schemas()
    return {name for s in schemas for kind, _, name in [s.name.partition("::")] if kind == "aten"}


def _parsed(path: Path, record: str, content: bytes) -> ast.Module:
    """The code of a record, read as Python, which is how it is written.

    Python's reader and TorchScript's must see the same, so what one could read in another way than
    the other is refused: comments, escapes of letters, continued lines, all but plain ASCII.
    """
    try:
        text = content.decode("ascii")
        if not all(character.isprintable() or character == "\n" for character in text):
            raise SyntaxError("a character that is not printed")
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            odd = token.type == tokenize.STRING and not _STRING.fullmatch(token.string)
            if odd or token.type == tokenize.COMMENT or token.string in (";", ":="):
                raise SyntaxError(token.string[:40])
        if re.search(r"\\\n", text):
            raise SyntaxError("a line that goes on")
        return ast.parse(text)
    except (SyntaxError, ValueError, tokenize.TokenError, RecursionError, MemoryError) as error:
        said = " ".join(str(error).split())[:60]
        why = f"holds code that TorchScript does not write ({said}) in {record}"
        raise unlisted(path, why) from error


def _problems(module: ast.Module, defined: set[str]) -> Iterator[str]:
    """What is not on the lists in a module of code, most of all what it could call.

    Args:
        module: the code of one record.
        defined: names of the file's own functions and methods that no operator has.
    """
    for statement in module.body:
        if isinstance(statement, ast.ClassDef):
            bases = [ast.unparse(base) for base in statement.bases]
            if len(bases) > 1 or not _BASES.issuperset(bases):
                yield f"has a class of {', '.join(bases)[:60]}"
            if statement.keywords or statement.decorator_list:
                yield f"has a class {statement.name[:60]} made by another"
            parts = statement.body
        else:
            parts = [statement]
        for part in parts:
            if isinstance(part, ast.FunctionDef):
                yield from _problems_of_function(part, defined)
            elif isinstance(part, ast.AnnAssign | ast.Assign | ast.Pass):
                yield from _problems_within(part, defined, _BUILTINS)
            else:
                yield f"has a {type(part).__name__} outside of functions"


def _problems_of_function(function: ast.FunctionDef, defined: set[str]) -> Iterator[str]:
    if function.decorator_list:
        yield f"has a decorated function {function.name[:60]}"
    parts = list(ast.walk(function))
    arguments = [part.arg for part in parts if isinstance(part, ast.arg)]
    names = [part for part in parts if isinstance(part, ast.Name)]
    set_here = Counter(arguments[1:] if arguments[:1] == ["self"] else arguments)
    set_here.update(name.id for name in names if not isinstance(name.ctx, ast.Load))
    for name in set_here.keys() & _MEANT:
        yield f"has a variable '{name}'"
    # TorchScript writes a function of the file as a variable where it calls it.
    aliases = Counter(
        part.targets[0].id
        for part in parts
        if isinstance(part, ast.Assign)
        and len(part.targets) == 1
        and isinstance(part.targets[0], ast.Name)
        and _dotted(part.value)[:1] == ["__torch__"]
    )
    functions = {
        name
        for name, times in aliases.items()
        if times == set_here[name] and _ALIAS.fullmatch(name)
    }
    builtins = _BUILTINS - set_here.keys()
    yield from _problems_within(function, defined, functions | builtins)


def _problems_within(top: ast.AST, defined: set[str], functions: set[str]) -> Iterator[str]:
    """Walk a statement of any depth; ``functions`` are plain names that may be called."""
    waiting: list[tuple[ast.AST, int]] = [(top, 0)]
    while waiting:
        node, depth = waiting.pop()
        if not isinstance(node, _NODES) or (isinstance(node, ast.FunctionDef) and node is not top):
            yield f"has a {type(node).__name__}"
        if depth > DEEPEST:
            yield f"is nested more than {DEEPEST} levels deep"
            return
        if isinstance(node, ast.Call) and not _is_callable(node.func, defined, functions):
            yield f"calls '{ast.unparse(node.func)[:60]}'"
        if isinstance(node, ast.Call) and _dotted(node.func) == ["getattr"]:
            name = node.args[1] if len(node.args) == 2 else None
            if not isinstance(name, ast.Constant):
                yield f"makes a name of '{ast.unparse(node)[:60]}'"
        path = _dotted(node)
        if path[:3] == ["__torch__", "torch", "classes"]:
            if ".".join(path[3:5]) not in PACKED_WEIGHTS:
                yield f"uses {'.'.join(path)[:80]}"
        else:
            # What a dotted name begins with needs no look of its own.
            children = [] if path else ast.iter_child_nodes(node)
            waiting.extend((child, depth + 1) for child in children)


def _is_callable(function: ast.AST, defined: set[str], functions: set[str]) -> bool:
    """Whether what stands before the parentheses of a call can only be something that computes."""
    path = _dotted(function)
    if path[:1] == ["torch"]:
        return len(path) == 2 and only_computes("aten", path[1])
    if path[:1] == ["ops"]:
        return len(path) == 3 and only_computes(path[1], path[2])
    if path[:1] == ["__torch__"]:
        return len(path) > 1
    if len(path) == 1:
        return path[0] in functions
    # A method: of a class of the file, or an operator on whatever stands before the dot.
    if isinstance(function, ast.Attribute):
        return only_computes("aten", function.attr) or function.attr in defined | PACKED_METHODS
    return False


def _dotted(node: ast.AST) -> list[str]:
    """The parts of a plain dotted name; empty for any other expression."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return [node.id, *reversed(parts)] if isinstance(node, ast.Name) else []
