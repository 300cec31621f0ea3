"""The copy of `known-answer`: trained once, kept in a file that no other training is taken for."""

import json
from pathlib import Path

import pandas as pd
import pytest
import torch
from safetensors import safe_open

from saliency_audit.assets import bundled_images, bundled_model
from saliency_audit.commands import planting
from saliency_audit.training import planted

FEW = ("--metric", "known-answer", "--saliency", "gradient", "--max-samples", 8, "--seed", 1)
FEW = (*FEW, "--plant-steps", 2, "--batch-size", 8)
OUT = ("--output-dir", "out")
FILE = Path("out/known-answer.safetensors")
POLICY = """
[[check]]
metric = "known-answer"
saliency = "gradient"
better_than = "random"
plant_steps = 2

[[check]]
metric = "known-answer-trigger"
saliency = "gradient"
at_least = 0.95
plant_steps = 3
"""


@pytest.fixture
def trained(monkeypatch):
    """Options of every training."""
    seen, plain = [], planted.planted

    def count(*given, **options):
        seen.append(options)
        return plain(*given, **options)

    monkeypatch.setattr(planted, "planted", count)
    return seen


def test_a_copy_is_trained_once_and_used_again_until_anything_differs(run, trained):
    first = run("evaluate", *FEW, *OUT)
    assert first.code == 0, first.err
    assert "no --train: this run trains on 6,000 bundled images" in first.err
    assert "WARNING: the copy has not learned its trigger (less than 90%)" in first.err
    assert "raise --plant-steps" in first.err
    assert "known-answer: gradient undefined" in first.out
    content, tables = FILE.read_bytes(), Path("out/results.csv").read_bytes()
    assert FILE.name in json.loads(Path("out/run.json").read_text())["files"]

    again = run("evaluate", *FEW, *OUT)
    assert again.code == 0, again.err
    assert len(trained) == 1
    assert "WARNING: the copy has not learned its trigger" in again.err
    assert (FILE.read_bytes(), Path("out/results.csv").read_bytes()) == (content, tables)

    for other in (
        ("--seed", 2),
        ("--patch-side", 9),
        ("--plant-lr", 0.01),
        ("--train", "bundled:fashion-mnist"),
    ):
        done = len(trained)
        assert run("evaluate", *FEW, *other, *OUT).code == 0
        assert len(trained) == done + 1, other
    assert run("evaluate", *FEW, *OUT).code == 0
    assert FILE.read_bytes() == content


@pytest.mark.slow
def test_another_model_and_a_file_of_somebody_else_are_not_taken(run, trained):
    torch.save(bundled_model().state_dict(), "one.pt")
    state = bundled_model().state_dict()
    state["head.bias"] = state["head.bias"] + 0.01
    torch.save(state, "two.pt")
    arch = ("--arch", "saliency_audit.assets:FashionMnistCnn", "--size", 28, "--channels", 1)
    for model in ("one.pt", "two.pt"):
        assert run("evaluate", model, *arch, *FEW, *OUT).code == 0
    assert len(trained) == 2
    FILE.write_bytes(b"not weights")
    assert run("evaluate", "two.pt", *arch, *FEW, *OUT).code == 0
    assert len(trained) == 3


def test_a_run_that_was_stopped_goes_on_with_its_copy(run, trained, monkeypatch):
    def stop(*given):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("saliency_audit.report.folder.RunFolder.write", stop)
        assert run("evaluate", *FEW, *OUT).code == 130
    assert run("evaluate", *FEW, *OUT, "--resume").code == 0
    assert len(trained) == 1


def test_each_compared_model_has_a_copy(run, trained):
    torch.save(bundled_model().state_dict(), "one.pt")
    arch = ("--arch", "saliency_audit.assets:FashionMnistCnn", "--size", 28, "--channels", 1)
    ran = run("evaluate", "one.pt", *arch, *FEW, "--compare", "bundled:fashion-mnist", *OUT)
    assert ran.code == 0, ran.err
    assert len(trained) == 2
    assert Path("out/known-answer-2.safetensors").is_file()
    summary = pd.read_csv("out/summary.csv")
    assert set(summary["model"]) == {"one.pt", "bundled:fashion-mnist"}


def test_what_cannot_be_trained_is_refused_in_one_line(run):
    torch.jit.script(bundled_model()).save("model.pt")
    ran = run("evaluate", "model.pt", "--channels", 1, *FEW, *OUT)
    assert ran.code == 2
    assert "model.pt is a program whose weights cannot be trained here" in ran.err
    assert len([line for line in ran.err.splitlines() if not line.startswith("note ")]) == 1
    assert not Path("out").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--patch-side", 28), "--patch-side is 28; a patch on images of 28 x 28 is smaller"),
        (("--train", "nowhere"), "nowhere: there is no such folder"),
    ],
)
def test_wrong_input_leaves_nothing(run, options, said):
    ran = run("evaluate", *FEW, *options, *OUT)
    assert ran.code == 2
    assert said in ran.err
    assert not Path("out").exists()


def test_training_images_are_for_this_metric(run):
    ran = run("evaluate", "--metric", "deletion", "--train", "photos", *OUT)
    assert ran.code == 2
    assert "roar, kar, diffroar, known-answer, manifold-distance, rt-sal; add --metric" in ran.err
    assert "or --saliency rt-sal or leave --train" in ran.err


def test_without_images_to_train_on_a_colour_model_is_refused(run):
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 64, 4))
    torch.save(network.state_dict(), "net.pt")
    Path("colour_net.py").write_text(
        "import torch\n\n\ndef make():\n    return torch.nn.Sequential(torch.nn.Flatten(), "
        "torch.nn.Linear(192, 4))\n"
    )
    ran = run("evaluate", "net.pt", "--arch", "colour_net:make", "--size", 8, *FEW, *OUT)
    assert ran.code == 2
    assert "no training images of 3x8x8 are bundled; give some with --train" in ran.err


def test_a_policy_asks_for_it_and_trains_each_kind_of_copy(run, trained):
    Path("policy.toml").write_text(
        '[data]\ntrain = "bundled:fashion-mnist"\nmax_samples = 8\nmin_images = 8\n' + POLICY
    )
    ran = run("gate", "--policy", "policy.toml", "--batch-size", 8, *OUT)
    assert ran.code == 1, ran.err
    assert [one["steps"] for one in trained] == [2, 3]
    checks = pd.read_csv("out/checks.csv").set_index("check")["status"]
    by_name = {name.partition(" ")[0]: status for name, status in checks.items()}
    assert by_name["known-answer"] == "undefined"
    assert by_name["known-answer-trigger"] == "failed"
    with safe_open("out/known-answer-2.safetensors", "pt") as file:
        assert float(file.metadata()["learned"]) < 0.9


def test_a_policy_does_not_name_training_images_for_nothing(run):
    Path("policy.toml").write_text(
        '[data]\ntrain = "x"\n[[check]]\nmetric = "deletion"\nsaliency = "gradient"\n'
        'better_than = "random"\n'
    )
    ran = run("gate", "--policy", "policy.toml", *OUT)
    assert ran.code == 2
    said = "train is in [data] for known-answer, manifold-distance, rt-sal, which no [[check]] asks"
    assert said in ran.err


def test_classes_of_another_order_are_refused(run):
    from PIL import Image

    images, _, _ = bundled_images("test")
    for folder, names in (("photos", "ab"), ("training", "ac")):
        for name in names:
            place = Path(folder, name)
            place.mkdir(parents=True)
            for i in range(4):
                Image.fromarray(images[i]).save(place / f"{i}.png")
    ran = run("evaluate", *FEW, "--data", "photos", "--train", "training", *OUT)
    assert ran.code == 2
    assert "--train has the classes a, c and --data a, b" in ran.err


@pytest.mark.slow
def test_maps_of_the_bundled_network_find_the_patch_and_the_controls_do_not(run):
    ran = run(
        *("evaluate", "--metric", "known-answer", "--max-samples", 48, "--batch-size", 48),
        *("--saliency", "gradient", "--saliency", "gradcam", *OUT),
    )
    assert ran.code == 0, ran.err
    verdicts = pd.read_csv("out/verdicts.csv", keep_default_na=False).set_index("saliency")
    assert (verdicts.loc[["gradient", "gradcam"], "verdict"] == "better than random").all()
    assert (verdicts.loc[["gradient", "gradcam"], "mean"].astype(float) > 0.3).all()
    assert (verdicts.loc[["random", "sobel"], "mean"].astype(float) < 0.1).all()
    summary = pd.read_csv("out/summary.csv").set_index("check")
    assert summary.loc["known-answer-trigger", "mean"] > 0.95
    assert summary.loc["known-answer-agreement", "mean"] > 0.85
    assert summary.loc["known-answer", "chance"].iloc[0] == pytest.approx(36 / 784, rel=1e-4)


def test_the_file_is_named_after_the_metric():
    assert planting.FILE.format("") == f"{planting.METRIC}.safetensors"
