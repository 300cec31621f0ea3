"""A policy that can refuse nothing is refused itself."""

import pytest

from saliency_audit.assets import default_policy
from saliency_audit.commands.gate.policy import read_policy
from saliency_audit.commands.gate.teeth import refuse_toothless
from saliency_audit.errors import InputError

TOOTHLESS = {
    "the accuracy of guessing": "metric = 'accuracy'\nat_least = 0.01",
    "a control as the method": "metric = 'deletion'\nsaliency = 'random'\nat_most = 0.95",
    "another control": "metric = 'deletion'\nsaliency = 'sobel'\nat_most = 0.95",
    "what random maps reach": "metric = 'deletion'\nsaliency = 'gradcam'\nat_most = 0.95",
    "a picture too weak to see": (
        "trick = 'logit-shift'\nsaliency = 'gradient'\nverdict = 'unmoved'\nstrength = 1e-6"
    ),
    "a step that goes nowhere": (
        "attack = 'topk'\nsaliency = 'gradient'\nverdict = 'steady'\nstep_size = 1e-12\nsteps = 2"
    ),
    "every pixel": (
        "attack = 'topk'\nsaliency = 'gradient'\nverdict = 'steady'\nk = 784\nsteps = 2"
    ),
}
SHARP = {
    "accuracy": "metric = 'accuracy'\nbetter_than = 'chance'",
    "agreement": "metric = 'scalar-agreement'\nat_least = 0.5",
    "deletion": "metric = 'deletion'\nsaliency = 'gradcam'\nbetter_than = 'random'",
    "cascade": "metric = 'sanity-cascade'\nsaliency = 'gradient'\nat_most = 0.5\nstages = 2",
    "stability": "metric = 'stability'\nsaliency = 'gradient'\nat_least = 0.6",
    "a norm": "metric = 'gradient-norm-target'\nat_most = 30",
    "a trick": "trick = 'logit-shift'\nsaliency = 'gradcam'\nverdict = 'unmoved'",
    "an attack": "attack = 'topk'\nsaliency = 'gradcam'\nverdict = 'steady'\nsteps = 8",
    "a baseline": "metric = 'deletion'\nsaliency = 'gradcam'\nno_worse_than = 'baseline'",
}


def of(*checks):
    body = "".join(f"[[check]]\n{check}\n" for check in checks)
    other = "[run]\nother = 'second.pt2'\n" if "'stability'" in body else ""
    return read_policy(other + body, "policy.toml")


@pytest.mark.parametrize("check", TOOTHLESS.values(), ids=TOOTHLESS)
def test_what_everything_passes_is_refused(check):
    with pytest.raises(InputError, match=r"^policy.toml can refuse no model"):
        refuse_toothless(of(check))


@pytest.mark.parametrize("check", SHARP.values(), ids=SHARP)
def test_what_something_fails_is_a_policy(check):
    refuse_toothless(of(check))


def test_one_check_that_can_refuse_is_enough_and_a_warning_is_none():
    weak, sharp = TOOTHLESS["every pixel"], SHARP["accuracy"]
    refuse_toothless(of(weak, sharp))
    with pytest.raises(InputError, match="can refuse no model"):
        refuse_toothless(of(weak, f"{sharp}\nlevel = 'warn'"))


def test_the_default_policy_can_refuse():
    refuse_toothless(read_policy(default_policy(), "the default policy"))
