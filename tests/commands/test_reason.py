"""What does not hold for a model is left out or refused, with its reason; no run ends by it."""

from dataclasses import replace
from functools import wraps

import pytest
import torch
from torch import nn

from saliency_audit import audits
from saliency_audit.attacks import ATTACKS
from saliency_audit.commands.explain import FEW
from saliency_audit.commands.reason import refusing
from saliency_audit.data import from_tensors
from saliency_audit.errors import AuditError, InputError, UnsupportedError
from saliency_audit.metrics import METRICS
from saliency_audit.models import Classifier
from tests.conftest import COLOURS, plain_cnn

REASON = "it failed with RuntimeError: no one may watch"


class Shy(nn.ReLU):
    """Raises when anything hooks it, as layers of other libraries do for reasons of their own."""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        if self._forward_hooks:
            raise RuntimeError("no one may watch")
        return super().forward(inputs)


@pytest.fixture
def model():
    return Classifier(plain_cnn(Shy), input_shape=(3, 12, 16), **COLOURS)


@pytest.fixture
def data():
    images = torch.rand(3, 3, 12, 16, generator=torch.Generator().manual_seed(1))
    return from_tensors((images * 255).round() / 255, torch.tensor([0, 1, 2]))


def raising(error):
    def function(*_, **__):
        raise error

    return function


def test_evaluate_leaves_the_method_out_and_measures_the_others(model, data):
    told = []
    found = audits.table(
        audits.evaluate(model, data, metrics=["deletion"], options=FEW, tell=told.append)
    )

    assert f"gradcam left out: {REASON}" in told
    assert set(found["saliency"]) == {
        *("gradient", "smoothgrad", "integrated-gradients", "random", "sobel"),
    }
    assert (found["status"] == "ok").all()


@pytest.mark.parametrize("audit", [audits.evaluate, audits.fool])
def test_a_method_that_was_asked_for_is_refused(audit, model, data):
    with pytest.raises(UnsupportedError, match=f"^--saliency gradcam: {REASON}"):
        next(audit(model, data, saliency=["gradient", "gradcam"], options=FEW))


def test_fool_leaves_methods_and_tricks_out(model, data, monkeypatch):
    told = []
    monkeypatch.setattr(
        "saliency_audit.commands.fool.audit.forge", raising(RuntimeError("no one may watch"))
    )
    found = audits.fool(
        model, data, tricks=["logit-shift"], options=FEW, skip_impossible=True, tell=told.append
    )
    with pytest.raises(UnsupportedError, match="no trick can be played"):
        next(found)

    assert f"logit-shift left out: {REASON}" in told
    assert f"gradcam left out: {REASON}" in told


def test_attack_leaves_methods_and_attacks_out(model, data, monkeypatch):
    broken = replace(ATTACKS["pgd"], code=raising(RuntimeError("no one may watch")))
    monkeypatch.setitem(ATTACKS, "pgd", broken)
    told = []

    def attack(attacks, **options):
        return audits.table(
            audits.attack(
                model,
                data,
                attacks=attacks,
                options=FEW,
                search={"steps": 2},
                tell=told.append,
                **options,
            )
        )

    found = attack(["topk", "pgd"], saliency=["gradient"])

    assert f"pgd left out: {REASON}" in told
    assert f"gradcam left out: {REASON}" in told
    assert found["setting"].str.contains("attack=topk").any()
    assert not found["setting"].str.contains("attack=pgd").any()
    with pytest.raises(
        UnsupportedError, match=f"no attack can be run on model: pgd left .*{REASON}"
    ):
        attack(["pgd"], measure=["gradient"])


def test_a_metric_that_fails_says_so_in_its_rows_and_the_others_go_on(model, data, monkeypatch):
    # What a run takes is told from the options of the metric.
    failing = wraps(METRICS["deletion"].function)(raising(RuntimeError("no one may watch")))
    monkeypatch.setitem(METRICS, "deletion", replace(METRICS["deletion"], code=failing))
    found = audits.table(
        audits.evaluate(model, data, metrics=["deletion", "preservation"], saliency=["gradient"])
    )

    failed = found[found["check"] == "deletion"]
    assert (failed["status"] == "error").all()
    assert (failed["setting"] == f"reason={REASON}").all()
    assert (found[found["check"] == "preservation"]["status"] == "ok").all()


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("too many"),
        MemoryError(),
        KeyboardInterrupt(),
        OSError(28, "No space left on device"),
        InputError("there is no such layer"),
        AuditError("the memory does not even hold one image"),
    ],
)
def test_what_is_not_the_methods_fault_passes(error):
    with pytest.raises(type(error)) as passed, refusing():
        raise error

    assert passed.value is error


def test_an_error_keeps_its_cause_for_debug():
    with pytest.raises(UnsupportedError) as refused, refusing():
        raise IndexError("three\nlines\nof it")

    assert str(refused.value) == "it failed with IndexError: three lines of it"
    assert isinstance(refused.value.__cause__, IndexError)
