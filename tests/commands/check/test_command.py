"""`saliency-audit check`: what was loaded, what the model says, what works."""

import json
from pathlib import Path

import pandas as pd
import pytest
import torch
from torch import nn

from saliency_audit.assets import bundled_model
from saliency_audit.commands.check.audit import check
from saliency_audit.commands.check.tables import methods_table
from saliency_audit.commands.check.verdict import accuracies, methods, says, sentence
from saliency_audit.commands.table import table
from saliency_audit.data import from_tensors
from saliency_audit.models import Classifier

FOLDER = Path("saliency-audit-report/check")
FEW = ("check", "--max-samples", 8)


class Dark(nn.Module):
    """Logits that say nothing of dark images: a ReLU cuts them, and their gradient."""

    def forward(self, images):
        bright = (images.mean((1, 2, 3)) - 0.5).relu()
        return torch.stack([0.2 + bright, 0.1 - bright], dim=1)


def test_the_bundled_model(run):
    ran = run(*FEW, "--saliency", "gradient", "--saliency", "smoothgrad", "--samples", 5)
    assert ran.code == 0, ran.err
    assert {path.name for path in FOLDER.iterdir()} == {
        "accuracies.csv",
        "costs.csv",
        "maps.png",
        "methods.csv",
        "methods.png",
        "report.html",
        "results.csv",
        "run.json",
        "says.csv",
        "summary.csv",
    }
    assert "1 x 28 x 28" in ran.out
    assert "2 of 2 methods have a map of every image" in ran.out
    found = pd.read_csv(FOLDER / "methods.csv").set_index("saliency")
    assert found["with_map"].tolist() == [8, 8]
    assert found["passes"].tolist() == [1, 5]
    assert (found["seconds"] > 0).all()
    given = pd.read_csv(FOLDER / "accuracies.csv")
    assert given["preprocessing"].tolist()[0] == "as given"
    assert not given["better"].any()
    facts = json.loads((FOLDER / "run.json").read_text())
    assert facts["assumed"]["classes"] == "10"
    spoken = pd.read_csv(FOLDER / "says.csv")
    assert len(spoken) == 8
    assert spoken["confidence"].between(0.1, 1).all()
    assert spoken["says"].str.match(r"\d \w").all()


def test_another_preprocessing_that_is_much_better_is_named(run):
    ran = run("check", "--mean", 0.9, "--std", 0.05, "--max-samples", 32, "--saliency", "gradient")
    assert ran.code == 0, ran.err
    given = pd.read_csv(FOLDER / "accuracies.csv").set_index("preprocessing")
    assert given.loc["mean 0, std 1", "better"]
    assert given.loc["mean 0, std 1", "right"] > given.loc["as given", "right"]
    said = " ".join(ran.out.split())
    assert "With mean 0, std 1 it would be right on" in said
    assert "are --mean and --std what it was trained with?" in said


def test_what_a_format_does_not_allow_stands_there_with_its_reason(run):
    torch.jit.trace(bundled_model().eval(), torch.rand(2, 1, 28, 28)).save("model.pt")
    ran = run("check", "model.pt", *FEW[1:], "--saliency", "gradcam", "--saliency", "gradient")
    assert ran.code == 0, ran.err
    found = pd.read_csv(FOLDER / "methods.csv").set_index("saliency")
    assert found.loc["gradcam", "with_map"] == 0
    assert "TorchScript" in found.loc["gradcam", "why"]
    assert pd.isna(found.loc["gradient", "why"])
    assert "1 of 2 methods have a map of every image" in ran.out


def test_an_unknown_method_is_refused_and_nothing_written(run):
    ran = run("check", "--saliency", "gradcamm")
    assert ran.code == 2
    assert "gradcam" in ran.err
    assert not FOLDER.exists()


def test_a_finished_run_is_told_again(run):
    first = run(*FEW, "--saliency", "gradient")
    again = run(*FEW, "--saliency", "gradient", "--resume")
    assert again.code == 0, again.err
    assert "8 of 8" in first.out
    assert "8 of 8" in again.out


def test_maps_of_nothing_are_counted():
    images = torch.cat([torch.full((3, 1, 6, 6), 0.2), torch.full((5, 1, 6, 6), 0.9)])
    model = Classifier(Dark(), input_shape=(1, 6, 6), name="dark")
    noise = torch.rand(8, 1, 6, 6, generator=torch.Generator().manual_seed(0)) * 0.05
    rows = table(
        check(model, from_tensors(images + noise), saliency=["gradient", "input-x-gradient"])
    )
    found = methods(rows, seconds_a_pass=0.5).set_index("saliency")
    # The gradient of a mean is the same everywhere: a constant map ranks no pixel.
    assert found["with_map"].tolist() == [0, 5]
    assert found.loc["gradient", "why"] == "constant on 5, zero on 3 of 8"
    assert found.loc["input-x-gradient", "why"] == "zero on 3 of 8"
    assert found.loc["gradient", "passes"] == 1
    assert found.loc["gradient", "seconds"] == 0.5
    assert says(rows, None)["says"].tolist() == ["0"] * 8
    text = sentence(
        accuracies(rows), found.reset_index(), model="dark", facts={"input": "x", "classes": 2}
    )
    assert text == "dark takes x and has 2 classes; 0 of 2 methods have a map of every image."


@pytest.mark.parametrize(("gained", "lost", "better"), [(4, 0, False), (5, 0, True), (9, 3, False)])
def test_better_is_more_than_two_standard_errors(gained, lost, better):
    same = 6
    own = [1] * same + [0] * gained + [1] * lost
    other = [1] * same + [1] * gained + [0] * lost
    rows = [
        {"image": i, "check": "accuracy", "setting": setting, "value": value, "status": "ok"}
        for setting, values in (("", own), ("preprocessing=other", other))
        for i, value in enumerate(values)
    ]
    found = accuracies(pd.DataFrame(rows)).set_index("preprocessing")
    assert found.loc["other", "better"] == better
    assert found.loc["as given", "right"] == same + lost


def test_the_model_is_as_before_afterwards():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(36, 3), nn.Dropout())
    model = Classifier(network, input_shape=(1, 6, 6), mean=0.5, std=0.5).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    list(check(model, from_tensors(torch.rand(4, 1, 6, 6)), saliency=["gradient"]))
    assert network.training
    assert all(weight.requires_grad for weight in network.parameters())
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_why_a_method_has_no_map_is_text_and_no_number():
    line = {"saliency": "lrp", "with_map": 0, "n": 8, "passes": None, "seconds": None}
    shown = methods_table(pd.DataFrame([line | {"why": "Captum has no rule for GELU"}]))
    # What is text begins at the left in a picture, and goes on in another line on the page.
    assert shown.columns.index("why not") < shown.labels
