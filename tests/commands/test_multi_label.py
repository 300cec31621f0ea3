"""Every command on outputs with a sigmoid each: its numbers computed again, word by word."""

import re
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torch import nn

from saliency_audit.attacks.pgd import pgd
from saliency_audit.audits import attack, clean_accuracy, evaluate, file_of, fool, table
from saliency_audit.commands.check.audit import check
from saliency_audit.data import from_tensors
from saliency_audit.errors import UnsupportedError
from saliency_audit.models import Classifier, input_gradient, reload
from saliency_audit.outputs import MULTI_LABEL
from saliency_audit.seeding import generators
from tests.conftest import COLOURS, Linear, plain_cnn

CLASSES = 5


def sigmoid(logits):
    return 1 / (1 + (-logits.double()).exp())


@pytest.fixture
def model():
    network = plain_cnn(nn.ReLU, classes=CLASSES)
    # So that some outputs are on, some off, in ways that differ from image to image.
    pixels = torch.rand(64, 3, 12, 16, generator=torch.Generator().manual_seed(9))
    mean, std = (torch.tensor(COLOURS[key]).view(3, 1, 1) for key in ("mean", "std"))
    with torch.no_grad():
        network[-1].bias.sub_(network((pixels - mean) / std).median(0).values)
        network[-1].weight.mul_(4)
        network[-1].bias.mul_(4)
    return Classifier(
        network.requires_grad_(False), input_shape=(3, 12, 16), outputs=MULTI_LABEL, **COLOURS
    )


@pytest.fixture
def data():
    levels = torch.randint(256, (8, 3, 12, 16), generator=torch.Generator().manual_seed(6))
    return from_tensors(levels.float() / 255, torch.arange(8) % CLASSES)


@pytest.fixture
def images(data):
    return torch.stack([data[i].image for i in range(8)])


def values(rows, check, **where):
    chosen = rows[rows["check"] == check]
    for column, value in where.items():
        chosen = chosen[chosen[column] == value]
    return torch.tensor(chosen["value"].astype(float).to_numpy())


def test_the_sets_of_the_toy_differ(model, images):
    """What follows tells a softmax from sigmoids on this model."""
    sets = model(images) > 0
    assert len({tuple(one) for one in sets.tolist()}) > 4
    gap = (sigmoid(model(images)) - model(images).double().softmax(1)).abs()
    assert float(gap.amax(1).min()) > 0.05


def test_fool(model, data, images, tmp_path):
    tricks = ["logit-shift", "loss-sine"]
    found = fool(
        model, data, tricks=tricks, saliency=["gradient"], folder=tmp_path, skip_impossible=True
    )
    rows = table(found)
    before = model(images)
    with torch.no_grad():
        after = reload(tmp_path / "loss-sine.pt2", model)(images)
    assert set(rows["setting"]) == {"stage=before", "trick=loss-sine;form=per-class;eps=0.001"}
    assert not {"accuracy", "scalar-agreement"} & set(rows["check"])
    kept = ((after > 0) == (before > 0)).all(1).double()
    assert torch.equal(values(rows, "prediction-kept"), kept)
    p, q = sigmoid(after), sigmoid(before)
    change = values(rows, "prob-change")
    torch.testing.assert_close(change, (p - q).abs().amax(1), rtol=0, atol=1e-12)
    assert 1e-4 < float(change.max()) <= 2.5e-4 + 1e-6  # tanh(0.001 / 4)
    targets = before.argmax(1, keepdim=True)
    loss = (p.log() - q.log()).gather(1, targets)[:, 0].abs()
    torch.testing.assert_close(values(rows, "loss-change"), loss, rtol=1e-6, atol=1e-12)


def test_fool_refuses_what_a_sigmoid_sees(model, data):
    with pytest.raises(UnsupportedError, match="sees the shift, so it is not free"):
        list(fool(model, data, tricks=["logit-shift"], saliency=["gradient"]))
    with pytest.raises(UnsupportedError, match="explain logit, log-prob, prob, loss"):
        list(fool(model, data, scalars=["margin"], saliency=["gradient"]))


def test_evaluate(model, data, images):
    metrics = {"deletion": {"steps": 3, "fill": "0"}, "retrieval": {"fill": "0"}}
    rows = table(evaluate(model, data, metrics=metrics, saliency=["gradient"]))
    before = model(images)
    targets = before.argmax(1)
    gradient = input_gradient(model, images, targets)
    relevance = gradient.double().abs().mean(1).flatten(1)
    order = relevance.argsort(1, descending=True)
    curve = []
    for share in range(4):
        pixels = images.clone().flatten(2)
        for i, own in enumerate(order):
            pixels[i, :, own[: round(share / 3 * len(own))]] = 0
        shown = sigmoid(model(pixels.view_as(images)))
        curve.append(shown.gather(1, targets[:, None])[:, 0])
    area = sum((a + b) / 6 for a, b in pairwise(curve))
    found = values(rows, "deletion", saliency="gradient")
    torch.testing.assert_close(found, area, rtol=0, atol=1e-6)
    shown = gradient.abs().mean(1)
    low, top = shown.amin((1, 2)), shown.flatten(1).double().quantile(0.99, dim=1)
    opacity = ((shown - low[:, None, None]) / (top - low)[:, None, None]).clamp(max=1).float()
    seen = model(images * opacity.unsqueeze(1))
    kept = ((seen > 0) == (before > 0)).all(1).double()
    assert torch.equal(values(rows, "retrieval", saliency="gradient"), kept)


@pytest.mark.parametrize(
    "name", ["accuracy", "robust-accuracy", "discriminative", "scalar-agreement", "class-evidence"]
)
def test_what_needs_one_right_class_is_refused(model, data, name):
    with pytest.raises(UnsupportedError, match=f"^{name} needs classes that exclude") as caught:
        list(evaluate(model, data, metrics=[name], saliency=["gradient"]))
    assert "\n" not in str(caught.value)


def test_nobody_counts_right_answers(model, data):
    clean = clean_accuracy(model, data, batch_size=8)
    assert (clean.n, clean.right, clean.accuracy, clean.at_chance) == (0, 0, None, False)
    rows = table(check(model, data, saliency=["gradient"]))
    assert "accuracy" not in set(rows["check"])


def test_attack(model, data, images, tmp_path):
    found = attack(
        model,
        data,
        attacks=["topk", "pgd"],
        saliency=["gradient"],
        measure=["gradient"],
        eps=[8 / 255],
        search={"steps": 6},
        folder=tmp_path,
    )
    rows = table(found)
    before = model(images) > 0
    for name, scalar in (("topk", "logit"), ("pgd", "")):
        own = rows[rows["setting"].str.startswith(f"attack={name};")]
        setting = own["setting"].iloc[0]
        pictures = [
            Image.open(tmp_path / "images" / file_of(one, setting, scalar)) for one in data.names
        ]
        pixels = torch.stack(
            [torch.from_numpy(np.asarray(one).copy()).permute(2, 0, 1) / 255 for one in pictures]
        )
        same = ((model(pixels) > 0) == before).all(1)
        kept = values(own, "prediction-kept", setting=setting)
        assert torch.equal(kept, same.double())
        if name == "pgd":
            assert torch.equal(values(own, "attack-success", setting=setting), 1 - kept)
            assert float(kept.sum()) < 8
        else:
            assert float(kept.sum()) == 8


def test_cw_turns_the_output_that_is_nearest():
    weight = torch.randn(3, 1, 6, 6, generator=torch.Generator().manual_seed(1))
    images = torch.full((1, 1, 6, 6), 128 / 255)
    eps, reach = 4 / 255, weight.flatten(1).abs().sum(1) * 4 / 255
    z = torch.stack([2 * reach[0], -0.95 * reach[1], -3 * reach[2]])
    at = (weight * images).flatten(1).sum(1)
    for factor, changed in ((1.0, True), (1.1, False)):
        toy = Classifier(
            Linear(weight, factor * z - at), input_shape=(1, 6, 6), outputs=MULTI_LABEL
        )
        moved = pgd(
            toy, None, None, images, torch.zeros(1, dtype=torch.long),
            eps=eps, steps=10, loss="cw", from_random=False, generators=generators(0, "a", "pgd"),
        )  # fmt: skip
        expected = [True, changed, False]
        assert (toy(moved) > 0)[0].tolist() == expected


POLICY = """[data]
outputs = "multi-label"
[[check]]
metric = "deletion"
saliency = "gradient"
steps = 4
at_most = 0.9
[[check]]
{}
"""


@pytest.mark.parametrize(
    ("refused", "why"),
    [
        ('metric = "accuracy"\nbetter_than = "chance"', "accuracy needs classes that exclude"),
        (
            'trick = "logit-shift"\nsaliency = "gradient"\nverdict = "unmoved"',
            "logit-shift needs classes that exclude",
        ),
        (
            'metric = "sanity-cascade"\nsaliency = "gradient"\nscalar = "margin"\nat_most = 0.5',
            "margin compares classes",
        ),
    ],
)
def test_a_gate_refuses_a_policy_that_asks_for_it(run, refused, why):
    Path("policy.toml").write_text(POLICY.format(refused))
    ran = run("gate", "--policy", "policy.toml", "--max-samples", 8)
    assert ran.code == 2
    assert re.search(rf"policy\.toml, line 8: ({why})", ran.err.replace("\n", " "))


def test_a_policy_is_tried_on_forgeries(run):
    Path("policy.toml").write_text(
        '[[check]]\nmetric = "level-coherence"\nsaliency = "gradient"\nat_least = 0.5\n'
        '[[check]]\nmetric = "completeness"\nat_most = 0.5\n'
    )
    few = ("--saliency", "gradient", "--scalar", "logit", "--max-samples", 8)
    ran = run("fool", "--outputs", "multi-label", "--trick", "level-ripple", *few,
              "--against", "policy.toml")  # fmt: skip
    assert ran.code == 0, ran.err
    assert re.search(r"level-ripple.pt2 +refused +level-coherence", ran.out)


def test_the_default_policy_has_nothing_of_it(run):
    ran = run("gate", "--print-policy", "--outputs", "multi-label")
    assert ran.code == 0
    assert not re.search('metric = "(accuracy|scalar-agreement)"', ran.out)
    assert len(re.findall(r"^\[\[check\]\]", ran.out, re.M)) == 6


def test_check_lists_the_outputs_above_one_half(run):
    ran = run("check", "--outputs", "multi-label", "--saliency", "gradient", "--max-samples", 8)
    assert ran.code == 0, ran.err
    assert "sigmoid of its own (multi-label)" in ran.out
    assert "clean accuracy: undefined" in ran.err
    said = pd.read_csv("saliency-audit-report/check/says.csv")
    assert said["confidence"].min() > 0.5 or said["says"].isna().any()


def test_no_command_trains(run):
    for command in (("finetune", "--objective", "cross-entropy"), ("fool", "--trick", "finetune")):
        ran = run(*command, "--outputs", "multi-label")
        assert ran.code == 2
        assert "training needs the set of all that is there" in ran.err
