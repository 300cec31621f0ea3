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


def test_what_is_no_policy_is_told_before_anything_is_forged(run):
    ran = run("fool", *FEW, "--against", "nowhere.toml")
    assert ran.code == 2
    assert "--against is 'nowhere.toml'; give a policy's file, or default" in ran.err
    assert not OUT.exists()
