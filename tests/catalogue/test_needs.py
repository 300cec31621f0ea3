"""What metrics need: declared once, and refused alike by `evaluate` and by a policy."""

import pytest
import torch
from torch import nn

from saliency_audit.catalogue.metrics import METRICS
from saliency_audit.catalogue.needs import NEEDS, lacking, takers
from saliency_audit.commands.evaluate.audit import evaluate
from saliency_audit.commands.gate.policy import read_policy
from saliency_audit.data import from_tensors
from saliency_audit.errors import InputError
from saliency_audit.models import Classifier

ASKED = [(name, need) for need in NEEDS for name in takers(need) if need in METRICS[name].needs]


def test_every_need_of_a_metric_is_declared():
    named = {need for entry in METRICS.values() for need in (*entry.needs, *entry.takes)}
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
    ("metric", "need"), [one for one in ASKED if METRICS[one[0]].of != "training"]
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


def test_what_is_there_is_not_lacking():
    metric = METRICS["stability"]
    assert [name for name, _ in lacking(metric, {"other": None})] == ["other"]
    assert not list(lacking(metric, {"other": object()}))
