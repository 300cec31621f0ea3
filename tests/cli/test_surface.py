"""Help, list, version and start-up: what a newcomer meets first."""

import re
import shlex
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from PIL import Image

from saliency_audit.attacks import ATTACKS, PRESETS
from saliency_audit.catalogue.metric_presets import PRESETS as METRIC_PRESETS
from saliency_audit.catalogue.training_presets import PRESETS as TRAINING_PRESETS
from saliency_audit.cli import ENTRIES, app, listed, main
from saliency_audit.cli.typed import said_by_help
from saliency_audit.commands.attack.options import OPTIONS as OF_ATTACK
from saliency_audit.commands.evaluate.options import OPTIONS as OF_EVALUATE
from saliency_audit.commands.fool.options import OPTIONS as OF_FOOL
from saliency_audit.methods import METHODS
from saliency_audit.metrics import CHECKS
from saliency_audit.training import OBJECTIVES
from saliency_audit.tricks import TRICKS

COMMANDS = {
    command.name or command.callback.__name__: command for command in app.registered_commands
}

LONG = ("fool", "attack", "evaluate", "gate")
"""Commands that take longer than CI has."""


def test_help_does_not_import_torch_and_is_quick():
    # Seconds of this process, so that others on the machine do not count.
    check = (
        "import sys, time; start = time.process_time()\n"
        "from saliency_audit.cli import main\n"
        "try: main(['fool', '--help'])\n"
        "except SystemExit: pass\n"
        "assert not {'torch', 'pandas', 'matplotlib', 'numpy'} & set(sys.modules)\n"
        "print('seconds', time.process_time() - start)"
    )
    times = []
    for _ in range(3):
        ran = subprocess.run(
            [sys.executable, "-c", check], capture_output=True, text=True, check=True
        )
        times.append(float(ran.stdout.split()[-1]))
    assert min(times) < 0.5


@pytest.fixture
def files(run):
    """What the examples of the help read: weights, their architecture, and labelled images."""
    Path("net.py").write_text(NET)
    torch.manual_seed(0)
    torch.save(eval_of(NET).state_dict(), "my.pt")
    generator = torch.Generator().manual_seed(0)
    for i in range(80):
        folder = Path(f"images/{i % 2}")
        folder.mkdir(parents=True, exist_ok=True)
        pixels = torch.randint(0, 256, (28, 28), generator=generator, dtype=torch.uint8)
        Image.fromarray(pixels.numpy()).save(folder / f"{i}.png")


NET = """from torch import nn

def build():
    return nn.Sequential(
        nn.Conv2d(1, 4, 5, stride=3), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(),
        nn.Linear(16, 2),
    )
"""


def eval_of(source):
    """What ``build`` of a module returns."""
    names = {}
    exec(source, names)
    return names["build"]()


def examples_of(name):
    return re.findall(r"Example: saliency-audit (.+)", COMMANDS[name].callback.__doc__)


def test_every_command_has_an_example_with_a_model_of_one_s_own():
    for name in COMMANDS:
        own = [" my.pt " in example for example in examples_of(name)]
        assert own == ([False, True] if name != "list" else [False])


@pytest.mark.parametrize(
    "example",
    [
        pytest.param(
            example,
            marks=[pytest.mark.slow]
            * (name == "finetune" or (" my.pt " in example and name in LONG)),
        )
        for name in COMMANDS
        for example in examples_of(name)
    ],
)
@pytest.mark.usefixtures("files")
def test_the_examples_of_the_help_work(example, run):
    ran = run(*shlex.split(example))
    # Random weights are refused, and by the gate with 1.
    assert ran.code == 0 or (example.startswith("gate my.pt") and "refused: " in ran.out), ran.err


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_the_help_is_short_and_help_all_has_every_option(entry, run, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    short, whole = (run(entry.name, word).out for word in ("--help", "--help-all"))
    assert len(short.splitlines()) < 80
    assert not re.search(r"<bool>|Default: False", whole)
    for option in entry.options[1:]:
        shown = re.compile(rf"{option.flag}[ ,/]")
        assert bool(shown.search(short)) == option.common, option.name
        assert shown.search(whole)
    first = [short.index(f"─ {panel} ─") for panel in ("Arguments", "Model", "Images", "Run")]
    assert first == sorted(first)
    assert "--help-all" in short[first[-1] :]


def test_defaults_are_told_in_one_way():
    for option in (option for entry in ENTRIES for option in entry.options):
        told = said_by_help(option)
        assert not re.search(r"[;,(] ?default", told), told
        if "Default: " in told:
            last = told.partition("Default: ")[2].removesuffix(".")
            assert not re.search(r"[.] (?!The controls )", last), told


def test_list_names_everything_that_can_be_named(run):
    ran = run("list")
    assert ran.code == 0
    for registry in (METHODS, TRICKS, ATTACKS, PRESETS, CHECKS, OBJECTIVES, TRAINING_PRESETS):
        for name in registry:
            assert name in ran.out
    assert "logit-shift" not in run("list", "saliency").out


@pytest.mark.parametrize(
    ("options", "name", "known"),
    [
        (OF_FOOL, "trick", TRICKS),
        (OF_ATTACK, "attack", ATTACKS),
        (OF_ATTACK, "preset", PRESETS),
        (OF_ATTACK, "norm", {"linf", "l2"}),
        (OF_EVALUATE, "preset", METRIC_PRESETS),
        (OF_EVALUATE, "norm", {"linf", "l2"}),
        (OF_EVALUATE, "unit", {"region", "pixel"}),
        (OF_EVALUATE, "reduce", {"mean", "std"}),
        (OF_EVALUATE, "randomise", {"auto", "reinit", "shuffle"}),
        (OF_EVALUATE, "pixels", {"all", "nonzero"}),
    ],
)
def test_the_options_offer_what_the_registries_have(options, name, known):
    (choices,) = (option.choices for option in options if option.name == name)
    assert set(choices) == set(known)


def test_presets_say_what_deviates(run, monkeypatch):
    monkeypatch.setenv("COLUMNS", "4000")
    shown = run("list", "presets").out
    for preset in PRESETS.values():
        assert preset.deviations in shown


def test_version(run):
    assert run("--version").out.startswith("saliency-audit 0.")


def test_python_m_works():
    start = time.perf_counter()
    ran = subprocess.run(
        [sys.executable, "-m", "saliency_audit", "--version"], capture_output=True, text=True
    )
    assert ran.returncode == 0
    assert ran.stdout.startswith("saliency-audit")
    assert time.perf_counter() - start < 10


def test_debug_shows_where_an_error_came_from(monkeypatch):
    with pytest.raises(Exception, match="no-such-model"):
        main(["fool", "no-such-model.pt", "--debug"])


def test_a_list_is_understood_where_an_option_is_repeatable():
    given = ["fool", "model,1.pt", "--saliency", "gradient, gradcam", "--scalar=logit,loss"]
    assert listed([*given, "--picture", "a,b.png"]) == [
        *("fool", "model,1.pt", "--saliency", "gradient", "--saliency", "gradcam"),
        *("--scalar=logit", "--scalar=loss", "--picture", "a,b.png"),
    ]
    assert listed(["fool", "--saliency"]) == ["fool", "--saliency"]
    assert listed(["list", "saliency,tricks"]) == ["list", "saliency,tricks"]


def test_a_file_whose_name_has_a_comma_is_no_list(tmp_path):
    model = tmp_path / "a,b.pt2"
    model.touch()
    given = ["evaluate", "--compare", str(model), "--compare", "a\0,b"]
    assert listed(given) == [*given[:3], "--compare", "a\0", "--compare", "b"]


def test_without_arguments_the_help_is_the_answer(run):
    ran = run()
    assert ran.code == 0
    assert "Usage" in ran.out + ran.err
    assert not ran.err.startswith("error")
