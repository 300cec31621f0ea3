"""What metrics and methods need: declared once, refused alike by `evaluate` and by a policy."""

import pytest
import torch
from torch import nn

from saliency_audit.catalogue.methods import METHODS, USUAL
from saliency_audit.catalogue.metrics import METRICS
from saliency_audit.catalogue.needs import NEEDS, lacking, takers
from saliency_audit.commands.evaluate.audit import evaluate
from saliency_audit.commands.gate.policy import read_policy
from saliency_audit.data import from_tensors
from saliency_audit.errors import InputError
from saliency_audit.models import Classifier

ASKED = [(name, need) for need in NEEDS for name, m in METRICS.items() if need in m.needs]
ENTRIES = [*METRICS.values(), *METHODS.values()]


def test_every_need_is_declared():
    named = {need for entry in ENTRIES for need in (*entry.needs, *entry.takes)}
    assert named - {"labels"} == set(NEEDS)
    assert all(need.option.name == name for name, need in NEEDS.items())
    assert all(callable(need.function) for need in NEEDS.values())


@pytest.mark.parametrize(("metric", "need"), ASKED)
def test_evaluate_names_what_is_missing(metric, need):
    model = Classifier(
        nn.Sequential(nn.Flatten(), nn.Linear(108, 3)), input_shape=(3, 6, 6), name="linear"
    )
    images = from_tensors(torch.rand(2, 3, 6, 6))
    with pytest.raises(InputError, match=f"--metric {metric} .*{NEEDS[need].option.flag} "):
        next(evaluate(model, images, metrics=[metric]))


@pytest.mark.parametrize(
    ("metric", "need"),
    [one for one in ASKED if METRICS[one[0]].of != "training" and not METRICS[one[0]].networks],
)
def test_a_policy_says_where_to_name_it(metric, need):
    text = f'[[check]]\nmetric = "{metric}"\nsaliency = "gradient"\nat_least = 0.5\n'
    table = NEEDS[need].table
    if NEEDS[need].by_default:
        assert read_policy(text, "policy.toml").checks
    else:
        said = rf"line 1: {metric} .*\[{table}\], such as {need} = "
        with pytest.raises(InputError, match=said):
            read_policy(text, "policy.toml")
    named = f'[{table}]\n{need} = "{NEEDS[need].example}"\n{text}'
    assert read_policy(named, "policy.toml").checks


def test_who_looks_at_a_need():
    assert takers("masker") == ["rt-sal"]
    assert {"known-answer", "roar", "rt-sal"} <= set(takers("train"))
    assert set(METHODS) - set(USUAL) == {"rt-sal"}


@pytest.mark.parametrize("key", ["masker", "masker_preset"])
def test_a_policy_names_a_masking_network_for_a_check_that_reads_it(key):
    check = '[[check]]\nmetric = "deletion"\nsaliency = "{}"\nbetter_than = "random"\n'
    named = f'[run]\n{key} = "{"short" if "preset" in key else "m.safetensors"}"\n'
    assert read_policy(named + check.format("rt-sal"), "policy.toml").run
    with pytest.raises(InputError, match=rf"{key} is in \[run\] for rt-sal, which no"):
        read_policy(named + check.format("gradient"), "policy.toml")


def test_what_is_there_is_not_lacking():
    metric = METRICS["stability"]
    assert [name for name, _ in lacking(metric, {"other": None})] == ["other"]
    assert not list(lacking(metric, {"other": object()}))


def test_data_that_brings_annotations_lacks_none():
    metric = METRICS["pointing-game"]
    assert not list(lacking(metric, {"data": "synthetic:hierarchy"}))
    for spec in ("mnist:synthetic", None):
        assert [name for name, _ in lacking(metric, {"data": spec})] == ["annotations"]
    text = '[[check]]\nmetric = "pointing-game"\nsaliency = "gradient"\nat_least = 0.5\n'
    assert read_policy(f'[data]\ndata = "synthetic:hierarchy"\n{text}', "policy.toml").checks
