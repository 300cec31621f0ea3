"""The script of the toy example, on a network whose boundary is a line that is known."""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from saliency_audit.data.tilting import unit_points

EXAMPLE = Path(__file__).parent.parent / "examples" / "paper-3-adversarial-training"


@pytest.fixture
def tilt(monkeypatch):
    monkeypatch.syspath_prepend(str(EXAMPLE))
    for name in ("tilt", "networks"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    import tilt

    return tilt


def line(tilt, degrees):
    """A network whose boundary goes through 0 with a normal at this angle to the first axis."""
    model = tilt.ToyMlp()
    normal = torch.tensor([np.cos(np.radians(degrees)), np.sin(np.radians(degrees))]).float()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        model[1].weight[0], model[1].weight[1] = normal, -normal
        model[3].weight[0, 0], model[3].weight[0, 1] = 1, -1
    return model


@pytest.mark.parametrize(("degrees", "expected"), [(4.764, 0), (24.764, 20), (-15.236, 20)])
def test_tilt_is_the_angle_to_the_line_between_the_means(tilt, degrees, expected):
    points, labels = unit_points(200, seed=0, split="test")
    assert tilt.tilt(line(tilt, degrees), points, labels) == pytest.approx(expected, abs=0.05)


def test_the_best_boundary_has_the_tilt_of_the_closed_form(tilt):
    # Inverse covariance times the difference of the means, by hand: 1e4 (0.0068, 0.044).
    expected = np.degrees(np.arctan2(0.044, 0.0068) - np.arctan2(0.2, 2.4))
    assert tilt.best() == pytest.approx(expected, abs=1e-6)


def test_verdicts_go_by_the_interval_of_the_difference(tilt):
    rows = [
        (name, seed, 1.0, base + seed, 5.0 + (seed if name == "weak" else 0), 2.0)
        for name, base in (("standard", 30.0), ("weak", 10.0), ("strong", 12.0))
        for seed in range(3)
    ]
    found = pd.DataFrame(rows, columns=["network", "seed", *tilt.NUMBERS])
    judged = tilt.claims(found).set_index("claim")
    # Tilts differ by 20 and -2 on every seed; steps of strong and weak by 0, -1 and -2.
    boundary, step = tilt.NUMBERS["tilt"], tilt.NUMBERS["step_tilt"]
    less, still = "adversarial training: less of it", "a stronger adversary: still less"
    assert list(judged.loc[f"{less}: {boundary}", ["ours", "verdict"]]) == [20, "agrees"]
    assert list(judged.loc[f"{still}: {boundary}", ["ours", "verdict"]]) == [-2, "contradicts"]
    assert list(judged.loc[f"{still}: {step}", ["ours", "verdict"]]) == [1, "not shown"]
    assert judged.loc[f"{still}: {step}", "ci_high"] == pytest.approx(3.484, abs=1e-3)
    assert "| standard training | 1.000 ± 0.000 | 31.0 ± 2.5 |" in tilt.table(found)
