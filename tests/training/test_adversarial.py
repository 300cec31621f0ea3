"""Adversarial training against closed forms, literal loops, and what it may not touch."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from saliency_audit.errors import InputError
from saliency_audit.models import Classifier
from saliency_audit.training.adversarial import adversarial
from saliency_audit.training.cross_entropy import cross_entropy
from saliency_audit.training.penalties import PENALTIES, Options

BALLS = {
    "l1": lambda change: change.abs().flatten(1).amax(1),
    "l2": lambda change: change.flatten(1).norm(dim=1),
    "linf": lambda change: change.abs().flatten(1).sum(1),
    "group": lambda change: F.avg_pool2d(change**2, 3).mul(9).sqrt().flatten(1).amax(1),
}
"""Size that each keeps within eps; groups of 3 x 3 pixels of the 6 x 6."""


def gradients(loss, model):
    model.zero_grad()
    torch.stack(list(loss.terms.values())).sum().backward()
    return [parameter.grad.clone() for parameter in model.parameters()]


def shown(model):
    """The images that the classifier is given from now on."""
    given = []
    model.register_forward_pre_hook(lambda module, inputs: given.append(inputs[0].detach()))
    return given


def marks():
    return torch.rand(5, 6, 6, generator=torch.Generator().manual_seed(2))


def slopes(model, images, labels):
    """Gradient of each image's own cross-entropy."""
    pixels = images.clone().requires_grad_()
    F.cross_entropy(model(pixels), labels, reduction="sum").backward()
    model.zero_grad()
    return pixels.grad


def test_l1_trains_on_the_images_of_the_fast_gradient_sign_method_bitwise(net, batch, step_of):
    model = net()
    images, labels = batch
    gradient = slopes(copy.deepcopy(model).eval(), images, labels)
    given = shown(model)
    loss = adversarial(step_of(model, *batch), penalty="l1", eps=0.03)
    assert torch.equal(given[-1], images + 0.03 * gradient.sign())
    expected = F.cross_entropy(loss.logits, labels)
    assert torch.equal(loss.terms["cross-entropy"].detach(), expected)
    assert float(loss.seen["map-norm"]) == pytest.approx(
        0.03 * float(gradient.abs().sum()) / 5, rel=1e-5
    )
    assert float(loss.seen["change"]) == pytest.approx(0.03 * 72**0.5, rel=1e-5)


@pytest.mark.parametrize(
    ("penalty", "options"),
    [
        (penalty, options)
        for penalty in (*BALLS, "weighted")
        for options in ({}, {"steps": 3}, {"clamp": True}, {"replay": 2})
        if (penalty, options) != ("weighted", {"replay": 2})  # is refused
    ],
)
def test_without_a_budget_it_is_plain_training_bitwise(net, batch, step_of, penalty, options):
    found = []
    for objective in (cross_entropy, adversarial):
        model = net()
        chosen = {"penalty": penalty, "eps": 0.0, "group": 4, **options}
        step = step_of(model, *batch, annotations=marks())
        torch.manual_seed(7)  # For dropout.
        for _ in range(2):
            loss = objective(step, **(chosen if objective is adversarial else {}))
            grads = gradients(loss, model)
            if loss.after:
                loss.after()
        found.append([*grads, *model.buffers(), loss.logits])
    assert all(map(torch.equal, *found))


@pytest.mark.parametrize("penalty", PENALTIES)
def test_to_first_order_it_adds_the_norm_of_the_map(net, batch, step_of, penalty):
    """Loss less penalty, and the gradient in the weights; halving eps quarters what is left."""
    model = net(plain=True).double()
    model.network[-1].weight.data *= 8  # So that the loss is curved.
    images, labels = batch[0].double(), batch[1]
    step = step_of(model, images, labels, annotations=marks().double())

    def gaps(eps):
        options = {"penalty": penalty, "eps": eps, "eps2": eps, "group": 4}
        chosen = PENALTIES[penalty].build(Options(eps, eps, 4, False, step.annotations))
        given = shown(model)
        loss = adversarial(step, **options)
        trained = gradients(loss, model)
        pixels = images.clone().requires_grad_()
        each = F.cross_entropy(model(pixels), labels, reduction="none")
        (slope,) = torch.autograd.grad(each.sum(), pixels, create_graph=True)
        norm = chosen.conjugate(slope)
        # Only the change as the penalty sees it: the difference of images has round-off.
        less = chosen.value(chosen.solution(slope.detach()))
        torch.testing.assert_close(given[1], images + chosen.solution(slope.detach()))
        model.zero_grad()
        total = (each + norm).mean()
        total.backward()
        regularised = [parameter.grad for parameter in model.parameters()]
        error = [(a - b).norm() for a, b in zip(trained, regularised, strict=True)]
        value = (loss.terms["cross-entropy"] - less.mean() - total).detach()
        # The norm is what makes the difference.
        assert float(norm.detach().mean()) > 100 * abs(float(value))
        return abs(float(value)), float(torch.stack(error).norm())

    coarse, fine = gaps(2e-4), gaps(1e-4)
    assert coarse[0] / fine[0] == pytest.approx(4, rel=0.05)
    assert coarse[1] / fine[1] == pytest.approx(4, rel=0.05)


@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize("momentum", [0.0, 1.0])
def test_steps_stay_in_the_ball_and_gain_on_the_closed_form(batch, step_of, penalty, momentum):
    torch.manual_seed(0)
    # Pixels saturate: what is best to move first is not what is best to move far.
    network = nn.Sequential(nn.Tanh(), nn.Flatten(), nn.Linear(72, 3)).double()
    network[-1].weight.data *= 8
    model = Classifier(network, input_shape=(2, 6, 6), mean=0.4, std=0.3)
    images, labels = batch[0].double(), batch[1]
    eps = 1.0 if penalty == "linf" else 0.2
    options = {"penalty": penalty, "eps": eps, "eps2": 0.02, "group": 3}
    step = step_of(model, images, labels, annotations=marks().double())
    chosen = PENALTIES[penalty].build(Options(eps, 0.02, 3, False, step.annotations))
    given = shown(model)

    def gained():
        each = F.cross_entropy(model(given[-1]), labels, reduction="none")
        # Round-off of images less images may leave what cannot move; it is no gain.
        change = chosen.prox(given[-1] - images, torch.zeros(5).double())
        return each.detach() - chosen.value(change)

    adversarial(step, **options)
    one = gained()
    adversarial(step, **options, steps=7, attack_momentum=momentum)
    if penalty in BALLS:
        size = BALLS[penalty](given[-1] - images)
        assert (size <= eps + 1e-9).all()
        assert size.max() > 0.95 * eps
    seven = gained()
    assert float(seven.mean()) > float(one.mean())
    if not momentum:
        assert (seven >= one - 1e-6).all()


def test_momentum_is_that_of_mi_fgsm(net, batch, step_of):
    model, eps = net(plain=True), 0.1
    images, labels = batch
    given = shown(model)
    options = {"penalty": "l1", "eps": eps, "steps": 4, "step_size": 0.03}
    adversarial(step_of(model, *batch), **options, attack_momentum=0.9)
    found = given[-1]
    moved = images + eps * slopes(model, images, labels).sign()
    velocity = torch.zeros_like(images)
    for _ in range(4):
        slope = slopes(model, moved, labels)
        velocity = 0.9 * velocity + slope / slope.abs().sum((1, 2, 3), keepdim=True)
        moved = images + (moved + 0.03 * velocity.sign() - images).clamp(-eps, eps)
    torch.testing.assert_close(found, moved)


def test_default_steps_are_those_of_the_paper(net, batch, step_of):
    default, given = {}, {}
    for name, size in (
        ("l1", 0.3 * 0.01), ("l2", 0.3), ("linf", 0.3), ("group", 0.3),
        ("elastic", 0.3 * (72 / 150528) ** 0.5), ("weighted", 0.3 * (72 / 150528) ** 0.5),
    ):  # fmt: skip
        for kept, step_size in ((default, None), (given, size)):
            model = net(plain=True)
            images = shown(model)
            step = step_of(model, *batch, annotations=marks())
            adversarial(step, penalty=name, steps=2, step_size=step_size)
            kept[name] = images[-1]
        assert torch.equal(default[name], given[name])


def test_clamped_images_stay_in_range_and_others_do_not(net, batch, step_of):
    model = net()
    images = batch[0].round()  # All pixels are at an end of the range.
    for steps in (1, 3):
        for clamp in (True, False):
            given = shown(model)
            step = step_of(model, images, batch[1])
            adversarial(step, penalty="l1", eps=0.1, steps=steps, clamp=clamp)
            inside = (given[-1] >= 0) & (given[-1] <= 1)
            assert bool(inside.all()) is clamp
            assert (given[-1] != images).any()


@pytest.mark.parametrize(("options", "passes"), [({}, 2), ({"steps": 3}, 5), ({"replay": 3}, 1)])
def test_inner_passes_are_as_many_as_said_and_leave_no_trace(net, batch, step_of, options, passes):
    model = net()
    model.network[1].eval()  # As --freeze-bn leaves it.
    modes = [module.training for module in model.modules()]
    frozen = copy.deepcopy(model.network[1].state_dict())
    seen_by_dropout = []
    dropout = next(module for module in model.modules() if isinstance(module, nn.Dropout))
    dropout.register_forward_hook(lambda module, *_: seen_by_dropout.append(module.training))
    before = model.passes
    adversarial(step_of(model, *batch), **options)
    assert model.passes - before == 5 * passes
    assert seen_by_dropout == [False] * (passes - 1) + [True]
    assert [module.training for module in model.modules()] == modes
    assert all(map(torch.equal, frozen.values(), model.network[1].state_dict().values()))
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize("options", [{}, {"steps": 3}, {"replay": 3}])
def test_batch_statistics_move_once_and_by_the_moved_images(net, batch, step_of, options):
    model = net()
    other = copy.deepcopy(model)
    given = shown(model)
    adversarial(step_of(model, *batch), **options)
    other(given[-1])
    assert int(model.network[1].num_batches_tracked) == 1
    assert all(map(torch.equal, model.buffers(), other.buffers()))


class Counted(nn.Module):
    """Counts the backward passes that reach the pixels."""

    def __init__(self, network):
        super().__init__()
        self.network, self.backwards = network, 0

    def forward(self, images):
        images = images.clone()
        if images.requires_grad:
            images.register_hook(self.count)
        return self.network(images)

    def count(self, gradient):
        self.backwards += 1


@pytest.mark.parametrize("penalty", ["l1", "l2"])
def test_free_training_is_the_literal_loop_with_one_backward_pass_a_step(
    net, batch, step_of, penalty
):
    m, eps, size, lr = 3, 0.1, 0.06, 0.5
    batches = [(batch[0].flip(k)[:n], batch[1][:n]) for k, n in ((0, 5), (1, 3), (3, 5))]
    model, literal = net(plain=True), net(plain=True).network
    counted = Counted(model.network)
    model = Classifier(counted, input_shape=(2, 6, 6), mean=0.4, std=0.3).train()
    memory = {}
    optimizer = torch.optim.SGD(model.parameters(), lr)
    plain = torch.optim.SGD(literal.parameters(), lr)
    change = torch.zeros(5, 2, 6, 6)
    for images, labels in batches:
        for _ in range(m):
            step = step_of(model, images, labels, memory=memory)
            options = {"penalty": penalty, "eps": eps, "step_size": size, "replay": m}
            loss = adversarial(step, **options)
            optimizer.zero_grad()
            loss.terms["cross-entropy"].backward()
            loss.after()
            optimizer.step()

            own = change[: len(images)].clone().requires_grad_()
            plain.zero_grad()
            F.cross_entropy(literal((images + own - 0.4) / 0.3), labels).backward()
            if penalty == "l1":
                updated = (own.detach() + size * own.grad.sign()).clamp(-eps, eps)
            else:
                unit = own.grad / own.grad.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
                updated = own.detach() + size * unit
                updated *= (eps / updated.flatten(1).norm(dim=1)).clamp_max(1).view(-1, 1, 1, 1)
            change[: len(images)] = updated
            plain.step()
    assert counted.backwards == m * len(batches)
    torch.testing.assert_close(memory["delta"], change)
    assert (memory["delta"].flatten(1).norm(dim=1) > 0.05).all()
    pairs = zip(counted.network.parameters(), literal.parameters(), strict=True)
    for found, expected in pairs:
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("penalty", ["l1", "l2", "linf", "group", "elastic"])
def test_free_training_starts_at_the_closed_form(net, batch, step_of, penalty):
    """The first update, of a full step, is the one-step solution at the images themselves."""
    model = net(plain=True)
    step = step_of(model, *batch)
    # Elastic has no radius to step: there the solution is the limit of long steps.
    size = 1e4 if penalty == "elastic" else None
    loss = adversarial(step, penalty=penalty, replay=2, step_size=size)
    loss.terms["cross-entropy"].backward()
    loss.after()
    slope = slopes(model, *batch)
    chosen = PENALTIES[penalty].build(Options(PENALTIES[penalty].eps, 0.05, 14, False, None))
    torch.testing.assert_close(step.memory["delta"], chosen.solution(slope), rtol=1e-3, atol=1e-6)
    assert float(loss.seen["change"]) == 0
    assert "map-norm" not in loss.seen


def test_free_training_takes_steps_of_the_radius_unless_told_otherwise(net, batch, step_of):
    def kept(step_size):
        memory, model = {}, net(plain=True)
        for shift in range(3):
            step = step_of(model, batch[0].roll(shift, 0), batch[1], memory=memory)
            loss = adversarial(step, eps=0.2, replay=2, step_size=step_size)
            loss.terms["cross-entropy"].backward()
            loss.after()
        return memory["delta"]

    assert torch.equal(kept(None), kept(0.2))
    assert not torch.equal(kept(None), kept(0.4))


def test_free_training_keeps_what_it_knows_when_a_larger_batch_comes(net, batch, step_of):
    model, (images, labels) = net(plain=True), batch
    memory = {}
    for count in (2, 5):
        known = {name: kept.clone() for name, kept in memory.items()}
        given = shown(model)
        step = step_of(model, images[:count], labels[:count], memory=memory)
        loss = adversarial(step, penalty="l1", replay=2, clamp=True)
        loss.terms["cross-entropy"].backward()
        loss.after()
    expected = images.clone()
    expected[:2] += known["delta"]
    assert torch.equal(given[0], expected.clamp(0, 1))
    assert memory["delta"].shape == images.shape
    assert not memory["delta"].requires_grad


def test_images_without_marks_are_not_moved_by_the_weighted_penalty(net, batch, step_of):
    model, marked = net(), marks()
    marked[1:] = 0
    given = shown(model)
    adversarial(step_of(model, *batch, annotations=marked), penalty="weighted")
    moved = (given[-1] != batch[0]).flatten(1).any(1)
    assert moved.tolist() == [True, False, False, False, False]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"penalty": "l3"}, "unknown penalty 'l3'"),
        ({"eps": -0.1}, "--eps is -0.1"),
        ({"eps": float("nan")}, "--eps is nan"),
        ({"steps": 0}, "--steps is 0"),
        ({"step_size": -1.0, "steps": 2}, "--step-size is -1"),
        ({"group": 0}, "--group is 0"),
        ({"replay": 0}, "--replay is 0"),
        ({"attack_momentum": -1.0, "steps": 2}, "--attack-momentum is -1"),
        ({"attack_momentum": 1.0}, "--attack-momentum is 1, but --steps is 1"),
        ({"replay": 4, "steps": 7}, "--steps is 7, but --replay 4"),
        ({"replay": 4, "penalty": "weighted"}, "give --replay 1"),
        ({"penalty": "elastic", "eps2": 0.0}, "--eps2 is 0"),
        ({"penalty": "weighted"}, "needs --annotations"),
    ],
)
def test_options_that_mean_nothing_are_named(net, batch, step_of, options, said):
    with pytest.raises(InputError, match=said) as refused:
        adversarial(step_of(net(), *batch), **options)
    assert "\n" not in str(refused.value)
