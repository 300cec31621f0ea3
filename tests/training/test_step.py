"""The one order of every objective: first what is steady, then what moves running statistics."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from saliency_audit.models import Classifier
from saliency_audit.seeding import generators
from saliency_audit.training import OBJECTIVES
from saliency_audit.training.step import Step, steady

REGULARISED = {
    "score-matching": {"weight": 1.0},
    "anti-score-matching": {"weight": 1.0, "tau": 1e9},
    "gradient-norm": {"weight": 1.0},
    "jacobian": {"weight": 1.0},
    "interpretation": {"weight": 1.0, "reduction": "per-sample"},
}


def step_of(model, images, labels, which):
    """One step of some of the images, each with its own random numbers."""
    names = [str(i) for i in which]
    return Step(
        model,
        images[which],
        labels[which],
        lambda purpose: generators(0, names, purpose),
        annotations=(images[which, 0] > 0.5).double(),
        targets=images[which],
    )


@pytest.mark.parametrize("name", REGULARISED)
def test_the_gradient_of_an_image_is_the_same_alone_and_in_a_batch(net, batch, name):
    images, labels = batch[0].double(), batch[1]

    def slope(which):
        # Statistics that every training pass moves; the terms are means over images.
        model = net(dropout=0.0).double()
        loss = OBJECTIVES[name].function(step_of(model, images, labels, which), **REGULARISED[name])
        weights = list(model.parameters())
        found = torch.autograd.grad(loss.terms[name], weights, materialize_grads=True)
        assert model.network[1].num_batches_tracked == 1
        return torch.cat([each.flatten() for each in found])

    alone = torch.stack([slope([i]) for i in range(5)]).mean(0)
    torch.testing.assert_close(slope(list(range(5))), alone, rtol=1e-9, atol=1e-12)
    assert alone.abs().max() > 1e-3


@pytest.mark.parametrize("name", OBJECTIVES)
def test_what_is_steady_sees_the_statistics_that_the_batch_found(net, batch, name):
    model, seen = net(), []
    norm = model.network[1]
    found = norm.running_mean.clone()

    def look(module, _):
        seen.append((module.training, torch.equal(module.running_mean, found)))

    norm.register_forward_pre_hook(look)
    OBJECTIVES[name].function(step_of(model, *batch, list(range(5))))
    assert [training for training, _ in seen].count(True) == 1
    assert all(before for _, before in seen)
    assert not torch.equal(norm.running_mean, found)
    assert norm.running_mean is dict(model.named_buffers())["network.1.running_mean"]


@pytest.mark.parametrize("name", ["pgd", "adversarial", "harmonise"])
def test_searches_take_the_same_steps_where_weights_are_trained_in_bf16(net, batch, name):
    options = {"steps": 3} if name != "harmonise" else {}
    found = []
    for precision in ("fp32", "bf16"):
        model = net()
        model.precision = precision
        given = []
        model.register_forward_pre_hook(
            lambda it, inputs, to=given: to.append((it.precision, inputs[0].detach()))
        )
        loss = OBJECTIVES[name].function(step_of(model, *batch, list(range(5))), **options)
        *searched, (trained_in, images) = given
        assert {at for at, _ in searched} == {"fp32"}
        assert trained_in == model.precision == precision
        found.append((images, loss.logits))
    (moved, logits), (again, coarse) = found
    assert torch.equal(moved, again)
    assert not torch.equal(logits, coarse)


@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize("one_mode", [False, True])
def test_regularisers_pass_through_activations_that_torch_differentiates_once(
    batch, one_mode, in_place
):
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(2, 4, 3), nn.Hardswish(in_place), nn.Conv2d(4, 4, 3), nn.Hardsigmoid(in_place),
        nn.Flatten(), nn.Linear(16, 3),
    )  # fmt: skip
    model = Classifier(network, input_shape=(2, 6, 6)).double()
    images, labels = batch[0].double(), batch[1]
    step = replace(step_of(model, images, labels, list(range(5))), one_mode=one_mode)
    options = {"weight": 1e3, "of": "loss"}

    def term():
        return OBJECTIVES["gradient-norm"].function(step, **options).terms["gradient-norm"]

    # Along a direction, against a difference of the term, which needs first derivatives alone.
    weights, small = network[2].weight, 1e-6
    (slope,) = torch.autograd.grad(term(), weights)
    direction, ends = torch.randn_like(weights), []
    for sign in (1, -2):
        with torch.no_grad():
            weights += sign * small * direction
        ends.append(term().detach())
    expected = (ends[0] - ends[1]) / (2 * small)
    torch.testing.assert_close((slope * direction).sum(), expected, rtol=1e-5, atol=1e-9)
    assert slope.abs().max() > 1e-3
    seen = model(images)
    with steady(model):
        torch.testing.assert_close(model(images), seen, rtol=1e-12, atol=1e-12)
