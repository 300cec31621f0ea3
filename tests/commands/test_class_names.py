"""What the classes are called: where the names come from, and where they are shown."""

import json
from pathlib import Path

import pandas as pd
import pytest
import torch
from torch import nn

from saliency_audit.assets import FASHION_CLASSES
from saliency_audit.commands.class_names import called, explained, read_class_names
from saliency_audit.errors import InputError
from saliency_audit.models import load
from saliency_audit.models.architectures import torchvision_model
from saliency_audit.models.checkpoints import of_library
from saliency_audit.models.found import Found
from saliency_audit.models.named import settle_timm
from saliency_audit.report import figures

NAMES = ["one", "two", "three"]


@pytest.mark.parametrize(
    "text",
    [
        "one\ntwo\nthree\n",
        "\ufeffone\r\n two\r\nthree",
        json.dumps(NAMES),
        json.dumps({"2": "three", "0": "one", "1": "two"}),
        json.dumps({str(i): [f"n0{i}", name] for i, name in enumerate(NAMES)}),
    ],
)
def test_a_file_of_names(tmp_path, text):
    (tmp_path / "names").write_text(text, "utf-8")
    assert read_class_names(tmp_path / "names", 3) == NAMES


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("one\ntwo", "has 2 names and the model has 3 classes"),
        ('["one", "two", 3]', "has no name of class 2"),
        ('{"1": "one", "2": "two", "3": "three"}', "has no name of class 0"),
        ('["one"', "is no JSON"),
        ("", "has 0 names"),
    ],
)
def test_a_file_that_does_not_name_each_class(tmp_path, text, told):
    (tmp_path / "names").write_text(text)
    with pytest.raises(InputError, match=told) as refused:
        read_class_names(tmp_path / "names", 3)
    assert "\n" not in str(refused.value)


def test_names_that_are_known_without_a_file():
    assert load(None).class_names == FASHION_CLASSES
    network = nn.Linear(1, 1)
    network.pretrained_cfg = {"num_classes": 1000, "input_size": (3, 224, 224), "crop_pct": 1.0}
    network.num_classes = 1000
    imagenet = settle_timm(Found(network, "a")).class_names
    assert len(imagenet) == 1000
    assert (imagenet[0], imagenet[291], imagenet[999]) == ("tench", "lion", "toilet tissue")
    # The same names, from another place.
    with torch.device("meta"):
        resnet = torchvision_model("resnet18")
    assert of_library(Found(resnet, "a"), "torchvision:resnet18", {}).class_names == imagenet
    other = of_library(Found(resnet, "a"), "torchvision:resnet18", {"num_classes": 12})
    assert other.class_names is None
    network.num_classes = 12
    assert settle_timm(Found(network, "a")).class_names is None


def test_random_weights_know_no_class():
    assert load("torchvision:squeezenet1_0@none").class_names is None
    assert load("timm:test_resnet.r160_in1k@none").class_names is None


def test_what_stands_below_an_image():
    rows = pd.DataFrame(
        [("a", 1, 1, "", 5), ("a", 1, 0, "gradient", 5), ("b", None, 2, "gradient", 5)],
        columns=["image", "label", "target", "saliency", "value"],
    ).astype({"label": "Int64", "target": "Int64"})
    assert explained(rows, NAMES) == {"a": "one\nlabel: two", "b": "three"}
    assert explained(rows, None) == {"a": "class 0\nlabel: class 1", "b": "class 2"}
    assert called(1, ["one", ""]) == "class 1"


def test_names_are_in_the_table_and_below_the_images(run, monkeypatch):
    drawn = []
    grid = figures._grid
    monkeypatch.setattr(
        figures, "_grid", lambda rows, **how: drawn.append(rows) or grid(rows, **how)
    )
    Path("names.txt").write_text("\n".join(f"cloth-{i}" for i in range(10)))
    few = ("check", "--max-samples", 8, "--saliency", "gradient")
    ran = run(*few, "--class-names", "names.txt")
    assert ran.code == 0, ran.err
    says = pd.read_csv("saliency-audit-report/check/says.csv")
    assert says["says"].tolist() == [
        f"{text.split()[0]} cloth-{text.split()[0]}" for text in says["says"]
    ]
    rows = pd.read_csv("saliency-audit-report/check/results.csv")
    first = rows[rows["check"] == "map-defined"].drop_duplicates("image")["target"].tolist()[:4]
    below = [tile.caption.split("\n")[0] for tile in drawn[0][0].cells]
    assert below == [f"cloth-{target}" for target in first]


def test_a_wrong_number_of_names_is_wrong_input(run):
    Path("names.txt").write_text("one\ntwo\n")
    ran = run("check", "--class-names", "names.txt")
    assert ran.code == 2
    assert len(ran.err.strip().splitlines()) == 1
    assert "2 names and the model has 10 classes" in ran.err
    assert not Path("saliency-audit-report").exists()
