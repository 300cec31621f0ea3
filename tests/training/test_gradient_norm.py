"""Gradient norms against closed forms on linear networks."""

import math

import pytest
import torch
from torch import nn

from saliency_audit.errors import InputError
from saliency_audit.models import Classifier
from saliency_audit.training.cross_entropy import cross_entropy
from saliency_audit.training.gradient_norm import gradient_norm

LABELS = torch.tensor([0, 2, 2, 1])


@pytest.fixture
def images():
    return torch.rand(4, 1, 2, 3, generator=torch.Generator().manual_seed(0)).double()


@pytest.fixture
def softmax_regression():
    torch.manual_seed(1)
    network = nn.Sequential(nn.Flatten(), nn.Linear(6, 3)).double()
    return Classifier(network, input_shape=(1, 2, 3))


def weight_of(model):
    return model.network[1].weight


def slope_of(term, model):
    (slope,) = torch.autograd.grad(term, weight_of(model), retain_graph=True)
    return slope


def test_logit_of_a_linear_network(softmax_regression, images, step_of):
    model, weight = softmax_regression, 0.3
    loss = gradient_norm(step_of(model, images, LABELS, one_mode=True), weight=weight)
    rows = weight_of(model).detach()
    lengths = rows.square().sum(1)[LABELS]
    torch.testing.assert_close(loss.terms["gradient-norm"].detach(), weight / 2 * lengths.mean())
    torch.testing.assert_close(loss.seen["mean-gradient-norm"], lengths.sqrt().mean())
    counts = torch.bincount(LABELS).unsqueeze(1)
    torch.testing.assert_close(
        slope_of(loss.terms["gradient-norm"], model), weight * counts * rows / 4
    )


def test_norms_are_per_pixel_value(images, step_of):
    # Pixel units: a network behind a normalisation by 0.5 has gradients twice as long.
    network = nn.Sequential(nn.Flatten(), nn.Linear(6, 3)).double()
    plain = Classifier(network, input_shape=(1, 2, 3))
    scaled = Classifier(network, input_shape=(1, 2, 3), mean=0.3, std=0.5)
    short, long = (
        gradient_norm(step_of(model, images, LABELS, one_mode=True)).seen["mean-gradient-norm"]
        for model in (plain, scaled)
    )
    torch.testing.assert_close(long, 2 * short)


@pytest.mark.parametrize("reduction", ["squared", "per-sample", "minibatch"])
def test_loss_of_softmax_regression(softmax_regression, images, step_of, reduction):
    # (p - e_y) W for each image, whose graph is made here without a second derivative.
    model = softmax_regression
    step = step_of(model, images, LABELS, one_mode=True)
    loss = gradient_norm(step, weight=2.0, of="loss", reduction=reduction)
    rest = model(images).softmax(1) - nn.functional.one_hot(LABELS, 3)
    norms = (rest @ weight_of(model)).norm(dim=1)
    expected = (
        2
        * {
            "squared": norms.square().mean() / 2,
            "per-sample": norms.mean(),
            "minibatch": norms.square().sum().sqrt(),
        }[reduction]
    )
    torch.testing.assert_close(loss.terms["gradient-norm"], expected)
    torch.testing.assert_close(loss.seen["mean-gradient-norm"], norms.mean().detach())
    torch.testing.assert_close(
        slope_of(loss.terms["gradient-norm"], model), slope_of(expected, model)
    )


def test_minibatch_is_root_n_times_per_sample_at_equal_norms(softmax_regression, images, step_of):
    def term(labels, reduction, weight):
        step = step_of(softmax_regression, images, labels, one_mode=True)
        return gradient_norm(step, reduction=reduction, weight=weight).terms["gradient-norm"]

    # One label: one gradient, that of a linear network.
    same = torch.ones(4).long()
    torch.testing.assert_close(
        term(same, "minibatch", 0.1), term(same, "per-sample", 0.1 * math.sqrt(4))
    )
    # Other labels: the root of a mean square is above the mean.
    assert term(LABELS, "minibatch", 0.1) > term(LABELS, "per-sample", 0.1 * math.sqrt(4))


@pytest.mark.parametrize("scalar", ["logit", "loss"])
@pytest.mark.parametrize("reduction", ["squared", "per-sample", "minibatch"])
def test_no_gradient_is_no_nan(softmax_regression, images, step_of, scalar, reduction):
    model = softmax_regression
    weight_of(model).data.zero_()
    step = step_of(model, images, LABELS, one_mode=True)
    loss = gradient_norm(step, weight=1.0, of=scalar, reduction=reduction)
    assert loss.terms["gradient-norm"] < 1e-5
    assert slope_of(loss.terms["gradient-norm"], model).abs().max() == 0


@pytest.mark.parametrize("scalar", ["logit", "loss"])
def test_an_image_has_its_own_gradient_in_training_mode(net, batch, step_of, scalar):
    # Batch statistics would mix them, and the mean of losses would shorten them.
    model, (images, labels) = net(), batch
    model.network[1].momentum = 0.0
    norms = [
        gradient_norm(step_of(model, images[i : i + 1], labels[i : i + 1]), of=scalar)
        for i in range(5)
    ]
    whole = gradient_norm(step_of(model, images, labels), of=scalar)
    mean = torch.stack([loss.seen["mean-gradient-norm"] for loss in norms]).mean()
    torch.testing.assert_close(whole.seen["mean-gradient-norm"], mean)


@pytest.mark.parametrize("plain", [True, False])
@pytest.mark.parametrize("scalar", ["logit", "loss"])
@pytest.mark.parametrize("reduction", ["squared", "per-sample", "minibatch"])
def test_no_weight_is_plain_training_bit_by_bit(net, batch, step_of, plain, scalar, reduction):
    found = []
    options = {"weight": 0.0, "of": scalar, "reduction": reduction}
    for run in (lambda step: gradient_norm(step, **options), cross_entropy):
        model = net(plain=plain)
        torch.manual_seed(7)  # dropout
        loss = run(step_of(model, *batch, one_mode=plain))
        sum(loss.terms.values()).backward()
        found.append((model, loss))
    (model, loss), (control, expected) = found
    assert torch.equal(loss.logits, expected.logits)
    for (name, ours), theirs in zip(model.named_parameters(), control.parameters(), strict=True):
        assert torch.equal(ours.grad, theirs.grad), name
    for ours, theirs in zip(model.buffers(), control.buffers(), strict=True):
        assert torch.equal(ours, theirs)


def test_training_shortens_gradients(net, batch, step_of):
    def trained(weight):
        model = net(plain=True)
        optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
        for _ in range(20):
            loss = gradient_norm(step_of(model, *batch, one_mode=True), weight=weight)
            optimiser.zero_grad()
            sum(loss.terms.values()).backward()
            optimiser.step()
        return float(loss.seen["mean-gradient-norm"])

    assert trained(1.0) < 0.5 * trained(0.0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weight": -1.0}, "--weight is -1; give 0 or more"),
        ({"of": "prob"}, "unknown --of 'prob'.*logit, loss"),
        ({"reduction": "batch"}, "unknown reduction 'batch'"),
    ],
)
def test_what_means_nothing_is_refused(net, batch, step_of, options, message):
    with pytest.raises(InputError, match=message):
        gradient_norm(step_of(net(), *batch), **options)
