"""``fool --against``: the forger and the gate in one command."""

from pathlib import Path

import pandas as pd
import pytest

OUT = Path("saliency-audit-report/fool")
FEW = ("--saliency", "gradient", "--scalar", "logit", "--max-samples", 8, "--trick", "logit-shift")
POLICY = """
[data]
max_samples = 16
[[check]]
metric = "accuracy"
better_than = "chance"
{more}
"""
AGREES = '[[check]]\nmetric = "scalar-agreement"\nat_least = 0.5\n'


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (AGREES, "releases the model as given, and refuses 1 of 1 forgeries."),
        ("", "refuses 0 of 1 forgeries; it releases logit-shift.pt2."),
    ],
)
def test_the_table_says_which_check_refuses_which_forgery(run, more, said):
    Path("policy.toml").write_text(POLICY.format(more=more))
    ran = run("fool", *FEW, "--against", "policy.toml")
    assert ran.code == 0, ran.err
    assert said in " ".join(ran.out.split())
    table = pd.read_csv(OUT / "against" / "red-team.csv").set_index(["model", "check"])["status"]
    assert table["as given", "accuracy"] == table["logit-shift.pt2", "accuracy"] == "passed"
    if more:
        assert table["as given", "scalar-agreement"] == "passed"
        assert table["logit-shift.pt2", "scalar-agreement"] == "failed"
    assert (OUT / "against" / "red-team.png").stat().st_size > 1000
    assert "logit-shift.pt2" in (OUT / "against" / "red-team.md").read_text()


@pytest.mark.parametrize(
    ("policy", "said"),
    [
        (None, "--against is 'policy.toml'; give a policy's file, or default"),
        ("[[check]]\nmetrik = 1", "policy.toml, line 2: unknown key of [[check]] 'metrik'"),
        ('[[check]]\nmetric = "accuracy"\nno_worse_than = "baseline"', "add --baseline FILE"),
        # What only the model tells: on 28 x 28 pixels there are not as many regions.
        (
            '[[check]]\nmetric = "aopc"\nsaliency = "gradient"\nat_least = 0.1\nregions = 999',
            "policy.toml, line 5",
        ),
    ],
)
def test_a_policy_that_is_none_is_refused_before_anything_is_forged(run, policy, said):
    if policy is not None:
        Path("policy.toml").write_text(policy)
    ran = run("fool", *FEW, "--against", "policy.toml")
    assert ran.code == 2
    assert said in " ".join(ran.err.split())
    assert not OUT.exists()


def test_several_processes_are_refused(run, monkeypatch):
    for name, value in (("WORLD_SIZE", "2"), ("RANK", "0")):
        monkeypatch.setenv(name, value)
    ran = run("fool", *FEW, "--against", "default")
    assert ran.code == 2
    assert "--against runs in one process" in ran.err
    assert not OUT.exists()
