"""Every option that means nothing is found without measuring anything."""

import re

import pytest

from saliency_audit.commands.gate.fit import refuse_other_options, refuse_unfit
from saliency_audit.commands.gate.policy import read_policy
from saliency_audit.errors import InputError
from saliency_audit.metrics import METRICS

BAD = {
    ("deletion", "steps = 0"): "steps",
    ("preservation", "reduce = 'max'"): "reduce",
    ("insertion", "steps = 0"): "steps",
    ("deletion-gap", "fill = 'red'"): "fill",
    ("deletion", "fill = 1.5"): "fill",
    ("discriminative", "points = 1"): "points",
    ("density-perturbation", "points = 1"): "points",
    ("aopc", "regions = [5, 5000]"): "regions",
    ("aopc", "unit = 'row'"): "unit",
    ("aopc", ""): "regions",
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
    ("class-evidence", "explain_class = [1, 7]"): "explain_class",
    ("robust-accuracy", "eps = 0.001"): "eps",
    ("robust-accuracy", "attack_steps = 0"): "attack_steps",
    ("robust-accuracy", "restarts = 0"): "restarts",
    ("robust-accuracy", "norm = 'l1'"): "norm",
    ("density-profile", "sigma = [0.1, 0]"): "sigma",
}


SHAPE, CLASSES = (1, 8, 8), 3


def checks(name, option="", before=""):
    needs = METRICS[name].needs
    text = '[data]\nannotations = "x"\n' if "annotations" in needs else ""
    text += '[run]\nother = "x"\n' if "other" in needs else ""
    saliency = "" if METRICS[name].of == "model" else 'saliency = "gradient"\n'
    limit = "at_most" if METRICS[name].checks[name].higher_is_better is False else "at_least"
    return read_policy(
        f'{text}{before}[[check]]\nmetric = "{name}"\n{saliency}{limit} = 0.5\n{option}', "policy"
    ).checks


@pytest.mark.parametrize(("name", "option"), BAD)
def test_a_bad_option_is_found_by_its_key_and_line(name, option):
    # What no image could make right is refused as the policy is read.
    with pytest.raises(InputError) as problem:
        refuse_unfit(checks(name, option), SHAPE, CLASSES)
    key = BAD[name, option]
    assert re.match(rf"policy, line \d+: {key} is ", str(problem.value))


def test_good_options_are_none():
    for name, metric in METRICS.items():
        if metric.of in ("training", "samples") or metric.networks:
            continue  # no policy names these
        refuse_unfit(checks(name, "regions = [3]" if name == "aopc" else ""), SHAPE, CLASSES)


def test_the_check_that_gives_the_option_is_blamed_and_not_the_one_beside_it():
    good = '[[check]]\nmetric = "aopc"\nsaliency = "gradient"\nregions = 4\nat_least = 0.1\n'
    with pytest.raises(InputError, match=r"^policy, line 11: regions is 100; an image has 64"):
        refuse_unfit(checks("aopc", "regions = 100", before=good + "\n"), SHAPE, CLASSES)


def test_pictures_that_are_none(tmp_path):
    for kind, key in (
        ("trick = 'logit-shift'", "picture"),
        ("attack = 'structured'", "target_map"),
    ):
        text = f"[[check]]\n{kind}\nsaliency = 'gradient'\nverdict = 'undefined'\n"
        text = text.replace("'undefined'", "'unmoved'" if key == "picture" else "'steady'")
        policy = read_policy(f"{text}{key} = '{tmp_path / 'none.png'}'\n", "policy")
        with pytest.raises(InputError, match=rf"^policy, line 5: {key} .*no such file"):
            refuse_unfit(policy.checks, SHAPE, CLASSES)


def test_more_pixels_than_a_map_has():
    text = "[[check]]\nattack = 'topk'\nsaliency = 'gradient'\nverdict = 'steady'\nk = 100\n"
    with pytest.raises(InputError, match=r"^policy, line 5: k is .*100.*; give a share"):
        refuse_unfit(read_policy(text, "policy").checks, SHAPE, CLASSES)


@pytest.mark.parametrize(
    ("now", "then", "said"),
    [
        ({}, {"samples": 10}, "line 1: the baseline's maps of smoothgrad were made with --samples"),
        ({"samples": 10}, {}, "give --samples 50"),
        # What is usual there, and what the method does not take.
        ({}, {"samples": 50, "steps": 4}, ""),
        ({"samples": 10}, {"samples": 10}, ""),
    ],
)
def test_a_baseline_of_other_method_options_is_refused(now, then, said):
    text = '[[check]]\nmetric = "deletion"\nsaliency = {}\nno_worse_than = "baseline"\n'
    policy = read_policy(text.format('["gradient", "smoothgrad"]'), "policy")
    if said:
        with pytest.raises(InputError, match=said):
            refuse_other_options(policy.checks, now, then)
    else:
        refuse_other_options(policy.checks, now, then)
    of_gradient = read_policy(text.format('"gradient"'), "policy")
    refuse_other_options(of_gradient.checks, now, then)
