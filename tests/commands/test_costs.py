"""What a run takes is counted beforehand, and what is left out is chosen by it."""

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from saliency_audit import audits
from saliency_audit.catalogue.methods import METHODS
from saliency_audit.commands import costs
from saliency_audit.commands.attack.costs import economy as attack_economy
from saliency_audit.commands.costs import Passes, passes_of_map
from saliency_audit.commands.evaluate.costs import economy as evaluate_economy
from saliency_audit.commands.fool.costs import Economy
from saliency_audit.commands.fool.costs import economy as fool_economy
from saliency_audit.commands.quick import FirstLook, quickened
from saliency_audit.data import from_tensors
from saliency_audit.errors import InputError
from saliency_audit.models import Classifier, untrained
from saliency_audit.options import Given
from saliency_audit.seeding import generators
from tests.conftest import COLOURS, plain_cnn

SIDES = (8, 8)
DEAR = [
    *("smoothgrad", "smoothgrad-abs", "smoothgrad-squared", "vargrad"),
    *("integrated-gradients", "occlusion", "gradient-shap"),
]


DEAREST = ["sparsified-smoothgrad", "relex", "moreau", "sparse-moreau", "group-moreau"]


@pytest.fixture
def model() -> Classifier:
    return Classifier(plain_cnn(nn.ReLU), input_shape=(3, *SIDES), **COLOURS)


@pytest.fixture
def data():
    generator = torch.Generator().manual_seed(1)
    return from_tensors(torch.rand(5, 3, *SIDES, generator=generator), torch.arange(5))


@pytest.mark.parametrize("name", METHODS)
def test_the_passes_of_a_map(model, name):
    images = torch.rand(3, 3, *SIDES, generator=torch.Generator().manual_seed(2))
    few = {"samples": 4, "copies": 3, "iterations": 2, "proximal_steps": 2}
    known = {option.key for option in METHODS[name].options}
    options = {key: value for key, value in few.items() if key in known}
    draws = generators(0, ["a", "b", "c"], name, images.device)

    def made() -> int:
        before = model.passes
        METHODS[name].function(
            model, images, torch.zeros(3, dtype=torch.long), generators=draws, **options
        )
        return model.passes - before

    with model.audited():
        model.masker = untrained(model, images, width=4, seed=0)
        made()  # Grad-CAM looks for its layer once
        assert made() == (passes_of_map(name, options, SIDES, at_once=3) * 3).count


OF_FOOL = {"tricks": ["logit-shift"], "options": {"samples": 3}}
OF_ATTACK = {"options": {"samples": 3}, "search": {"steps": 3}, "k": 0.9}


@pytest.mark.parametrize(
    ("audit", "batch_size", "options"),
    [
        ("fool", 4, OF_FOOL | {"saliency": ["gradient", "smoothgrad", "random"]}),
        (
            "fool",
            64,
            OF_FOOL
            | {"saliency": ["smoothgrad", "gradient"], "saved": Economy(once=["smoothgrad"])},
        ),
        (
            "attack",
            64,
            OF_ATTACK
            | {"saliency": ["gradient"], "measure": ["vargrad"], "scalars": ["logit", "loss"]},
        ),
        ("attack", 5, OF_ATTACK | {"saliency": ["smoothgrad"], "measure": ["sobel"]}),
        ("evaluate", 4, {"options": {"samples": 3, "steps": 2}}),
        ("evaluate", 64, {"options": {"samples": 3}, "left_out": [("sanity-cascade", "gradcam")]}),
        (
            "evaluate",
            4,
            {
                "metrics": {
                    "level-coherence": {"level_draws": 3},
                    "completeness": {"midpoints": 3},
                },
                "saliency": ["gradient", "smoothgrad"],
                "options": {"samples": 3},
            },
        ),
    ],
)
def test_what_a_run_takes_is_known_before_it(model, data, audit, batch_size, options):
    expected: list[int] = []
    audits.table(
        getattr(audits, audit)(
            model,
            data,
            batch_size=batch_size,
            expect=lambda left: expected.append(model.passes + left.count),
            **options,
        )
    )
    assert expected == [model.passes]


def test_fool_leaves_out_by_cost():
    usual = {"first": "logit", "options": {}}
    small, large = (fool_economy(None, None, sides=(s, s), **usual) for s in (28, 224))
    assert (small.once, small.left_out) == (DEAR, DEAREST)
    assert large.once == ["smoothgrad", "integrated-gradients"]
    assert sorted([*large.once, *large.left_out]) == sorted([*DEAR, *DEAREST])
    assert "smoothgrad, integrated-gradients on logit alone" in large.note
    assert "--saliency all" in large.note
    # What is asked for is measured, and cheap maps are, too.
    assert fool_economy(["vargrad"], None, sides=(224, 224), **usual).left_out == ()
    few = fool_economy(None, ["logit", "loss"], sides=(28, 28), **usual)
    assert few.note.startswith("by their cost, sparsified-smoothgrad, relex, moreau, ")
    cheap = {"samples": 2, "copies": 2, "iterations": 2}
    assert fool_economy(
        None, ["loss"], first="loss", options={**cheap, "proximal_steps": 2}, sides=(28, 28)
    ) == Economy([], [], "")
    few = fool_economy(None, None, sides=(28, 28), first="logit", options={"samples": 5})
    assert few.once == ["integrated-gradients", "occlusion"]


def test_attack_leaves_out_by_cost():
    usual = {"by_default": ["gradient", "smoothgrad"], "options": {}}
    small, large = (attack_economy(None, None, sides=(s, s), **usual) for s in (28, 224))
    assert (small.unattacked, small.unmeasured) == ([], [*DEAR, *DEAREST])
    assert " smoothgrad, " not in small.note
    assert (large.unattacked, large.unmeasured) == (["smoothgrad"], [*DEAR, *DEAREST])
    assert "smoothgrad not attacked (--saliency NAME)" in large.note
    assert "--measure NAME, or all" in large.note
    assert attack_economy(["vargrad"], None, sides=(224, 224), **usual).unattacked == []
    assert attack_economy(None, ["all"], sides=(28, 28), **usual).note == ""


def test_evaluate_leaves_out_by_cost():
    usual = {"by_default": ["gradient", "smoothgrad"], "options": {}}
    assert evaluate_economy(None, None, sides=(28, 28), **usual) == ([], "")
    left_out, note = evaluate_economy(None, None, sides=(224, 224), **usual)
    assert left_out == [("sanity-cascade", "smoothgrad")]
    assert "--saliency smoothgrad --metric sanity-cascade" in note
    for asked in ((["deletion"], None), (None, ["smoothgrad"])):
        assert evaluate_economy(*asked, sides=(224, 224), **usual) == ([], "")


@pytest.mark.parametrize(
    ("command", "set_by_it"),
    [
        ("check", {"left out": 19}),
        ("fool", {"scalars": ["logit", "log-prob"], "method options": {"samples": 10}}),
        ("attack", {"search": {"steps": 5}}),
        ("evaluate", {"method options": {"samples": 10}}),
    ],
)
def test_a_first_look(run, monkeypatch, command, set_by_it):
    counts: list[int] = []
    monkeypatch.setattr(costs, "told", lambda count, seconds: counts.append(count) or "so many")
    ran = run(command, "--quick", "--max-samples", 2)
    assert ran.code == 0, ran.err
    assert "note --quick: " in ran.err
    assert "--max-samples" not in ran.err
    facts = json.loads(Path(f"saliency-audit-report/{command}/run.json").read_text())
    assert facts["images"] == 2
    if command != "check":
        assert "note so many" in ran.err
        assert "so many" not in str(facts)
        assert counts == [pytest.approx(facts["model_passes"], rel=0.05)]
    for name, value in set_by_it.items():
        found = facts["options"][name]
        assert (len(found) if isinstance(value, int) else found) == value


@pytest.mark.parametrize("more", ["", '[[check]]\nattack = "topk"\neps = "1/255"\n'])
def test_what_a_gate_takes_is_known_before_it(run, monkeypatch, more):
    counts: list[int] = []
    monkeypatch.setattr(costs, "told", lambda count, seconds: counts.append(count) or "so many")
    checks = {
        "accuracy": 'better_than = "chance"',
        "level-coherence": 'saliency = "gradient"\nlevel_draws = 3\nat_least = 0.5',
        "sanity-cascade": 'saliency = "gradient"\nstages = 2\nat_most = 0.9',
        "deletion": 'saliency = "smoothgrad"\nbetter_than = "random"',
    }
    texts = [f'[[check]]\nmetric = "{name}"\n{limit}\n' for name, limit in checks.items()]
    if more:
        more += 'saliency = "gradient"\nverdict = ["steady"]\n'
    Path("policy.toml").write_text(f"[data]\nmin_images = 8\n{''.join(texts)}{more}")
    given = ("--policy", "policy.toml", "--max-samples", 8, "--samples", 4)
    assert run("gate", *given).code in (0, 1)
    facts = json.loads(Path("saliency-audit-report/gate/run.json").read_text())
    # Methods are tried on an image before; passes of attacks are not known.
    assert counts == ([] if more else [pytest.approx(facts["model_passes"], rel=0.05)])


def test_what_is_given_goes_before_a_first_look():
    look = FirstLook({"samples": 10, "steps": 8}, ["smoothgrad"], {"saliency": METHODS})
    given = {"quick": True, "saliency": None, "samples": None, "steps": None}
    found, line = quickened(Given(**given), look)
    assert (found.samples, found.steps) == (10, 8)
    assert line == "--quick: --samples 10 --steps 8; of smoothgrad"
    # The gradient takes no samples: none are set that would do nothing.
    found, line = quickened(Given(**given | {"saliency": ["gradient"]}), look)
    assert (found.samples, line) == (None, "--quick: --steps 8")
    found, _ = quickened(Given(**given | {"steps": 3}, said=frozenset({"steps"})), look)
    assert found.steps == 3
    with pytest.raises(InputError, match="--preset"):
        quickened(Given(**given, preset="ghorbani"), look)
    assert quickened(Given(**given | {"quick": False}), look)[1] == ""


def test_passes_add_up():
    total = (Passes(forward=1) + Passes(gradient=2, second=1)) * 3
    assert total == Passes(3, 6, 3)
    assert total.count == 12
