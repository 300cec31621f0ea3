"""Every option that means nothing is found without measuring anything."""

from hashlib import sha256

import pytest
import torch
from torch import nn

from saliency_audit.commands.gate.policy import read_policy
from saliency_audit.commands.gate.rehearsal import rehearse
from saliency_audit.commands.gate.runs import plan
from saliency_audit.errors import InputError
from saliency_audit.metrics import METRICS
from saliency_audit.models import Classifier

BAD = {
    ("deletion", "steps = 0"): "steps",
    ("preservation", "reduce = 'max'"): "reduce",
    ("insertion", "steps = 0"): "steps",
    ("deletion-gap", "fill = 'red'"): "fill",
    ("deletion", "fill = 1.5"): "fill",
    ("discriminative", "points = 1"): "points",
    ("density-perturbation", "points = 1"): "points",
    ("aopc", "counts = [5, 5000]"): "counts",
    ("aopc", "unit = 'row'"): "unit",
    ("aopc", ""): "counts",
    ("sanity-cascade", "draws = 0"): "draws",
    ("sanity-cascade", "stages = -1"): "stages",
    ("sanity-cascade", "randomise = 'anew'"): "randomise",
    ("sanity-independent", "stages = -1"): "stages",
    ("stability", "k = 1.5"): "k",
    ("stability", "pixels = 'some'"): "pixels",
    ("gaze-overlap", "top = [0.1, 2]"): "top",
    ("max-sensitivity", "radius = 0"): "radius",
    ("max-sensitivity", "perturbations = 0"): "perturbations",
    ("infidelity", "sigma = 0"): "sigma",
    ("infidelity", "perturbations = 0"): "perturbations",
    ("class-evidence", "classes = [1, 7]"): "classes",
    ("robust-accuracy", "eps = 0.001"): "eps",
    ("robust-accuracy", "attack_steps = 0"): "attack_steps",
    ("robust-accuracy", "restarts = 0"): "restarts",
    ("robust-accuracy", "norm = 'l1'"): "norm",
    ("density-profile", "sigmas = [0.1, 0]"): "sigmas",
}


@pytest.fixture
def model():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(72, 3))
    return Classifier(net.eval(), input_shape=(1, 8, 8)).requires_grad_(False)


def checks(name, option="", before=""):
    needs = METRICS[name].needs
    text = '[data]\nannotations = "x"\n' if "annotations" in needs else ""
    text += '[run]\nother = "x"\n' if "other" in needs else ""
    saliency = "" if METRICS[name].of == "model" else 'saliency = "gradient"\n'
    limit = "at_most" if METRICS[name].checks[name].higher_is_better is False else "at_least"
    return read_policy(
        f'{text}{before}[[check]]\nmetric = "{name}"\n{saliency}{limit} = 0.5\n{option}', "policy"
    ).checks


def tried(checks, model):
    beside = {"other": model, "annotations": None}
    runs = plan(checks)
    rehearse(runs, model, None, classes=3, beside=beside, batch_size=4, target="predicted", seed=0)


def weights(model):
    digest = sha256()
    for value in model.state_dict().values():
        digest.update(value.numpy().tobytes())
    return digest.hexdigest()


@pytest.mark.parametrize(("name", "option"), BAD)
def test_a_bad_option_is_found_by_its_key_and_line(model, name, option):
    try:
        found = checks(name, option)
    except InputError:
        return  # what is no choice at all is refused as the policy is read
    before = weights(model)
    with pytest.raises(InputError) as problem:
        tried(found, model)
    key = BAD[name, option]
    line = found[0].lines.get(key, found[0].line)
    assert str(problem.value).startswith(f"policy, line {line}: {key} is ")
    assert weights(model) == before


def test_good_options_cost_nearly_nothing_and_change_nothing(model):
    before = weights(model)
    for name in METRICS:
        given = "counts = [3]" if name == "aopc" else ""
        tried(checks(name, given), model)
    assert weights(model) == before
    assert model.passes <= len(METRICS)


def test_the_check_that_gives_the_option_is_blamed_and_not_the_one_beside_it(model):
    good = '[[check]]\nmetric = "preservation"\nsaliency = "gradient"\nsteps = 4\nat_least = 0.1\n'
    with pytest.raises(InputError, match=r"^policy, line 11: steps is 0"):
        tried(checks("deletion", "steps = 0", before=good + "\n"), model)
