"""The comparison with peers: what it calls the same, and that the whole script runs."""

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch

EXAMPLE = Path(__file__).parent.parent / "examples" / "peers"


@pytest.fixture
def agreement(monkeypatch):
    monkeypatch.syspath_prepend(str(EXAMPLE))
    import agreement

    yield agreement.agreement
    sys.modules.pop("agreement")


def test_round_off_is_the_same_at_any_scale(agreement):
    values = torch.linspace(-1, 1, 9)
    for scale in (1e-8, 1.0, 1e8):
        ours, theirs = scale * values, scale * (values + 1e-6)
        found = agreement(ours, theirs)
        assert found.same
        assert found.share == 0
        assert found.difference == pytest.approx(1e-6, rel=0.1)


def test_one_entry_of_many_is_seen(agreement):
    theirs = torch.ones(4, 25)
    ours = theirs.clone()
    ours[2, 3] = 1.25
    assert agreement(ours, theirs) == (0.25, 0.01, False)


def test_what_is_undefined_agrees_with_itself_alone(agreement):
    nan, inf = torch.nan, torch.inf
    theirs = torch.tensor([nan, inf, -inf, 2.0])
    assert agreement(theirs.clone(), theirs) == (0, 0, True)
    for place in range(3):
        ours = theirs.clone()
        ours[place] = 2.0
        assert agreement(ours, theirs) == (inf, 0.25, False)
    assert agreement(torch.full((2,), nan), torch.zeros(2)) == (inf, 1, False)
    assert agreement(torch.zeros(2), torch.zeros(2)).same


def test_other_shapes_are_refused(agreement):
    with pytest.raises(ValueError, match=r"\(2, 1\) and \(2,\)"):
        agreement(torch.zeros(2, 1), torch.zeros(2))


@pytest.mark.slow
@pytest.mark.peer
def test_the_script_finds_the_same_numbers_wherever_it_should(tmp_path):
    for package in ("quantus", "foolbox", "art", "pytorch_grad_cam"):
        pytest.importorskip(package, reason="needs examples/peers/requirements.txt")
    ran = subprocess.run(
        [sys.executable, EXAMPLE / "peers.py", "--quick"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
    rows = pd.read_csv(tmp_path / "peers.csv", keep_default_na=False)
    should = rows[rows["why"] == ""]
    assert len(should) >= 10
    assert set(should["numbers"]) == {"same"}
