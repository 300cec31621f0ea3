"""PGD training: the optimum of linear models, the budget, and what it may not touch."""

import copy

import pytest
import torch
from torch.nn import functional as F

from saliency_audit.errors import InputError
from saliency_audit.models import Classifier
from saliency_audit.training.cross_entropy import cross_entropy
from saliency_audit.training.pgd import pgd
from tests.conftest import Linear


def shown(model):
    """The images that the classifier is given from now on."""
    given = []
    model.register_forward_pre_hook(lambda module, inputs: given.append(inputs[0].detach()))
    return given


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("options", [{}, {"loss": "cw"}, {"attack_momentum": 1.0}])
def test_a_linear_model_is_trained_at_its_worst_images(step_of, norm, options):
    weight = torch.randn(2, 2, 6, 6, generator=torch.Generator().manual_seed(0))
    model = Classifier(Linear(weight, torch.zeros(2)), input_shape=(2, 6, 6))
    images, labels = torch.full((3, 2, 6, 6), 0.5), torch.tensor([0, 1, 0])
    eps = 0.05 if norm == "linf" else 0.4
    given = shown(model)
    # Of a random start in an L2 ball each step forgets half.
    pgd(step_of(model, images, labels), eps=eps, norm=norm, steps=20, step_size=eps, **options)
    away = (weight[1 - labels] - weight[labels]).flatten(1)
    unit = away.sign() if norm == "linf" else away / away.norm(dim=1, keepdim=True)
    expected = images + eps * unit.view_as(images)
    torch.testing.assert_close(given[-1], expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_it_is_the_literal_search(net, batch, step_of, norm):
    """Madry et al. without the library: five steps from the image, then plain training."""
    model, eps, size = net(), 0.1, 0.03
    network = copy.deepcopy(model).eval()
    images, labels = batch
    moved = images
    for _ in range(5):
        pixels = moved.clone().requires_grad_()
        F.cross_entropy(network(pixels), labels, reduction="sum").backward()
        if norm == "linf":
            moved = moved + size * pixels.grad.sign()
            moved = torch.min(torch.max(moved, images - eps), images + eps)
        else:
            unit = pixels.grad / pixels.grad.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
            change = moved + size * unit - images
            long = change.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
            moved = images + change * (eps / long).clamp_max(1)
        moved = moved.clamp(0, 1)
    given = shown(model)
    options = {"eps": eps, "norm": norm, "steps": 5, "step_size": size, "random_start": False}
    loss = pgd(step_of(model, *batch), **options)
    assert torch.equal(given[0], images)
    torch.testing.assert_close(given[-1], moved, rtol=0, atol=1e-6)
    assert torch.equal(loss.terms["cross-entropy"].detach(), F.cross_entropy(loss.logits, labels))
    assert list(loss.terms) == ["cross-entropy"]


def test_options_reach_the_search(net, batch, step_of):
    def found(**options):
        model = net()
        given = shown(model)
        pgd(step_of(model, *batch), eps=0.1, **options)
        return given[-1] - given[0]

    assert torch.equal(found(), found(step_size=2.5 * 0.1 / 7))
    assert not torch.equal(found(), found(step_size=0.1))
    assert not torch.equal(found(), found(attack_momentum=1.0))
    assert not torch.equal(found(), found(loss="cw"))
    assert found(loss="cw", kappa=1e3).abs().max() > 0
    # The loss is at its cap from the start.
    assert torch.equal(found(loss="cw", kappa=-1e3), torch.zeros_like(batch[0]))


@pytest.mark.parametrize(
    ("norm", "eps"),
    [(norm, eps) for norm in ("linf", "l2") for eps in (0.02, 0.5, 1.0)] + [("l2", 3.0)],
)
def test_budget_and_range_hold(net, batch, step_of, norm, eps):
    model = net()
    given = shown(model)
    pgd(step_of(model, batch[0].round(), batch[1]), eps=eps, norm=norm, steps=3)
    for images in given:
        change = (images - batch[0].round()).flatten(1)
        size = change.abs().amax(1) if norm == "linf" else change.norm(dim=1)
        assert (size <= eps + 1e-6).all()
        assert ((images >= 0) & (images <= 1)).all()
    assert (given[-1] != batch[0].round()).any()


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("random_start", [True, False])
def test_without_a_budget_it_is_plain_training_bitwise(net, batch, step_of, norm, random_start):
    found = []
    for objective, options in (
        (cross_entropy, {}),
        (pgd, {"eps": 0.0, "norm": norm, "random_start": random_start}),
    ):
        model = net()
        torch.manual_seed(7)  # For dropout.
        loss = objective(step_of(model, *batch), **options)
        loss.terms["cross-entropy"].backward()
        grads = [parameter.grad for parameter in model.parameters()]
        found.append([*grads, *model.buffers(), loss.logits])
    assert all(map(torch.equal, *found))


def test_the_start_is_drawn_for_each_image_from_the_seed(net, batch, step_of):
    starts = []
    for seed in (0, 0, 1):
        model = net()
        given = shown(model)
        pgd(step_of(model, *batch, seed=seed), eps=0.1)
        starts.append(given[0])
    assert torch.equal(starts[0], starts[1])
    assert (starts[0] != batch[0]).flatten(1).any(1).all()
    assert (starts[0] != starts[2]).flatten(1).any(1).all()


def test_the_search_leaves_no_trace(net, batch, step_of):
    model = net()
    other = copy.deepcopy(model)
    modes = [module.training for module in model.modules()]
    given, dropped = shown(model), []
    model.network[4].register_forward_hook(lambda module, *_: dropped.append(module.training))
    before = model.passes
    pgd(step_of(model, *batch))
    assert model.passes - before == 5 * 8
    assert dropped == [False] * 7 + [True]
    other(given[-1])
    assert int(model.network[1].num_batches_tracked) == 1
    assert all(map(torch.equal, model.buffers(), other.buffers()))
    assert [module.training for module in model.modules()] == modes
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"norm": "l1"}, "unknown norm 'l1'"),
        ({"loss": "hinge"}, "unknown loss 'hinge'"),
        ({"eps": -1.0}, "--eps is -1"),
        ({"steps": 0}, "--steps is 0"),
        ({"step_size": -1.0}, "--step-size is -1"),
        ({"attack_momentum": -1.0}, "--attack-momentum is -1"),
        ({"kappa": 50.0}, "--kappa is 50, but --loss is xent"),
    ],
)
def test_options_that_mean_nothing_are_named(net, batch, step_of, options, said):
    with pytest.raises(InputError, match=said):
        pgd(step_of(net(), *batch), **options)


def test_between_two_gaussians_it_turns_towards_the_difference_of_their_means(step_of):
    """P3 fig. 3. With Stein's lemma the optimum is w ~ (S + c I)^-1 m, with c = 0 at eps = 0."""
    draws = torch.Generator().manual_seed(0)
    labels = torch.arange(20_000) % 2
    mean, spread = torch.tensor([0.1, 0.1]), torch.tensor([0.05, 0.1])
    side = (2 * labels - 1)[:, None]
    points = side * mean + spread * torch.randn(len(labels), 2, generator=draws)
    images = (0.5 + points).view(-1, 1, 1, 2)

    def trained(eps):
        model = Classifier(
            Linear(torch.nn.Parameter(torch.zeros(2, 1, 1, 2)), torch.zeros(2)),
            input_shape=(1, 1, 2), mean=0.5, std=1.0,
        )  # fmt: skip
        # Of a linear model, the first step finds the worst image.
        options = {"eps": eps, "norm": "l2", "steps": 1, "step_size": eps, "random_start": False}
        optimizer = torch.optim.LBFGS(model.parameters(), max_iter=100)

        def loss():
            optimizer.zero_grad()
            value = pgd(step_of(model, images, labels), **options).terms["cross-entropy"]
            value.backward()
            return value

        optimizer.step(loss)
        return (model.network.weight[1] - model.network.weight[0]).detach().flatten()

    plain, robust = trained(0.0), trained(0.05)
    variance = spread.square()
    assert plain[0] / plain[1] == pytest.approx(float(variance[1] / variance[0]), rel=0.1)
    length = robust.norm()
    wrong = torch.sigmoid(0.05 * length - (side * points) @ robust)
    extra = wrong.mean() * 0.05 / (length * (wrong * (1 - wrong)).mean())
    expected = float((variance[1] + extra) / (variance[0] + extra))
    assert robust[0] / robust[1] == pytest.approx(expected, rel=0.1)
    assert robust[0] / robust[1] < 0.75 * plain[0] / plain[1]
