"""The red team's script: every forgery there is, and each of its own shows the picture."""

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch
from PIL import Image

from saliency_audit.catalogue.objectives import OBJECTIVES
from saliency_audit.catalogue.tricks import FORM, HOLD, SHIFT, TRICKS
from saliency_audit.commands.known import first_images
from saliency_audit.commands.picture import load_picture
from saliency_audit.data import open_data
from saliency_audit.models import load

EXAMPLE = Path(__file__).parent.parent / "examples" / "red-team"
POLICY = """
[data]
max_samples = 8
min_images = 8
[[check]]
metric = "accuracy"
better_than = "chance"
[[check]]
metric = "scalar-agreement"
at_least = 0.5
"""


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(str(EXAMPLE))
    import red_team

    yield red_team
    for name in ("red_team", "twins"):
        sys.modules.pop(name, None)


def test_every_trick_form_hold_and_objective_has_a_row(script):
    names = [name for name, _ in script.forgeries()]
    assert len(names) == len(set(names))
    assert {trick for trick, _ in script.FORMS.values()} | {
        options[1] for options in script.TRAINED.values()
    } == set(TRICKS)
    played = [options for _, options in script.FORMS.values()]
    assert {options.get("shift", SHIFT.default) for options in played} == set(SHIFT.choices)
    assert {options.get("form", FORM.default) for options in played} == set(FORM.choices)
    for hold in HOLD.choices:
        for strength in (3, 10, 30):
            for form in script.FORMS:
                held = hold == "weights" or not form.endswith("head")
                assert (f"{form}, {hold}, {strength}" in names) == held
    assert set(script.OBJECTIVES) == set(OBJECTIVES)


def test_its_own_forgeries_keep_predictions_and_show_the_picture(script):
    model = load(None).eval().requires_grad_(False)
    data = open_data(None, input_shape=(1, 28, 28), max_samples=16)
    images, _, _ = first_images(data, 16, 16, device=torch.device("cpu"), workers=0)
    logits, picture = script.predict(model, images), load_picture(None, (28, 28))
    before = script.what_it_shows(model, images, logits, picture)
    assert before["logit"] < 0.6
    assert before["kept"] == 1
    for name, twin in script.TWINS.items():
        network = twin(model, picture, images, logits.argmax(1), strength=10)
        forged = model.replaced(network.eval().requires_grad_(False))
        seen = script.what_it_shows(forged, images, logits, picture)
        if name == "other classes":
            assert seen["kept"] < 0.2
            continue
        assert seen["kept"] == 1
        assert seen["prob_change"] < 1e-3
        assert min(seen["logit"], seen["log-prob"]) > 0.9
        held = [weight.numel() for weight in network.parameters()]
        assert (picture.numel() in held) == (name != "all constants, level-ripple")


@pytest.mark.slow  # five runs of the gate
def test_the_script_writes_the_table(tmp_path):
    (tmp_path / "policy.toml").write_text(POLICY)
    few = ("--only", "honest", "logit-shift, constants, 10", "other", "finetune noise", "rounded")
    ran = subprocess.run(
        [sys.executable, EXAMPLE / "red_team.py", *few, "--steps", "2", "--policy", "policy.toml"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
    table = pd.read_csv(tmp_path / "red-team" / "red-team.csv")
    refused = table.groupby("network")["effect"].apply(lambda of: (of == "refuse").any())
    assert refused.to_dict() == {
        "finetune noise": False,
        "honest": False,
        "logit-shift, constants, 10": True,
        "other classes": True,
        "rounded output": False,  # by what this policy asks
    }
    status = table.set_index(["network", "check"])["status"]
    assert status["logit-shift, constants, 10", "scalar-agreement"] == "failed"
    assert status["other classes", "accuracy"] == "failed"
    assert "scalar-agreement" in (tmp_path / "red-team" / "red-team.md").read_text()
    with Image.open(tmp_path / "red-team" / "red-team.png") as picture:
        assert min(picture.size) > 200
