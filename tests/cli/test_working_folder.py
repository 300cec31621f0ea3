"""What happens to lie in the working folder changes no result and stops no run."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import saliency_audit
from saliency_audit.commands.foreign_function import maps_from_callable
from saliency_audit.errors import InputError
from saliency_audit.importable import importable, namesake
from saliency_audit.models.architectures import builder

ROOT = str(Path(saliency_audit.__file__).parent.parent)
RAISES = 'raise RuntimeError("a file of the working folder was imported")\n'


def python(*arguments, folder, **environment):
    """Run Python in a folder, which finds this package as if it were installed."""
    return subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": ROOT, **environment},
    )


def test_python_m_takes_no_library_from_the_working_folder(tmp_path):
    for name in ("random", "torch", "typer", "rich", "textwrap", "difflib"):
        (tmp_path / f"{name}.py").write_text(RAISES)
    ran = python("-m", "saliency_audit", "--version", folder=tmp_path)
    assert (ran.returncode, ran.stderr) == (0, "")


def test_python_m_works_in_a_checkout():
    ran = python("-m", "saliency_audit", "--version", folder=ROOT, PYTHONPATH="")
    assert (ran.returncode, ran.stderr) == (0, "")


@pytest.mark.parametrize(
    ("part", "content"),
    [
        ("report", b"font.size: 30\nfigure.dpi: 30\n"),
        # Captum, which imports Matplotlib too.
        ("methods", b"\xff\xfe none: \x00"),
    ],
)
def test_settings_of_matplotlib_are_its_own(tmp_path, part, content):
    Path(tmp_path / "matplotlibrc").write_bytes(content)
    check = (
        f"import saliency_audit.{part}, matplotlib, os\n"
        "own = {k: v for k, v in matplotlib.rcParamsDefault.items() if k != 'backend'}\n"
        "assert all(matplotlib.rcParams[k] == v for k, v in own.items())\n"
        "print(os.getcwd(), os.environ['MPLBACKEND'])\n"
    )
    rc = str(tmp_path / "matplotlibrc")
    ran = python("-c", check, folder=tmp_path, MATPLOTLIBRC=rc, MPLBACKEND="module://none")
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.split() == [str(tmp_path), "module://none"]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working folder with a module of the user's, and files named like libraries."""
    monkeypatch.chdir(tmp_path)
    for name in ("this_is_mine", "colorsys"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    for name in ("colorsys", "random"):
        (tmp_path / f"{name}.py").write_text(f"{RAISES}def make(): ...\n")
    (tmp_path / "this_is_mine.py").write_text(
        "import colorsys\nfrom torch import nn\n"
        "def make():\n    import random\n    return nn.Identity()\n"
        "def maps(model, inputs, targets):\n    import colorsys\n    return inputs\n"
    )
    return tmp_path


def test_a_module_of_the_user_s_gets_the_libraries(folder):
    assert isinstance(builder("this_is_mine:make")(), torch.nn.Identity)
    assert maps_from_callable("this_is_mine:maps")[0] == "explain:maps"
    assert maps_from_callable("this_is_mine.py:maps")[0] == "explain:maps"
    assert str(folder) not in sys.path


@pytest.mark.parametrize("make", [builder, maps_from_callable])
def test_a_module_named_like_a_library_is_told(folder, make):
    with pytest.raises(InputError) as refused:
        make("random:make")
    assert "random is an installed library (" in str(refused.value)
    assert f"before random.py in {folder}: rename yours" in str(refused.value)


def test_a_folder_that_is_on_the_path_already_stays_there(folder, monkeypatch):
    monkeypatch.syspath_prepend(folder)
    with importable(folder):
        assert sys.path.count(str(folder)) == 1
    assert sys.path[0] == str(folder)


def test_no_namesake_is_told_of_what_is_alone(folder):
    for module in ("this_is_mine", "json.decoder", "no_such_module"):
        assert namesake(module, folder) == ""
