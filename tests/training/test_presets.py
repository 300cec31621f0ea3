from inspect import Parameter, signature

import pytest
import torch
from torch import nn

from saliency_audit.catalogue.training_presets import PRESETS
from saliency_audit.errors import lookup
from saliency_audit.models import Classifier, surrogate
from saliency_audit.seeding import generators
from saliency_audit.training import OBJECTIVES, Step
from saliency_audit.training.optimise import optimizer, schedule
from saliency_audit.training.teacher_maps import teacher_maps

RECIPE = {
    *("epochs", "lr", "optimizer", "schedule", "batch_size", "momentum", "weight_decay"),
    *("augment", "surrogate", "beta"),
}

# As the papers and their code print them, in the papers' units.
NORMALISED = 0.225
PRINTED = {
    "p0": {"weight": 1e-3, "mu": 1e-4, "sigma": 0.01, "draws": 1, "lr": 0.1, "epochs": 200},
    "p0-sweep": {"weight": 1e-5, "mu": 1e-3, "sigma": 0.01, "draws": 1, "momentum": 0.9},
    "p0-anti": {"weight": 1e-4, "tau": 1000, "batch_size": 128, "weight_decay": 5e-4},
    "p0-anti-code": {"weight": 1e-5, "tau": 10_000, "sigma": 0.001, "draws": 1},
    "p0-gradient-norm": {"weight": 1e-3, "of": "logit", "reduction": "squared", "beta": 10},
    "p1-l1": {"eps": 0.01 * NORMALISED, "steps": 1, "lr": 3e-4, "batch_size": 16},
    "p1-group": {"eps": 0.01 * NORMALISED, "steps": 1, "group": 14, "weight_decay": 1e-4},
    "p1-elastic": {"eps": 0.01 * NORMALISED, "eps2": 0.05 * NORMALISED**2, "epochs": 200},
    "p1-iterative": {"eps": 0.01 * NORMALISED, "steps": 7, "step_size": 0.003 * NORMALISED},
    "p1-free": {"eps": 4 / 255, "step_size": 4 / 255, "replay": 4, "steps": 1},
    "p3-l2": {"eps": 2 / 2, "steps": 40, "step_size": 2 / 2, "norm": "l2", "lr": 1e-3},
    "p3-linf": {"eps": 0.1 / 2, "steps": 40, "step_size": 0.02 / 2, "batch_size": 100},
    "p4-adversarial": {"eps": 1.5, "steps": 40, "step_size": 0.5, "norm": "l2", "lr": 0.01},
    "p4-jacobian": {"weight": 0.01, "projections": 1, "batch_size": 64},
    "p4-interpretation": {"weight": 0.07, "samples": 50, "sigma": 0.15, "threshold": 1},
    "p4-permuted": {"weight": 0.05, "samples": 50, "threshold": 1, "permute": True},
    "p4-non-robust": {"weight": 0.33, "sigma": 0.15, "threshold": 1, "permute": False},
}


def options_of(function: object) -> set[str]:
    parameters = signature(function).parameters.values()
    return {p.name for p in parameters if p.kind is Parameter.KEYWORD_ONLY}


def test_every_preset_is_known_here():
    assert PRESETS.keys() == PRINTED.keys()


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_says_what_exists_and_has_the_printed_numbers(name):
    preset = PRESETS[name]
    objective = lookup("objective", OBJECTIVES, preset.objective)
    assert preset.options.keys() <= options_of(objective.function)
    assert preset.recipe.keys() <= RECIPE
    assert preset.teacher.keys() <= options_of(teacher_maps)
    assert bool(preset.teacher) == ("targets" in objective.needs)
    together = {**preset.options, **preset.recipe, **preset.teacher}
    for option, value in PRINTED[name].items():
        if isinstance(value, str | bool):
            assert together[option] == value
        else:
            assert together[option] == pytest.approx(value, rel=1e-12), option
    assert preset.summary
    assert len(preset.summary) <= 100
    assert preset.deviations.endswith(".")


@pytest.mark.parametrize("name", PRESETS)
def test_a_recipe_can_be_built(name):
    recipe = PRESETS[name].recipe
    assert recipe["augment"] in ("none", "flip-crop")
    assert ("momentum" in recipe) == (recipe["optimizer"] == "sgd")
    optim = optimizer(
        [nn.Parameter(torch.ones(1))],
        name=recipe["optimizer"],
        lr=recipe["lr"],
        weight_decay=recipe["weight_decay"],
        **{key: recipe[key] for key in ("momentum",) if key in recipe},
    )
    assert optim.param_groups[0]["weight_decay"] == recipe["weight_decay"]
    schedule(optim, name=recipe["schedule"], steps=recipe["epochs"])
    if OBJECTIVES[PRESETS[name].objective].smooth:
        assert recipe["surrogate"] == "softplus"
    if "surrogate" in recipe:
        surrogate(nn.ReLU(), recipe["surrogate"], beta=recipe["beta"])


@pytest.mark.parametrize("name", PRESETS)
def test_the_objective_takes_the_options(name):
    preset = PRESETS[name]
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(1, 3, 5, stride=4), nn.ReLU(), nn.Flatten(), nn.Linear(108, 3)
    )
    activation = ("softplus", preset.recipe["beta"]) if "beta" in preset.recipe else None
    model = Classifier(network, input_shape=(1, 28, 28), activation=activation).train()
    step = Step(
        model,
        torch.rand(2, 1, 28, 28),
        torch.tensor([0, 2]),
        lambda purpose: generators(0, ["a", "b"], purpose),
        one_mode=True,
        targets=torch.rand(2, 1, 28, 28) if preset.teacher else None,
    )
    loss = OBJECTIVES[preset.objective].function(step, **preset.options)
    total = torch.stack(list(loss.terms.values())).sum()
    total.backward()
    assert total.isfinite()
    assert all(weight.grad.isfinite().all() for weight in network.parameters())
