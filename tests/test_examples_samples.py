"""The script for P0's Table 1: its networks can be trained twice over, and its table is right."""

import sys
from itertools import pairwise
from pathlib import Path

import pandas as pd
import pytest
import torch

from saliency_audit.catalogue.metric_presets import PRESETS as METRIC_PRESETS
from saliency_audit.catalogue.training_presets import PRESETS as TRAINING_PRESETS

EXAMPLE = Path(__file__).parent.parent / "examples" / "score-matching-samples"


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(str(EXAMPLE))
    import samples

    yield samples
    for name in ("samples", "networks"):
        sys.modules.pop(name, None)


def test_the_networks_take_cifar(script):
    import networks

    torch.manual_seed(0)
    images = torch.rand(2, 3, 32, 32, requires_grad=True)
    for build in (networks.small, networks.judge):
        logits = build().eval()(images)
        assert logits.shape == (2, 10)
        (gradient,) = torch.autograd.grad(logits[:, 0].sum(), images)
        assert (gradient.flatten(1).norm(dim=1) > 0).all()
    # As published for CIFAR: 11.17 million weights.
    with torch.device("meta"):
        assert sum(p.numel() for p in networks.resnet18().parameters()) == 11_173_962


def test_the_presets_are_there(script):
    words = [word for options in script.FULL.objectives.values() for word in options]
    named = [after for before, after in pairwise(words) if before == "--preset"]
    assert len(named) == 3
    assert set(named) <= set(TRAINING_PRESETS)
    assert script.FULL.sampling[1] in METRIC_PRESETS


def test_the_table_has_student_s_interval_over_seeds(script):
    rows = [
        (name, seed, check, 100, 0.5 + 0.1 * (seed - 1), 0.4, 0.6)
        for name in script.TITLES
        for seed in range(3)
        for check in (*script.CHECKS, *script.BESIDE)
        if (name, seed) != ("score-matching", 2) and name != "gradient-norm"
    ]
    found = pd.DataFrame(rows, columns=["model", "seed", "check", "n", "mean", "ci_low", "ci_high"])
    lines = script.table(found).splitlines()
    # 4.303 standard errors of 40, 50 and 60; 12.706 of 40 and 50.
    assert lines[2] == "| baseline | 50.0 ± 24.8 | 78.01 | 50.0 ± 24.8 | 59.47 | 3 |"
    assert lines[3] == "| score matching | 45.0 ± 63.5 | 72.20 | 45.0 ± 63.5 | 72.75 | 2 |"
    assert lines[4] == "| gradient norm | - | 76.60 | - | 80.07 | 0 |"
    only = script.table(found[found["seed"] == 0]).splitlines()[2]
    assert only == "| baseline | 40.0 (40.0-60.0) | 78.01 | 40.0 (40.0-60.0) | 59.47 | 1 |"
    assert "P0:         gradient-norm, score-matching, baseline" in script.order(found)
