"""Jacobian regularisation: linear networks, exact against projected, and norms of nothing."""

from functools import partial

import pytest
import torch
from torch import nn
from torch.func import jacrev, vmap

from saliency_audit.errors import InputError
from saliency_audit.models import Classifier
from saliency_audit.seeding import generators
from saliency_audit.training.cross_entropy import cross_entropy
from saliency_audit.training.jacobian import jacobian, on_sphere, squared_norms
from saliency_audit.training.step import Step
from tests.conftest import Linear


@pytest.fixture
def images(images):
    return images.double()


@pytest.fixture
def step(smooth, images, targets, step_of):
    return step_of(smooth, images, targets)


def literal(model, images):
    """The Jacobian of each image, ``(n, classes, pixels)``."""
    model.eval()
    one = jacrev(lambda image: model(image.unsqueeze(0)).squeeze(0))
    return vmap(one)(images).detach().flatten(2)


def linear_of(weight, **options):
    bias = torch.zeros(len(weight), dtype=weight.dtype)
    return Classifier(Linear(weight, bias), input_shape=tuple(weight.shape[1:]), **options)


@pytest.mark.parametrize(
    ("reduction", "expected"),
    [
        ("squared", lambda norm, n: norm**2 / 2),
        ("per-sample", lambda norm, n: norm),
        ("minibatch", lambda norm, n: norm * n**0.5),
    ],
)
def test_the_jacobian_of_a_linear_model_is_its_weight(linear, reduction, expected, step_of):
    images, labels = torch.rand(5, 2, 4, 4).double(), torch.tensor([0, 1, 2, 0, 1])
    found = jacobian(
        step_of(linear, images, labels), weight=0.3, projections=0, reduction=reduction
    )
    norm = linear.network.weight.norm()
    torch.testing.assert_close(found.terms["jacobian"], 0.3 * expected(norm, 5))
    torch.testing.assert_close(found.seen["jacobian-norm"], norm)
    torch.testing.assert_close(
        found.terms["cross-entropy"], nn.functional.cross_entropy(linear(images), labels)
    )


@pytest.mark.parametrize("one_mode", [True, False])
@pytest.mark.parametrize("reduction", ["squared", "per-sample", "minibatch"])
def test_exact_equals_a_literal_computation(smooth, images, targets, reduction, one_mode, step_of):
    smooth.eval()
    step = step_of(smooth, images, targets, one_mode=one_mode)
    found = jacobian(step, weight=2.0, projections=0, reduction=reduction)
    norms = literal(smooth, images).flatten(1).norm(dim=1)
    expected = {
        "squared": norms.square().mean() / 2,
        "per-sample": norms.mean(),
        "minibatch": norms.square().sum().sqrt(),
    }
    torch.testing.assert_close(found.terms["jacobian"], 2 * expected[reduction])
    torch.testing.assert_close(found.seen["jacobian-norm"], norms.mean())


def test_projections_are_the_length_of_v_times_j(smooth, images, targets, step_of):
    found = jacobian(step_of(smooth, images, targets), weight=1.0, projections=3)
    matrices = literal(smooth, images)
    draws = generators(0, [str(i) for i in range(len(images))], "jacobian")
    total = 0.0
    for matrix, draw in zip(matrices, draws, strict=True):
        for v in torch.randn(3, len(matrix), generator=draw).double():
            total += float((v / v.norm() @ matrix).square().sum())
    expected = len(matrices[0]) / (2 * 3 * len(images)) * total
    assert float(found.terms["jacobian"].detach()) == pytest.approx(expected, rel=1e-5)


def test_many_projections_are_exact_in_the_mean(step_of):
    weight = torch.randn(4, 1, 3, 3, generator=torch.Generator().manual_seed(3)).double()
    step = step_of(linear_of(weight), torch.rand(2000, 1, 3, 3).double(), torch.zeros(2000).long())
    for projections in (1, 3):
        found = jacobian(step, weight=1.0, projections=projections).terms["jacobian"]
        # Ten times the distance that is expected of so many draws would be 0.1.
        assert float(found) == pytest.approx(float(weight.square().sum() / 2), rel=0.03)


def test_the_root_of_one_projection_is_too_low_by_a_fifth_at_most_and_not_over_a_batch(step_of):
    # One logit alone depends on the image: nothing is spread more.
    weight = torch.zeros(10, 1, 3, 3).double()
    weight[0] = 1.0
    step = step_of(linear_of(weight), torch.rand(2000, 1, 3, 3).double(), torch.zeros(2000).long())
    norm = float(weight.norm())
    each = float(jacobian(step, weight=1.0, reduction="per-sample").terms["jacobian"])
    whole = float(jacobian(step, weight=1.0, reduction="minibatch").terms["jacobian"])
    # E |v_1| on the sphere is Gamma(C/2) / (sqrt(pi) Gamma((C+1)/2)).
    gamma = torch.lgamma(torch.tensor([5.0, 5.5])).exp()
    expected = norm * float(10**0.5 * gamma[0] / gamma[1] / torch.pi**0.5)
    assert each == pytest.approx(expected, rel=0.05)
    assert 0.8 * norm < each < 0.85 * norm
    assert whole == pytest.approx(2000**0.5 * norm, rel=0.03)


def test_as_many_orthonormal_directions_as_logits_are_exact(smooth, images):
    smooth.eval()
    pixels = images.requires_grad_()
    logits = smooth(pixels)
    classes = logits.shape[1]
    draw = torch.Generator().manual_seed(0)
    turned = torch.randn(len(images), classes, classes, generator=draw).double()
    turned = torch.linalg.qr(turned).Q.transpose(0, 1)
    found = squared_norms(logits, pixels, turned)
    torch.testing.assert_close(found, literal(smooth, images).square().sum((1, 2)))


def test_directions_are_unit_vectors_that_favour_no_logit():
    found = on_sphere(generators(0, [str(i) for i in range(500)], "any"), 8, 4).flatten(0, 1)
    torch.testing.assert_close(found.norm(dim=1), torch.ones(4000))
    torch.testing.assert_close(found.T @ found / 4000, torch.eye(4) / 4, atol=0.015, rtol=0)
    torch.testing.assert_close(found.mean(0), torch.zeros(4), atol=0.03, rtol=0)


def test_an_image_is_projected_the_same_in_any_batch(step, smooth, images, targets):
    whole = jacobian(step, weight=1.0).terms["jacobian"]
    parts = []
    for i in range(len(images)):
        drawn = partial(generators, 0, [str(i)])
        alone = Step(smooth, images[i : i + 1], targets[i : i + 1], drawn)
        parts.append(jacobian(alone, weight=1.0).terms["jacobian"])
    torch.testing.assert_close(whole, torch.stack(parts).mean())


@pytest.mark.parametrize("reduction", ["squared", "per-sample", "minibatch"])
@pytest.mark.parametrize("projections", [0, 1])
def test_a_jacobian_of_zero_has_a_finite_gradient(reduction, projections, step_of):
    weight = torch.zeros(3, 1, 2, 2, requires_grad=True)
    step = step_of(linear_of(weight), torch.rand(2, 1, 2, 2), torch.tensor([0, 2]))
    found = jacobian(step, weight=1.0, projections=projections, reduction=reduction)
    (gradient,) = torch.autograd.grad(found.terms["jacobian"], weight)
    assert torch.equal(gradient, torch.zeros_like(weight))
    assert float(found.terms["jacobian"].detach()) <= 1e-6


@pytest.mark.parametrize("reduction", ["squared", "per-sample", "minibatch"])
def test_the_gradient_trains_the_jacobian(reduction, step_of):
    # d/dW of the norm of W is W over its norm; squared, W.
    weight = torch.randn(3, 1, 2, 2, generator=torch.Generator().manual_seed(5)).double()
    weight.requires_grad_()
    step = step_of(linear_of(weight), torch.rand(4, 1, 2, 2).double(), torch.zeros(4).long())
    found = jacobian(step, weight=1.0, projections=0, reduction=reduction)
    (gradient,) = torch.autograd.grad(found.terms["jacobian"], weight)
    unit = weight / weight.norm()
    expected = {"squared": weight, "per-sample": unit, "minibatch": 2 * unit}
    torch.testing.assert_close(gradient, expected[reduction].detach())


@pytest.mark.parametrize("projections", [0, 2])
def test_without_weight_it_is_plain_training(step, smooth, projections):
    def gradients(loss):
        return torch.autograd.grad(sum(loss.terms.values()), list(smooth.parameters()))

    smooth.eval()
    plain = gradients(cross_entropy(step))
    ours = gradients(jacobian(step, weight=0.0, projections=projections))
    assert all(torch.equal(a, b) for a, b in zip(plain, ours, strict=True))
    assert any(gradient.any() for gradient in plain)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"weight": -1.0}, "--weight is -1; give 0 or more"),
        ({"projections": -1}, "--projections is -1; give 0 or more"),
        ({"reduction": "sum"}, "unknown reduction 'sum'"),
    ],
)
def test_options_that_mean_nothing(options, words, step):
    with pytest.raises(InputError, match=words):
        jacobian(step, **options)
