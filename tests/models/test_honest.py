"""Every honest file loads: refusing what could run code must refuse nothing that people have."""

import pytest
import torch

from saliency_audit.models import load
from tests.models.honest import (
    FORMS,
    NETWORKS,
    REFUSED,
    TOYS,
    Honest,
    logits_of,
    unwritable,
    write,
)

QUICK_NETWORKS = ("resnet18", "vit", "timm lcnet_050")
QUICK_FORMS = (
    "exported", "exported decomposed", "scripted", "traced", "frozen", "quantised dynamic",
)  # fmt: skip
QUICK_EXPORTED = (
    "Branches", "Conditional", "Constants", "DictOutput", "Elementwise", "Lists", "OddNames",
    "ScaledAttention", "Unused", "WithAutocast", "WithInference",
)  # fmt: skip
# The forms that every architecture is tried in; some are tried in all of them.
MAIN_FORMS = (
    "exported", "exported decomposed", "exported any size", "scripted", "traced", "frozen",
    "traced frozen", "quantised dynamic",
)  # fmt: skip
IN_ALL_FORMS = ("resnet18", "vit", "mobilenet_v2", "swin", "timm resnet10t", "timm levit_128s")
TOY_FORMS = (
    "exported", "exported strict", "exported decomposed", "exported signatures",
    "exported without gradients", "scripted", "traced", "frozen", "traced frozen", "lite",
    "mobile", "quantised dynamic",
)  # fmt: skip


def pairs(names, forms, *, without=()):
    return [
        pytest.param(name, form, marks=_marks(name, form), id=f"{name}-{form}".replace(" ", "_"))
        for name in names
        for form in forms
        if (name, form) not in without and not unwritable(name, form)
    ]


def _marks(name, form):
    why = REFUSED.get((name, form))
    return () if why is None else pytest.mark.xfail(reason=why, strict=False)


def check(honest: Honest, form: str, path) -> None:
    images, expected = write(honest, form, path)
    model = load(str(path), size=honest.side)
    with torch.no_grad():
        logits = logits_of(model.network(images))
    assert torch.allclose(logits, expected, atol=1e-4, rtol=1e-3)
    assert expected.isfinite().all()


QUICK = pairs(QUICK_NETWORKS, QUICK_FORMS)
QUICK_TOYS = pairs(TOYS, ("scripted", "traced")) + pairs(QUICK_EXPORTED, ("exported",))


@pytest.mark.parametrize(("name", "form"), QUICK)
def test_networks_load(name, form, tmp_path):
    check(NETWORKS[name], form, tmp_path / "m.pt")


@pytest.mark.parametrize(("name", "form"), QUICK_TOYS)
def test_ways_of_writing_a_forward_pass_load(name, form, tmp_path):
    check(TOYS[name], form, tmp_path / "m.pt")


def _rest(pairs, quick):
    done = {tuple(pair.values) for pair in quick}
    return [pair for pair in pairs if tuple(pair.values) not in done]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "form"),
    _rest(
        pairs(NETWORKS, MAIN_FORMS)
        + pairs(IN_ALL_FORMS, [form for form in FORMS if form not in MAIN_FORMS]),
        QUICK,
    ),
)
def test_every_network_loads_in_every_form(name, form, tmp_path):
    path = tmp_path / "m.pt"
    check(NETWORKS[name], form, path)
    path.unlink()  # they are large


@pytest.mark.slow
@pytest.mark.parametrize(("name", "form"), _rest(pairs(TOYS, TOY_FORMS), QUICK_TOYS))
def test_every_way_of_writing_a_forward_pass_loads_in_every_form(name, form, tmp_path):
    check(TOYS[name], form, tmp_path / "m.pt")
