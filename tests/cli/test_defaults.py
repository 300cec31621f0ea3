"""A file in the working folder has the defaults of every command."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import typer
from safetensors.torch import save_file

from saliency_audit.assets import bundled_model
from saliency_audit.cli import ENTRIES, console
from saliency_audit.cli.defaults import KEYS
from saliency_audit.cli.typed import Command, typed


@pytest.fixture
def given(tmp_path, monkeypatch):
    """``given("gate", "--mean", "0.5")``: what the command is handed."""
    monkeypatch.chdir(tmp_path)

    def run(name, *arguments):
        handed = []
        entry = next(entry for entry in ENTRIES if entry.name == name)
        entry = replace(entry, run=lambda given, screen: handed.append(given) or 0)
        app = typer.Typer()
        app.command(cls=Command)(typed(entry, console))
        app(list(arguments), standalone_mode=False)
        return handed[0]

    return run


ALL = """model = "my.pt"
arch = "net:build"
data = "images"
classes = "classes.txt"
mean = [0.4, 0.5, 0.6]
std = 0.25
size = [16, 32]
channels = 3
device = "cpu"
"""


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_each_command_takes_them_and_the_command_line_wins(entry, given, run):
    Path("saliency-audit.toml").write_text(ALL)
    plain = given(entry.name)
    assert (plain.model, plain.arch, plain.data, plain.device) == (
        "my.pt",
        "net:build",
        "images",
        "cpu",
    )
    assert (plain.mean, plain.std, plain.size, plain.channels) == (
        (0.4, 0.5, 0.6),
        (0.25,),
        (16, 32),
        3,
    )
    assert plain.classes == Path("classes.txt")
    assert plain.said == frozenset()
    assert plain.notes == (
        "from saliency-audit.toml: model my.pt, arch net:build, data images, classes classes.txt, "
        "mean 0.4,0.5,0.6, std 0.25, size 16,32, channels 3, device cpu",
    )
    other = given(entry.name, "--mean", "0.1", "--device", "auto")
    assert (other.mean, other.device, other.std) == ((0.1,), "auto", (0.25,))


def test_what_is_said_of_a_model_goes_for_files_and_not_for_names(given):
    Path("saliency-audit.toml").write_text(ALL)
    Path("other.pt").touch()
    assert given("gate", "other.pt").arch == "net:build"
    named = given("gate", "torchvision:resnet18", "--data", "mnist:folder")
    assert (named.arch, named.mean, named.size, named.classes) == (None, None, None, None)
    assert named.device == "cpu"


def test_the_table_of_a_project_goes_unless_there_is_a_file_of_its_own(given):
    project = Path("pyproject.toml")
    project.write_text('[tool.saliency-audit]\nstd = "1/4"\n[tool.other]\nx = 1\n')
    assert given("check").std == (0.25,)
    assert given("check").notes == ("from pyproject.toml [tool.saliency-audit]: std 0.25",)
    Path("saliency-audit.toml").write_text("mean = 0.5\n")
    assert (given("check").mean, given("check").std) == ((0.5,), None)
    Path("saliency-audit.toml").unlink()
    project.write_text("not TOML, and nothing of ours")
    assert given("check").notes == ()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("meen = 0.5", f"'meen'. Did you mean 'mean'? Known: {', '.join(KEYS)}"),
        ("std = 0", "saliency-audit.toml: std is 0; give at least"),
        ("model = 3", "saliency-audit.toml: model is 3; give text"),
        ("mean = ", "saliency-audit.toml cannot be read: "),
    ],
)
def test_what_is_wrong_in_it_is_one_line(run, text, said):
    Path("saliency-audit.toml").write_text(text)
    ran = run("gate")
    assert (ran.code, len(ran.err.splitlines())) == (2, 1)
    assert said in ran.err


def test_a_run_says_what_it_took(run):
    save_file(bundled_model().state_dict(), "my.safetensors")
    Path("saliency-audit.toml").write_text(
        'model = "my.safetensors"\narch = "saliency_audit.assets:FashionMnistCnn"\nmean = 0.1\n'
    )
    ran = run("check", "--saliency", "gradient", "--max-samples", 8, "--std", 0.9)
    assert ran.code == 0, ran.err
    line = (
        "from saliency-audit.toml: model my.safetensors, "
        "arch saliency_audit.assets:FashionMnistCnn, mean 0.1"
    )
    assert ran.err.startswith(f"note {line}\n")
    about = json.loads(Path("saliency-audit-report/check/run.json").read_text("utf-8"))
    assert (about["model"], about["mean"], about["std"]) == ("my.safetensors", [0.1], [0.9])
    assert about["notes"][0] == line
