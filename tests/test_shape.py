"""What keeps the parts apart: each of these would be undone by one careless line."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import saliency_audit
from saliency_audit.attacks import ATTACKS
from saliency_audit.methods import METHODS
from saliency_audit.metrics import CHECKS, METRICS
from saliency_audit.training import OBJECTIVES
from saliency_audit.tricks import TRICKS

PACKAGE = Path(saliency_audit.__file__).parent
SHARED = [
    *sorted((PACKAGE / "cli").rglob("*.py")),
    *sorted((PACKAGE / "report").rglob("*.py")),
    *(PACKAGE / "commands" / name for name in ("life.py", "output.py", "setup.py")),
]
"""What serves every command, those that come too."""
NAMES = {*METHODS, *METRICS, *CHECKS, *ATTACKS, *TRICKS, *OBJECTIVES}
MOST_PARAMETERS = 20


def parameters(function):
    a = function.args
    plain = [*a.posonlyargs, *a.args, *a.kwonlyargs]
    return len(plain) + (a.vararg is not None) + (a.kwarg is not None)


def functions(path):
    """Names and numbers of parameters of all that is called in a file."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield getattr(node, "name", "lambda"), parameters(node)


def modules(*patterns):
    """Dotted names of the package's modules that lie where patterns say."""
    paths = sorted(path for pattern in patterns for path in PACKAGE.glob(pattern))
    parts = (path.relative_to(PACKAGE.parent).with_suffix("").parts for path in paths)
    return [".".join(part for part in one if part != "__init__") for one in parts]


def loaded(names, unwanted, then=""):
    """Which of the unwanted modules are there once a fresh Python has imported the named ones."""
    code = (
        "import importlib, sys\n"
        f"for name in {names!r}:\n"
        "    importlib.import_module(name)\n"
        f"    for found in sorted({set(unwanted)!r} & set(sys.modules)):\n"
        "        sys.exit(f'{name} imports {found}')\n"
        f"{then}\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert not done.stdout
    return done.stderr.strip()


@pytest.mark.parametrize("path", SHARED, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_what_commands_share_names_nothing_that_a_registry_does(path):
    named = [
        f"line {node.lineno}: {node.value}"
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value in NAMES
    ]
    assert not named


def test_fool_names_no_trick():
    for path in sorted((PACKAGE / "commands/fool").glob("*.py")):
        tree = ast.parse(path.read_text("utf-8"))
        docs = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        words = [
            node.value
            for node in ast.walk(tree)
            if isinstance(node, ast.Constant) and isinstance(node.value, str)
            if id(node) not in docs
        ]
        assert not [word for word in words if any(trick in word for trick in TRICKS)], path


def test_no_function_has_too_many_parameters():
    counted = [
        (path.relative_to(PACKAGE).as_posix(), name, count)
        for path in sorted(PACKAGE.rglob("*.py"))
        for name, count in functions(path)
    ]
    assert len(counted) > 1000
    assert [one for one in counted if one[-1] > MOST_PARAMETERS] == []


def test_reports_need_no_torch():
    names = modules("report/*.py", "commands/*/report.py")
    assert len(names) > 15
    # matplotlib.pyplot picks a backend, and may open a window.
    unwanted = {"torch", "torchvision", "captum", "matplotlib.pyplot"}
    environment = "sys.modules['saliency_audit.report.facts'].environment()"
    environment += "\nassert 'torch' not in sys.modules"
    assert loaded(names, unwanted, environment) == ""


def test_options_need_no_library():
    names = modules(
        "options.py", "catalogue/*.py", "commands/options.py", "commands/*/options.py", "cli/*.py"
    )
    assert len(names) > 15
    assert loaded(names, {"torch", "torchvision", "numpy", "pandas", "matplotlib", "PIL"}) == ""
