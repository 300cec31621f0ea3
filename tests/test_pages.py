"""Every `saliency-audit ...` line and every Python block of the README and its pages runs."""

import re
import shlex
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from saliency_audit.assets import bundled_images, bundled_model
from saliency_audit.commands.gate.policy import read_policy

ROOT = Path(__file__).parent.parent
PAGES = {
    path.relative_to(ROOT).as_posix(): path.read_text("utf-8")
    for path in [ROOT / "README.md", *sorted((ROOT / "examples").glob("*.md"))]
}
TEXT = "\n".join(PAGES.values())
NAMES = "check|fool|attack|evaluate|finetune|gate|list"
COMMANDS = sorted(set(re.findall(rf"(?:\$ |&& |run: |`)saliency-audit ((?:{NAMES})[^`\n]*)", TEXT)))
DOWNLOADS = ("torchvision:", "timm:")
QUICK = {"--max-samples": "4", "--samples": "2", "--ig-steps": "2", "--relex-copies": "2"}
TAKER = {
    "--samples": "smoothgrad",
    "--ig-steps": "integrated-gradients",
    "--relex-copies": "relex",
}
"""Of the options that a method takes: they are refused where no such method was asked for."""
STEPS = {"--steps": "4"}
GATE = {"--max-samples": "32", "--ig-steps": "8"}
TRAINING = {"--max-samples": "2", "--max-steps": "2", "--max-val": "20", "--train-batch-size": "8"}


@pytest.fixture
def files(run, monkeypatch):
    """What the reader has: a model in each format, and labelled images."""
    model = bundled_model()
    program = torch.export.export(
        model, (torch.rand(2, 1, 28, 28),), dynamic_shapes=({0: torch.export.Dim("batch")},)
    )
    torch.export.save(program, "model.pt2")
    Path("shapes").mkdir()
    torch.export.save(program, "shapes/model.pt2")
    torch.jit.script(model).save("model.pt")
    save_file(model.state_dict(), "weights.safetensors")
    Path("my_package").mkdir()
    Path("my_package/models.py").write_text(
        "from saliency_audit.assets import FashionMnistCnn as build\n"
    )
    images, labels, _ = bundled_images("test")
    for label in range(10):
        folder = Path(f"validation/{label}")
        folder.mkdir(parents=True)
        Image.fromarray(images[labels == label][0]).save(folder / "0.png")
        training = Path(f"training/{label}")
        training.mkdir(parents=True)
        for place, image in enumerate(images[labels == label][1:3]):
            Image.fromarray(image).save(training / f"{place}.png")
    Path("policy.toml").write_text(
        '[data]\nmin_images = 8\n[[check]]\nmetric = "accuracy"\nat_least = 0.5\n'
    )


def test_the_pages_have_commands():
    assert "fool" in COMMANDS
    assert len(COMMANDS) >= 8


def test_what_everyone_needs_first_is_short():
    assert len(PAGES["README.md"].splitlines()) < 200


@pytest.mark.parametrize("name", NAMES.split("|"))
def test_every_command_has_a_page_that_the_readme_names(name):
    assert f"`{name}`" in PAGES[f"examples/{name}.md"].splitlines()[0]
    assert f"(examples/{name}.md)" in PAGES["README.md"]


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", PAGES[page]):
        assert target.startswith("http") or (ROOT / page).parent.joinpath(target).exists(), target


def hugging_face(folder: str) -> None:
    """A classifier as `save_pretrained` writes it; skips where the extra `hf` is not installed."""
    transformers = pytest.importorskip("transformers")
    config = transformers.ViTConfig(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        image_size=28,
        patch_size=7,
        num_channels=1,
        num_labels=10,
    )
    transformers.ViTForImageClassification(config).eval().save_pretrained(folder)


SLOW = (
    "--against",
    "--search evolution",
    "finetune",
    "gate saliency-audit-report",
    "smoothgrad --",
    "rt-sal",
)
"""What makes a line take longer than CI has."""


@pytest.mark.parametrize(
    "line",
    [
        # A whole gate for each forgery takes a minute.
        pytest.param(line, marks=[pytest.mark.slow] * any(word in line for word in SLOW))
        for line in COMMANDS
        if not any(d in line for d in DOWNLOADS)
    ],
)
@pytest.mark.usefixtures("files")
def test_command_runs(run, line):
    words = shlex.split(line.partition(" > ")[0])
    if "hf:FOLDER" in words:
        hugging_face("FOLDER")
    if "logit-shift.pt2" in line:
        forging = ["--saliency", "gradient", "--trick", "logit-shift", "--max-samples", "4"]
        assert run("fool", *forging).code == 0
    # As it stands, but on fewer images and points, and one method where it names none.
    for command, option in (("fool", "--saliency"), ("attack", "--measure")):
        if words[0] == command and option not in words:
            words += [option, "gradient"]
    if words[0] == "fool" and "--trick" not in words:
        words += ["--trick", "logit-shift"]
    steps = STEPS if words[0] == "attack" or "deletion" in words else {}
    # A policy given as a file says itself how many images.
    gate = {} if "policy" in line else GATE
    fewer = {"finetune": TRAINING, "gate": gate, "list": {}}.get(words[0], QUICK | steps)
    if "rt-sal" in line:
        fewer = {"--selector-steps": "2", "--decoder-steps": "2", **fewer}
    if "--trick finetune" in line:
        fewer = {"--max-steps": "2", "--train-batch-size": "8", **fewer}
    if "--saliency" in words:
        fewer = {o: value for o, value in fewer.items() if TAKER.get(o, words[0]) in words}
    for option, value in fewer.items():
        if option in words:
            words[words.index(option) + 1] = value
        else:
            words += [option, value]
    if "--fail-on" in words:
        words[words.index("--max-samples") + 1] = "10"
    ran = run(*words)
    assert ran.code == (1 if "logit-shift.pt2" in line else 0), ran.err


def test_the_policy_is_one():
    (policy,) = re.findall(r"```toml\n(.*?)```", PAGES["examples/gate.md"], re.S)
    checks = read_policy(policy, "gate.md").checks
    assert [check.kind for check in checks] == ["metric", "metric", "metric", "trick", "attack"]


def test_python_blocks_run(capsys):
    blocks = re.findall(r"```python\n(.*?)```", TEXT, re.S)
    runnable = [block for block in blocks if block.startswith("import")]
    assert runnable
    for block in runnable:
        exec(compile(block, "from-python.md", "exec"), {})
    assert "cosine-to-picture" in capsys.readouterr().out


def test_the_listed_tricks_are_what_list_prints(run, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    shown = run("list", "tricks").out
    for line in shown.splitlines():
        assert line.rstrip() in PAGES["examples/list.md"]
