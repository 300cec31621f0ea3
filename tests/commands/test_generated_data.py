"""Generated data through the commands: the known cause as annotation, and points as images."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn

from saliency_audit.data import open_data

HIERARCHY = ("--data", "synthetic:hierarchy", "--max-samples", 8)
POINTS = ("--channels", 1, "--size", "1,2", "--mean", 0.5, "--std", 0.5)
TOY = ("--data", "toy:boundary-tilting")
OVERLAPS = ("--metric", "pointing-game,gaze-overlap", "--saliency", "gradient")


@pytest.fixture
def points(run, monkeypatch):
    """A network of points that is right on them, and how to name it."""
    monkeypatch.syspath_prepend(".")
    with open("my_points.py", "w") as file:
        file.write(
            "from torch import nn\n\n\ndef build():\n"
            "    layers = nn.Linear(2, 16), nn.ReLU(), nn.Linear(16, 2)\n"
            "    return nn.Sequential(nn.Flatten(), *layers)\n"
        )
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(2, 16), nn.ReLU(), nn.Linear(16, 2))
    with torch.no_grad():
        network[1].weight.copy_(torch.tensor([[1.0, 0.2], [-1.0, -0.2]]).repeat(8, 1))
        network[1].bias.zero_()
        network[3].weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0]]).repeat(1, 8))
        network[3].bias.zero_()
    save_file(network.state_dict(), "points.safetensors")
    return ("points.safetensors", "--arch", "my_points:build", *POINTS, *TOY)


def values(folder):
    found = pd.read_csv(f"{folder}/results.csv").drop(columns=["model"])
    return found.sort_values([*found.columns[:6]], kind="stable").reset_index(drop=True)


def test_the_masks_are_annotations_that_need_no_option(run):
    """The same numbers as with the masks in a folder, given as what people marked."""
    assert run("evaluate", *HIERARCHY, *OVERLAPS, "--output-dir", "own").code == 0
    data = open_data("synthetic:hierarchy", input_shape=(1, 28, 28))
    own = values("own")
    Path("masks/test").mkdir(parents=True)
    for name in own["image"].unique():
        mask = data.marks(int(name.removeprefix("test/"))).numpy()
        Image.fromarray((mask * 255).astype(np.uint8)).save(f"masks/{name}.png")
    given = run(
        "evaluate", *HIERARCHY, *OVERLAPS, "--annotations", "masks", "--output-dir", "given",
        "--batch-size", 3,
    )  # fmt: skip
    assert given.code == 0
    pd.testing.assert_frame_equal(own, values("given"), rtol=1e-5)
    chance = own[own["check"] == "pointing-game-chance"].set_index("image")["value"]
    for name, value in chance.items():
        mask = data.marks(int(name.removeprefix("test/")))
        assert value == pytest.approx(float(mask.mean()), rel=1e-5)


@pytest.mark.slow
def test_training_reads_the_masks_too(run):
    trained = run(
        "finetune", "--objective", "harmonise", "--data", "synthetic:hierarchy", "--max-train", 16,
        "--max-val", 8, "--max-steps", 1, "--train-batch-size", 8, "--audit", "none",
    )  # fmt: skip
    assert trained.code == 0
    assert "training on 16 images of synthetic:hierarchy (train), validating on 8" in trained.err


def test_without_masks_the_metric_says_what_to_give(run):
    refused = run("evaluate", "--metric", "pointing-game", "--data", "bundled:fashion-mnist")
    assert refused.code == 2
    assert "give it with --annotations" in refused.err


@pytest.mark.parametrize(
    "data", ["toy:boundry", "synthetic:hierarchy:images=-1", "toy:boundary-tilting"]
)
def test_bad_data_is_one_line_and_exit_2(run, data):
    refused = run("evaluate", "--data", data)
    assert refused.code == 2
    assert len(refused.err.strip().splitlines()) == 1


@pytest.mark.parametrize(
    "command",
    [
        ("fool", "--saliency", "gradient", "--trick", "logit-shift"),
        ("attack", "--attack", "pgd", "--eps", 0.5, "--norm", "l2"),
        ("evaluate", "--saliency", "gradient", "--metric", "deletion"),
        pytest.param(("check",), marks=pytest.mark.slow),
    ],
)
def test_points_go_through_the_commands(run, points, command):
    ran = run(*command, *points, "--max-samples", 8)
    assert ran.code == 0
    if command[0] == "evaluate":
        deletion = pd.read_csv("saliency-audit-report/evaluate/summary.csv")
        sobel = deletion[deletion["saliency"] == "sobel"].iloc[0]
        assert (sobel["n"], sobel["n_undefined"]) == (0, 8)
    if command[0] == "attack":
        assert "changed the prediction of 100% of 8 images" in ran.out


def test_methods_that_need_maps_are_refused_in_one_line(run, points):
    refused = run("evaluate", *points, "--saliency", "gradcam", "--max-samples", 8)
    assert refused.code == 2
    assert "no layer of points.safetensors is a map of the image" in refused.err


@pytest.mark.slow
def test_a_gate_and_a_training_of_points(run, points):
    assert run("gate", *points, "--max-samples", 32).code in (0, 1)
    trained = run("finetune", *points, "--objective", "pgd", "--max-steps", 5, "--max-samples", 8)
    assert trained.code == 0
