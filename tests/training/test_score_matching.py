"""Score matching against literal formulas, Hyvarinen's consistency, and what must stay alone."""

import math

import pytest
import torch
from torch import nn

from saliency_audit.errors import InputError
from saliency_audit.models import Classifier
from saliency_audit.training.cross_entropy import cross_entropy
from saliency_audit.training.score_matching import score_matching


class Wave(nn.Module):
    """Three weights p, two pixels: f_0 = p_0 sin(p_1 x_0 + p_2 x_1), f_1 = p_1 x_0 x_1 / 2."""

    def __init__(self):
        super().__init__()
        self.p = nn.Parameter(torch.tensor([0.8, 1.7, -0.9]).double())

    def forward(self, images):
        x = images.flatten(1)
        first = self.p[0] * torch.sin(x @ self.p[1:])
        return torch.stack([first, self.p[1] * x[:, 0] * x[:, 1] / 2], 1)


def literal(p, images, labels, noise, *, weight, mu, sigma, antithetic):
    """The loss, image by image and draw by draw, with gradients by hand."""

    def f(x, y):
        if y == 0:
            return p[0] * math.sin(p[1] * x[0] + p[2] * x[1])
        return p[1] * x[0] * x[1] / 2

    def length(x, y):
        if y == 0:
            slope = p[0] * math.cos(p[1] * x[0] + p[2] * x[1])
            return (slope * p[1]) ** 2 + (slope * p[2]) ** 2
        return (p[1] * x[1] / 2) ** 2 + (p[1] * x[0] / 2) ** 2

    entropy = penalty = 0.0
    for i, (x, y) in enumerate(zip(images, labels, strict=True)):
        entropy += math.log(math.exp(f(x, 0)) + math.exp(f(x, 1))) - f(x, y)
        h = 0.0
        for draw in noise:
            v = [sigma * draw[i][0], sigma * draw[i][1]]
            after = f([x[0] + v[0], x[1] + v[1]], y)
            if antithetic:
                before = f([x[0] - v[0], x[1] - v[1]], y)
                h += (after + before - 2 * f(x, y)) / sigma**2 / len(noise)
            else:
                h += 2 * (after - f(x, y)) / sigma**2 / len(noise)
        penalty += h + length(x, y) / 2 + mu * h**2
    return entropy / len(images), weight * penalty / len(images)


@pytest.mark.parametrize("antithetic", [False, True])
def test_terms_and_their_gradient_are_the_literal_ones(step_of, antithetic):
    options = {"weight": 0.3, "mu": 0.02, "sigma": 0.2, "antithetic": antithetic}
    images = torch.rand(4, 1, 1, 2, generator=torch.Generator().manual_seed(0)).double()
    labels = torch.tensor([0, 1, 0, 0])
    model = Classifier(Wave(), input_shape=(1, 1, 2))
    step = step_of(model, images, labels, one_mode=True)
    loss = score_matching(step, draws=3, **options)
    sum(loss.terms.values()).backward()

    noise = [step.noise(f"trace/{draw}").flatten(1).tolist() for draw in range(3)]
    shown = (images.flatten(1).tolist(), labels.tolist(), noise)
    p = model.network.p.tolist()
    entropy, penalty = literal(p, *shown, **options)
    assert float(loss.terms["cross-entropy"].detach()) == pytest.approx(entropy, rel=1e-12)
    assert float(loss.terms["score-matching"].detach()) == pytest.approx(penalty, rel=1e-10)
    for k, found in enumerate(model.network.p.grad.tolist()):
        step_up, step_down = list(p), list(p)
        step_up[k] += 1e-5
        step_down[k] -= 1e-5
        difference = sum(literal(step_up, *shown, **options)) - sum(
            literal(step_down, *shown, **options)
        )
        assert found == pytest.approx(difference / 2e-5, rel=1e-6)


class Gaussian(nn.Module):
    """Log-density of a Gaussian around 0.5, up to its constant: -t |x - m|^2 / 2."""

    def __init__(self, precision):
        super().__init__()
        self.t = nn.Parameter(torch.tensor(precision).double())

    def forward(self, images):
        own = -self.t * (images - 0.5).flatten(1).square().sum(1) / 2
        return torch.stack([own, own.detach() * 0], 1)


@pytest.mark.parametrize(
    "estimator",
    [{"trace": "hutchinson"}, {"antithetic": True}, {"draws": 300, "sigma": 0.3}],
)
def test_a_gaussian_fits_best_at_the_variance_of_the_data(step_of, estimator):
    # -D t + t^2 E|x - m|^2 / 2 is least at 1 / t = E|x - m|^2 / D. R is a parabola in t: two of
    # its slopes tell where the third is 0.
    pixels, deviation = 16, 0.2
    generator = torch.Generator().manual_seed(0)
    count = 1500 if len(estimator) == 1 else 100
    images = 0.5 + deviation * torch.randn(count, 1, 4, 4, generator=generator).double()

    def slope(t):
        model = Classifier(Gaussian(t), input_shape=(1, 4, 4))
        step = step_of(model, images, torch.zeros(count).long(), one_mode=True)
        term = score_matching(step, weight=1.0, mu=0.0, **estimator).terms["score-matching"]
        (found,) = torch.autograd.grad(term, model.network.t)
        return float(found)

    low, high = slope(1.0), slope(60.0)
    assert low < 0 < high
    best = 1.0 - low * 59.0 / (high - low)
    variance = float((images - 0.5).square().sum()) / count / pixels
    assert 1 / best == pytest.approx(variance, rel=0.03)


@pytest.mark.parametrize("plain", [True, False])
@pytest.mark.parametrize("trace", ["taylor", "hutchinson"])
def test_no_weight_is_plain_training_bit_by_bit(net, batch, step_of, plain, trace):
    found = []
    for run in (lambda step: score_matching(step, weight=0.0, trace=trace), cross_entropy):
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


@pytest.mark.parametrize("trace", ["taylor", "hutchinson"])
def test_running_statistics_see_the_images_once_and_no_noise(net, batch, step_of, trace):
    model, control = net(), net()
    score_matching(step_of(model, *batch), draws=2, trace=trace, weight=1.0)
    control(batch[0])
    assert control.network[1].num_batches_tracked == 1
    for ours, theirs in zip(model.buffers(), control.buffers(), strict=True):
        assert torch.equal(ours, theirs)
    assert all(module.training for module in model.modules())
    assert model.precision == "fp32"


def test_dropout_is_out_of_the_penalty(net, batch, step_of):
    losses = []
    for dropout in (0.0, 0.9):
        model = net(dropout=dropout)
        losses.append(score_matching(step_of(model, *batch), sigma=1e-3))
    calm, dropped = losses
    assert calm.terms["cross-entropy"] != dropped.terms["cross-entropy"]
    assert torch.equal(calm.terms["score-matching"], dropped.terms["score-matching"])
    # With another mask at the other end, 2 / sigma^2 makes this 1e6.
    assert dropped.seen["trace"].abs() < 1e4


def test_half_precision_stays_out_of_the_penalty(net, batch, step_of):
    model, coarse = net(plain=True), net(plain=True)
    coarse.precision = "bf16"
    expected, found = (
        score_matching(step_of(m, *batch, one_mode=True), sigma=1e-2) for m in (model, coarse)
    )
    torch.testing.assert_close(found.terms["score-matching"], expected.terms["score-matching"])
    assert not torch.equal(found.logits, expected.logits)
    assert coarse.precision == "bf16"


def test_one_pass_serves_both_where_there_is_one_mode(net, batch, step_of):
    for one_mode, passes in ((True, 10), (False, 15)):
        model = net(plain=True)
        score_matching(step_of(model, *batch, one_mode=one_mode))
        assert model.passes == passes


def test_what_is_seen_is_not_minimised(net, batch, step_of):
    model = net(plain=True)
    step = step_of(model, *batch, one_mode=True)
    loss = score_matching(step, weight=2.0, mu=0.0)
    assert list(loss.terms) == ["cross-entropy", "score-matching"]
    assert not any(value.requires_grad for value in (*loss.seen.values(), loss.logits))
    images = batch[0].clone().requires_grad_()
    own = model(images).gather(1, batch[1].view(-1, 1))
    (gradient,) = torch.autograd.grad(own.sum(), images)
    norms = gradient.flatten(1).norm(dim=1)
    torch.testing.assert_close(loss.seen["mean-gradient-norm"], norms.mean())
    expected = 2 * (loss.seen["trace"] + norms.square().mean() / 2)
    torch.testing.assert_close(loss.terms["score-matching"].detach(), expected)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weight": -1.0}, "--weight is -1; give 0 or more"),
        ({"mu": float("nan")}, "--mu is nan"),
        ({"sigma": -0.1}, "--sigma is -0.1"),
    ],
)
def test_what_means_nothing_is_refused(net, batch, step_of, options, message):
    with pytest.raises(InputError, match=message):
        score_matching(step_of(net(), *batch), **options)
