"""One rule: the same map gets the same word, for the same reason, from every command."""

import pytest
import torch
from torch import nn

from saliency_audit import audits
from saliency_audit.catalogue.entries import SaliencyMethod
from saliency_audit.commands.fail_on import refusal
from saliency_audit.commands.finetune.verdict import finetune_verdicts
from saliency_audit.commands.gate.audit import judge
from saliency_audit.commands.gate.policy import PolicyCheck
from saliency_audit.commands.gate.runs import plan
from saliency_audit.data import from_tensors
from saliency_audit.methods import METHODS
from saliency_audit.metrics import CHECKS
from saliency_audit.models import Classifier
from saliency_audit.stats.paired import between_models, differences
from saliency_audit.stats.summary import summarise

DIRECTIONS = {name: check.higher_is_better for name, check in CHECKS.items()}


def planted(fault, bad):
    """The image as its map; of the first ``bad`` images the fault instead."""

    def maps(model, images, targets, *, names, scalar, generators, batch_size):
        hit = torch.tensor([name.isdigit() and int(name) < bad for name in names])
        if fault == "raise" and bool(hit.any()):
            raise ValueError("no luck")
        value = {"zero": 0.0, "constant": 2.0}.get(fault, torch.nan)
        return images.masked_fill(hit.view(-1, 1, 1, 1), value)

    return SaliencyMethod(maps, "of the test", differentiable=False)


def data(n, labelled=True):
    images = torch.rand(n, 1, 6, 6, generator=torch.Generator().manual_seed(1))
    labels = torch.arange(n) % 3 if labelled else torch.full((n,), -1)
    return from_tensors((images * 255).round() / 255, labels)


def network(seed, name):
    torch.manual_seed(seed)
    layers = nn.Sequential(nn.Flatten(), nn.Linear(36, 8), nn.ReLU(), nn.Linear(8, 3))
    return Classifier(layers, input_shape=(1, 6, 6), name=name)


def of_evaluate(images, **more):
    frame = audits.table(
        audits.evaluate(
            network(0, "net"),
            images,
            models=[network(1, "finetuned")],
            metrics={"deletion": {"steps": 2}},
            saliency=["planted"],
            **more,
        )
    )
    yield "evaluate", _words(_evaluated(frame), "verdict")
    summary = summarise(frame, higher_is_better=DIRECTIONS)
    words = finetune_verdicts(summary, between_models(frame), frame)
    yield "finetune", _words(words, "word")
    first = frame[frame["model"] == "net"]
    check = PolicyCheck("metric", "deletion", "planted", "logit", "better_than", "random")
    yield "gate", _judged(check, first, len(images), differences(first))


def of_fool(images, **more):
    frame = audits.table(
        audits.fool(
            network(0, "net"),
            images,
            tricks=["logit-shift"],
            saliency=["planted"],
            scalars=["logit"],
            **more,
        )
    )
    summary = summarise(frame, higher_is_better=DIRECTIONS)
    kept = audits.all_kept(audits.kept_promises(frame, audits.bounds({"logit-shift": {}})))
    yield "fool", _words(audits.fool_verdicts(summary, kept, frame), "verdict")
    check = PolicyCheck("trick", "logit-shift", "planted", "logit", "verdict", ("unmoved",))
    yield "gate of a trick", _judged(check, frame, len(images))


def of_attack(images, **more):
    frame = audits.table(
        audits.attack(
            network(0, "net"),
            images,
            attacks=["topk"],
            saliency=["planted"],
            measure=["planted"],
            scalars=["logit"],
            k=4,
            search={"rule": "evolution", "steps": 1, "population": 2},
            **more,
        )
    )
    summary = summarise(frame, higher_is_better=DIRECTIONS, controls=audits.attack_controls(frame))
    yield "attack", _words(audits.attack_verdicts(summary, frame), "verdict")
    check = PolicyCheck("attack", "topk", "planted", "logit", "verdict", ("steady", "shifted"))
    yield "gate of an attack", _judged(check, frame, len(images))


def _evaluated(frame):
    summary = summarise(frame, higher_is_better=DIRECTIONS)
    return audits.evaluate_verdicts(summary, differences(frame), frame)


def _words(verdicts, column):
    own = verdicts[verdicts["saliency"] == "planted"]
    assert len(own)
    # So any command's --fail-on refuses.
    assert refusal("any", own[column], ()) is not None
    return set(zip(own[column], own["reason"], strict=True))


def _judged(check, frame, images, apart=None):
    (run,) = plan([check])
    controls = audits.attack_controls(frame) if run.kind == "attack" else None
    summary = summarise(frame, higher_is_better=DIRECTIONS, controls=controls)
    outcome = judge(check, frame, summary, apart, classes=3, images=images)
    assert outcome.effect == "refuse"
    return {(outcome.status, outcome.message)}


@pytest.mark.parametrize(
    ("n", "fault", "bad", "reason"),
    [
        (8, "zero", 3, "zero on 3 of 8"),
        (9, "constant", 1, "constant on 1 of 9"),
        (8, "nan", 4, "NaN on 4 of 8"),
        (7, "zero", 0, "7 images, 8 needed"),
        (8, "raise", 8, "failed: ValueError: no luck"),
        (8, "raise", 3, "failed on 3 of 8: ValueError: no luck"),
        (8, "no label", 0, "no labels"),
    ],
)
@pytest.mark.parametrize("audit", [of_evaluate, of_fool, of_attack])
def test_every_command_has_the_same_word_and_reason(monkeypatch, audit, n, fault, bad, reason):
    monkeypatch.setitem(METHODS, "planted", planted(fault, bad))
    images = data(n, labelled=fault != "no label")
    more = {"target": "label"} if fault == "no label" else {}

    found = dict(audit(images, **more))

    assert found == {command: {("undefined", reason)} for command in found}
