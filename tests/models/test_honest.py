"""Every honest file loads: refusing what could run code must refuse nothing that people have."""

import warnings

import pytest
import torch

from saliency_audit.errors import InputError
from saliency_audit.models import load
from tests.models.honest import (
    FORMS,
    NETWORKS,
    REFUSED,
    TOYS,
    UNFLATTEN,
    logits_of,
    unwritable,
    write,
)

QUICK_NETWORKS = {
    "resnet18": ("scripted", "traced", "frozen"),
    "vit": ("exported", "scripted", "quantised dynamic"),
    "squeezenet1_1": ("exported", "exported without gradients", "traced frozen"),
    "quantizable resnet18": ("quantised static",),
}
QUICK_EXPORTED = (
    "Branches", "Conditional", "Constants", "DictOutput", "Elementwise", "Lists", "OddNames",
    "ScaledAttention", "Unused", "WithAutocast", "WithInference",
)  # fmt: skip
# The forms that every architecture is tried in, those that most are, and those few in all forms.
MAIN_FORMS = ("exported", "scripted")
MORE_FORMS = ("exported decomposed", "traced", "frozen", "traced frozen", "quantised dynamic")
IN_MORE_FORMS = (
    *(name for name in NETWORKS if not name.startswith(("timm", "quantizable"))),
    "timm lcnet_050", "timm ghostnet_050", "timm edgenext_xx_small", "timm mixer_s32_224",
    "timm vit_tiny_patch16_224", "timm poolformer_s12", "timm regnetx_002", "timm resnest14d",
    "timm repvgg_a0",
)  # fmt: skip
IN_ALL_FORMS = ("resnet18", "vit", "mobilenet_v2", "timm resnet10t", "timm levit_128s")
QUANTISED_FORMS = tuple(form for form in FORMS if form.endswith("quantised static"))
# Where the size of the image may vary: of others torch takes minutes to say that it may not.
ANY_SIZE = (
    "resnet18", "mobilenet_v2", "squeezenet1_1", "densenet121", "regnet_y_400mf", "convnext_tiny",
    "timm resnet10t", "timm regnetx_002",
)  # fmt: skip
TOY_FORMS = (
    "exported", "exported strict", "exported decomposed", "exported signatures",
    "exported without gradients", "scripted", "traced", "frozen", "traced frozen", "lite",
    "quantised dynamic",
)  # fmt: skip


def pairs(names, forms):
    return [
        pytest.param(name, form, id=f"{name}-{form}".replace(" ", "_"))
        for name in names
        for form in forms
        if not unwritable(name, form) and ("any size" not in form or name in ANY_SIZE)
        if name in TOYS or name.startswith("quantizable") or "static" not in form
    ]


def check(name: str, form: str, path, *, skip: bool = False) -> None:
    """Write a file, load it, compare; those that are refused with a reason are.

    With ``skip`` what torch does not write is skipped: that depends on its version.
    """
    honest = NETWORKS.get(name) or TOYS[name]
    try:
        images, expected = write(honest, form, path)
    except Exception as error:
        if not skip:
            raise
        pytest.skip(f"not written: {type(error).__name__}: {' '.join(str(error).split())[:100]}")
    if REFUSED.get((name, form)) == UNFLATTEN:
        pytest.skip(UNFLATTEN)
    if (name, form) in REFUSED:
        with pytest.raises((InputError, RuntimeError)):
            load(str(path), size=honest.side).network(images)
        return
    model = load(str(path), size=honest.side)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logits = logits_of(model.network(images))
    assert expected.isfinite().all()
    assert torch.allclose(logits, expected, atol=1e-4, rtol=1e-3)


QUICK = [pair for name, forms in QUICK_NETWORKS.items() for pair in pairs([name], forms)]
QUICK_TOYS = pairs(TOYS, ("scripted", "traced")) + pairs(QUICK_EXPORTED, ("exported",))


@pytest.mark.parametrize(("name", "form"), QUICK)
def test_networks_load(name, form, tmp_path):
    check(name, form, tmp_path / "m.pt")


@pytest.mark.parametrize(("name", "form"), QUICK_TOYS)
def test_ways_of_writing_a_forward_pass_load(name, form, tmp_path):
    check(name, form, tmp_path / "m.pt")


def _rest(pairs, quick=()):
    """Once each, without those done quickly."""
    seen = {pair.id for pair in quick}
    return [pair for pair in pairs if pair.id not in seen and not seen.add(pair.id)]


SLOW = _rest(
    pairs(NETWORKS, MAIN_FORMS)
    + pairs(IN_MORE_FORMS, MORE_FORMS)
    + pairs(ANY_SIZE, ["exported any size", "exported any size decomposed"])
    + pairs(IN_ALL_FORMS, FORMS)
    + pairs([name for name in NETWORKS if name.startswith("quantizable")], QUANTISED_FORMS),
    QUICK,
)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "form"), SLOW)
def test_every_network_loads_in_every_form(name, form, tmp_path):
    path = tmp_path / "m.pt"
    if name.startswith("timm"):
        pytest.importorskip("timm")
    check(name, form, path, skip=True)
    path.unlink()  # they are large


@pytest.mark.slow
@pytest.mark.parametrize(("name", "form"), _rest(pairs(TOYS, TOY_FORMS), QUICK_TOYS))
def test_every_way_of_writing_a_forward_pass_loads_in_every_form(name, form, tmp_path):
    check(name, form, tmp_path / "m.pt", skip=True)
