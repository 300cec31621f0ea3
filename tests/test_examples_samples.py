"""The script for P0's Table 1: its networks can be trained twice over, and its table is right."""

import sys
from itertools import pairwise
from pathlib import Path

import pandas as pd
import pytest
import torch
from PIL import Image

from saliency_audit.catalogue.metric_presets import PRESETS as METRIC_PRESETS
from saliency_audit.catalogue.training_presets import PRESETS as TRAINING_PRESETS

EXAMPLE = Path(__file__).parent.parent / "examples" / "paper-0-density"


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(str(EXAMPLE))
    import samples

    yield samples
    for name in ("samples", "networks", "figures"):
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


def test_claims_are_paired_by_seed(script):
    ours = {"baseline": (0.5, 0.6), "score-matching": (0.6, 0.71), "gradient-norm": (0.7, 0.7)}
    rows = [
        (name, seed, "gan-test", value)
        for name, values in ours.items()
        for seed, value in enumerate(values)
    ]
    found = pd.DataFrame(rows, columns=["model", "seed", "check", "mean"])
    judged = script.claims(found).set_index("claim")
    assert not any("anti" in claim for claim in judged.index)
    line = judged.loc["gan-test: score matching above baseline"]
    # 12.7062 standard errors of 0.10 and 0.11.
    assert line["ours"] == pytest.approx(0.105)
    assert line["ci_low"] == pytest.approx(0.105 - 12.7062 * 0.005)
    assert (line["paper"], line["verdict"]) == (pytest.approx(0.1328), "agrees")


def test_the_picture_has_the_first_sample_of_each_class(script, tmp_path):
    rows = []
    for name in ("baseline", "gradient-norm"):
        for label in (0, 1, 0):
            path = f"{len(rows)}.png"
            Image.new("RGB", (4, 4), (255, 0, 0) if len(rows) in (2, 5) else (0, 0, 255)).save(
                tmp_path / path
            )
            rows.append((path, label, 0.5, f"{name}.safetensors"))
    columns = ["path", "label", "probability", "model"]
    pd.DataFrame(rows, columns=columns).to_csv(tmp_path / "manifest.csv", index=False)
    script.draw(tmp_path, tmp_path / "samples.png")
    with Image.open(tmp_path / "samples.png") as drawn:
        colours = {colour[:3] for _, colour in drawn.getcolors(1 << 20)}
    assert (0, 0, 255) in colours
    assert (255, 0, 0) not in colours


@pytest.fixture
def figures(script):
    import figures

    return figures


def test_a_report_is_read_for_the_figures(figures, tmp_path):
    (tmp_path / "curves.csv").write_text(
        "model,saliency,check,x,mean,ci_low,ci_high,n\n"
        "baseline.safetensors,gradient,discriminative,0.5,0.4,0.3,0.5,9\n"
        "baseline.safetensors,,density-profile,0.1,-1,-2,0,9\n"
    )
    (tmp_path / "summary.csv").write_text(
        "model,saliency,check,setting,mean\n"
        "baseline.safetensors,gradient,discriminative,points=25,0.3\n"
        "baseline.safetensors,sobel,discriminative,points=25,0.9\n"
        "baseline.safetensors,,density-profile-log-mean,sigma=0.1,0.2\n"
        "baseline.safetensors,,density-profile,sigma=0.1,-1\n"
    )
    found = figures.read(tmp_path)
    assert found[["training", "quantity", "value"]].to_numpy().tolist() == [
        ["baseline", figures.ACCURACY, 0.4],
        ["baseline", figures.AREA, 0.3],
        ["baseline", figures.RATIO, 0.2],
    ]
    assert found["x"].tolist()[2] == 0.1


def test_the_figures_claims_are_those_of_the_paper(figures):
    rank = {"anti-score-matching": 0, "baseline": 1, "score-matching": 2, "gradient-norm": 3}
    rows = [
        (figure, name, "gradient", figures.AREA, float("nan"), seed, 0.1 * place + 0.01 * seed)
        for figure in (figures.OWN, figures.CROSS)
        for name, place in rank.items()
        for seed in range(3)
    ]
    rows += [
        (figures.DENSITY, name, None, figures.RATIO, sigma, seed, sigma * (2 - place) + 0.01)
        for name, place in rank.items()
        for sigma in figures.SIGMAS
        for seed in range(3)
    ]
    found = pd.DataFrame(rows, columns=figures.COLUMNS)
    judged = figures.claims(found)
    assert judged["experiment"].tolist() == ["Figure 5a"] * 3 + ["Figure 5b"] * 3 + ["Figure 1"] * 4
    assert (judged["verdict"] == "agrees").all()
    assert judged["ours"].tolist() == pytest.approx([0.1, 0.2, 0.1] * 2 + [0.31, 0.1, 0.3, 0.6])
    means = figures.over_seeds(found)
    assert means["mean"][0] == pytest.approx(0.01)
    assert (means["n"] == 3).all()
