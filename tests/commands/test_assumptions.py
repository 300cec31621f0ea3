"""What nobody said and the numbers hang on stands beside the answer, not in a note alone."""

import json
from pathlib import Path

import torch
from torch import nn

from saliency_audit.report.wording import subtitle

FOLDER = Path("saliency-audit-report/check")
SAID = "assumed, as nothing says otherwise: "


def own_model():
    torch.manual_seed(0)
    layers = [
        nn.Conv2d(1, 4, 3),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(4, 10),
    ]
    torch.jit.trace(nn.Sequential(*layers).eval(), torch.rand(2, 1, 28, 28)).save("own.pt")
    return "own.pt"


def test_assumptions_stand_below_the_answer_and_in_the_head_of_the_page(run):
    few = ("check", own_model(), "--max-samples", 8, "--saliency", "gradient", "--quiet")
    ran = run(*few)
    assert ran.code == 0, ran.err
    told = SAID + "size 28, mean 0 and std 1, images bundled:fashion-mnist"
    assert ran.out.rstrip().splitlines()[-1].strip() == told
    assert " 0 (assumed)" in ran.out
    head = (FOLDER / "report.html").read_text("utf-8").split("<header>")[1].split("</header>")[0]
    assert told in head
    facts = json.loads((FOLDER / "run.json").read_text())
    assert facts["assumptions"] == told.removeprefix(SAID).split(", ")
    ran = run(*few, "--mean", 0.3, "--std", 0.3, "--size", 28, "--data", "bundled:fashion-mnist")
    assert ran.code == 0, ran.err
    assert SAID not in ran.out
    assert SAID not in (FOLDER / "report.html").read_text("utf-8")


def test_nothing_is_assumed_of_the_bundled_model(run):
    ran = run("check", "--max-samples", 8, "--saliency", "gradient")
    assert ran.code == 0, ran.err
    assert "assumed, as" not in ran.out
    assert subtitle({"model": "net"}) == "model: net"
