"""The masking network of `rt-sal`: trained once, kept in a file, given in one or refused."""

import json
from pathlib import Path

import pandas as pd
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from saliency_audit.assets import bundled_model
from saliency_audit.commands.masking import course_of
from saliency_audit.models import load, save_state_dict, untrained
from saliency_audit.training import masker

FEW = ("--saliency", "rt-sal", "--max-samples", 4, "--batch-size", 8)
STEPS = ("--selector-steps", 2, "--decoder-steps", 2)
METRIC = ("--metric", "deletion")
OUT = ("--output-dir", "out")
FILE = Path("out/masker.safetensors")
ARCH = ("--arch", "saliency_audit.assets:FashionMnistCnn", "--size", 28, "--channels", 1)
ARCH = (*ARCH, "--mean", 0, "--std", 1)


@pytest.fixture
def trained(monkeypatch):
    """Seeds and courses of every training; on few images."""
    seen, plain = [], masker.train_masker

    def count(*given, course, seed, **options):
        seen.append((course, seed))
        return plain(*given, course=course, seed=seed, **options)

    monkeypatch.setattr(masker, "train_masker", count)
    monkeypatch.setattr(masker, "_TRIED", 8)
    return seen


def refused(run, *arguments):
    ran = run(*arguments)
    assert ran.code == 2
    assert not Path("new").exists()
    return [line for line in ran.err.splitlines() if not line.startswith("note ")]


def test_it_is_trained_before_the_audit_and_kept(run, trained):
    ran = run("evaluate", *METRIC, *FEW, *STEPS, *OUT)
    assert ran.code == 0, ran.err
    assert "no --train: --saliency rt-sal trains on 6,000 bundled images" in ran.err
    assert "note rt-sal: masks of bundled:fashion-mnist hold" in ran.err
    assert FILE.name in json.loads(Path("out/run.json").read_text())["files"]
    with safe_open(FILE, "pt") as file:
        assert json.loads(file.metadata()["design"])["classes"] == 10
    rows = pd.read_csv("out/results.csv")
    assert (rows[rows["saliency"] == "rt-sal"]["status"] == "ok").all()
    assert len(trained) == 1


@pytest.mark.slow
def test_it_is_trained_once_and_a_given_one_gives_the_same_numbers(run, trained):
    assert run("evaluate", *METRIC, *FEW, *STEPS, *OUT).code == 0
    content, table = FILE.read_bytes(), Path("out/results.csv").read_bytes()
    again = run("evaluate", *METRIC, *FEW, *STEPS, *OUT)
    assert again.code == 0, again.err
    assert (FILE.read_bytes(), Path("out/results.csv").read_bytes()) == (content, table)
    ran = run("evaluate", *METRIC, *FEW, "--masker", FILE, "--output-dir", "new")
    assert ran.code == 0, ran.err
    before, after = (pd.read_csv(f"{name}/results.csv") for name in ("out", "new"))
    pd.testing.assert_frame_equal(before, after)
    assert len(trained) == 1
    assert not Path("new/masker.safetensors").exists()


@pytest.mark.slow
def test_attack_fool_and_gate_take_it(run, trained):
    assert run("evaluate", *METRIC, *FEW, *STEPS, *OUT).code == 0
    given = ("--masker", FILE, "--output-dir", "new")
    ran = run("attack", *FEW, "--measure", "gradient,rt-sal", "--steps", 2, *given)
    assert ran.code == 0, ran.err
    ran = run("fool", *FEW, "--scalar", "logit", *given)
    assert ran.code in (0, 1), ran.err
    rows = pd.read_csv("new/results.csv")
    moved = rows[(rows["saliency"] == "rt-sal") & (rows["check"] == "cosine")]
    # Whatever is added to the logits: a mask reads no logit.
    assert (moved["value"] > 0.9999).all()
    assert len(moved)
    Path("policy.toml").write_text(
        f'[data]\nmax_samples = 8\nmin_images = 8\n[run]\nmasker = "{FILE}"\n'
        '[[check]]\nmetric = "deletion"\nsaliency = "rt-sal"\nat_most = 0.999\n'
    )
    ran = run("gate", "--policy", "policy.toml", "--output-dir", "new")
    assert ran.code in (0, 1), ran.err
    assert "deletion" in ran.out
    assert len(trained) == 1


@pytest.mark.slow
def test_another_seed_another_course_and_a_stopped_run(run, trained, monkeypatch):
    def stop(*given):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("saliency_audit.report.folder.RunFolder.write", stop)
        assert run("evaluate", *METRIC, *FEW, *STEPS, *OUT).code == 130
    assert run("evaluate", *METRIC, *FEW, *STEPS, *OUT, "--resume").code == 0
    assert len(trained) == 1
    for other in (("--seed", 2), ("--decoder-steps", 3), ("--train", "bundled:fashion-mnist")):
        done = len(trained)
        assert run("evaluate", *METRIC, *FEW, *STEPS, *other, *OUT).code == 0
        assert len(trained) == done + 1, other


@pytest.mark.slow
def test_each_compared_model_has_one_of_its_own(run, trained):
    torch.save(bundled_model().state_dict(), "one.pt")
    compared = ("--compare", "bundled:fashion-mnist", "--train", "bundled:fashion-mnist")
    ran = run("evaluate", "one.pt", *ARCH, *METRIC, *FEW, *STEPS, *compared, *OUT)
    assert ran.code == 0, ran.err
    assert len(trained) == 2
    assert Path("out/masker-2.safetensors").is_file()


def test_a_model_of_ones_own_needs_a_file_or_images(run):
    torch.save(bundled_model().state_dict(), "one.pt")
    for command in (("evaluate", *METRIC), ("fool",), ("attack",)):
        lines = refused(run, command[0], "one.pt", *ARCH, *command[1:], *FEW, "--output-dir", "new")
        assert len(lines) == 1
        assert (
            "--saliency rt-sal reads a mask off a trained network: give one with --masker"
            in (lines[0])
        )
        assert "or images to train one on with --train" in lines[0]


def kept(path):
    """A masking network of the bundled model in a file, as a training leaves it."""
    model = load(None)
    with model.audited():
        drawn = untrained(model, torch.rand(1, 1, 28, 28), width=4, seed=0).network
    said = dict.fromkeys(("decided by", "tells", "area", "inside", "outside"), "0.5")
    said |= {"model sha256": model.sha256, "design": drawn.design.written}
    save_state_dict(drawn, path, metadata=said)
    return said


def test_a_file_of_another_model_or_of_nothing_is_refused(run):
    file = Path("masker.safetensors")
    said = kept(file)
    state = bundled_model().state_dict()
    state["head.bias"] = state["head.bias"] + 0.01
    torch.save(state, "other.pt")
    new = ("--output-dir", "new")
    lines = refused(run, "evaluate", "other.pt", *ARCH, *METRIC, *FEW, "--masker", file, *new)
    assert len(lines) == 1
    assert "was trained for another model (sha256 " in lines[0]
    weights = load_file(file)
    design = json.loads(said["design"])
    sizes = ({"width": 10**9}, {"width": float("inf")}, {"classes": 11}, {"channels": [1, 1, 1]})
    for change in (*sizes, {"layers": []}):
        save_file(weights, "wrong.safetensors", said | {"design": json.dumps(design | change)})
        lines = refused(run, "evaluate", *METRIC, *FEW, "--masker", "wrong.safetensors", *new)
        assert len(lines) == 1
        assert "--masker wrong.safetensors cannot be used: " in lines[0]
    save_file(weights, "bare.safetensors")
    Path("text.safetensors").write_text("no weights")
    for name, why in (
        ("bare.safetensors", " is no masking network"),
        ("text.safetensors", " is no masking network"),
        ("nowhere", ": there is no such file"),
    ):
        lines = refused(run, "evaluate", *METRIC, *FEW, "--masker", name, *new)
        assert len(lines) == 1
        assert f"--masker {name}{why}; give masker.safetensors of" in lines[0]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("evaluate", *METRIC, "--masker", "m"), "--masker is for rt-sal; add --saliency rt-sal"),
        (("attack", "--decoder-steps", 2), "--decoder-steps is for rt-sal; add --saliency rt-sal"),
        (("attack", "--train", "x"), "--train is for rt-sal; add --saliency rt-sal"),
        (("fool", "--masker-preset", "paper"), "--masker-preset is for rt-sal; add --saliency"),
        (
            ("evaluate", *METRIC, "--saliency", "rt-sal", "--masker", "m", "--train", "x"),
            "--train is for training what --masker gives; leave one of them",
        ),
        (
            ("evaluate", *METRIC, "--train", "x"),
            "manifold-distance, rt-sal; add --metric retrained-stability or --saliency rt-sal or",
        ),
        (("attack", "--saliency", "rt-sal", "--measure", "all"), "all leaves out rt-sal; ask for"),
        (("fool", "--saliency", "all,rt-sal"), "all leaves out rt-sal; ask for rt-sal in a run of"),
        (("check", "--saliency", "rt-sal"), "which check neither trains nor takes; ask evaluate"),
        (
            ("finetune", "--objective", "noise", "--saliency", "rt-sal"),
            "which finetune neither trains nor takes",
        ),
    ],
)
def test_what_does_nothing_is_refused_in_a_line(run, arguments, said):
    lines = refused(run, *arguments, "--output-dir", "new")
    assert len(lines) == 1
    assert said in lines[0]


def test_the_numbers_of_the_paper_are_a_preset():
    paper = course_of({"masker_preset": "paper"})
    assert (paper.selector_steps, paper.selector_batch, paper.selector_falls) == (8500, 128, 4000)
    assert (paper.decoder_steps, paper.decoder_batch, paper.width) == (3000, 64, 64)
    assert (paper.selector_fakes, paper.decoder_fakes) == (0.5, 0.3)
    assert (paper.lr, paper.weight_decay) == (1e-3, 1e-4)
