"""Interpretation regularisation: distances that are known, and the teacher's own maps."""

from dataclasses import replace

import pytest
import torch
from torch.func import grad, vmap

from saliency_audit.errors import InputError
from saliency_audit.models import Classifier
from saliency_audit.training.cross_entropy import cross_entropy
from saliency_audit.training.interpretation import interpretation
from saliency_audit.training.step import Step
from saliency_audit.training.teacher_maps import teacher_maps
from tests.conftest import Linear

NAMES = [str(i) for i in range(4)]


@pytest.fixture
def step(smooth, images, targets, step_of):
    images = images.double()
    goals = torch.rand(images.shape, generator=torch.Generator().manual_seed(0)).double()
    return step_of(smooth, images, targets, targets=goals)


def distances(step):
    """Literally: the norm of each image's difference, ``(n,)``."""

    def own(image, label):
        return step.model(image.unsqueeze(0))[0].gather(0, label.unsqueeze(0)).squeeze(0)

    gradients = vmap(grad(own))(step.images, step.labels).detach()
    return (step.targets - gradients.abs()).flatten(1).norm(dim=1)


@pytest.mark.parametrize("one_mode", [True, False])
def test_both_norms_equal_a_literal_computation(step, one_mode):
    step = replace(step, one_mode=one_mode)
    expected = distances(step)
    batch = interpretation(step, weight=0.5)
    each = interpretation(step, weight=0.5, reduction="per-sample")
    torch.testing.assert_close(batch.terms["interpretation"], 0.5 * expected.norm())
    torch.testing.assert_close(each.terms["interpretation"], 0.5 * expected.mean())
    for found in (batch, each):
        torch.testing.assert_close(found.seen["map-distance"], expected.mean())
        torch.testing.assert_close(
            found.terms["cross-entropy"], cross_entropy(step).terms["cross-entropy"]
        )


def test_the_sign_of_the_gradient_does_not_matter():
    weight = torch.randn(3, 2, 4, 4, generator=torch.Generator().manual_seed(1)).double()
    labels = torch.tensor([0, 1, 2])
    goals = torch.rand(3, 2, 4, 4).double()
    expected = (goals - weight[labels].abs()).flatten(1).norm(dim=1).mean()
    for sign in (1, -1):
        model = Classifier(Linear(sign * weight, torch.zeros(3).double()), input_shape=(2, 4, 4))
        step = Step(model, torch.rand(3, 2, 4, 4).double(), labels, lambda _: [], targets=goals)
        found = interpretation(step, weight=1.0, reduction="per-sample")
        torch.testing.assert_close(found.terms["interpretation"], expected)


def test_equally_far_images_cost_root_n_times_as_much_in_one_norm():
    weight = torch.randn(2, 1, 3, 3, generator=torch.Generator().manual_seed(1)).double()
    model = Classifier(Linear(weight, torch.zeros(2).double()), input_shape=(1, 3, 3))
    labels = torch.tensor([0, 1] * 8)
    step = Step(
        model,
        torch.rand(16, 1, 3, 3).double(),
        labels,
        lambda _: [],
        targets=weight[labels].abs() + 0.5,
    )
    batch = interpretation(step, weight=0.07).terms["interpretation"]
    each = interpretation(step, weight=0.07 * 4, reduction="per-sample").terms["interpretation"]
    torch.testing.assert_close(batch, each)
    assert float(each) == pytest.approx(0.07 * 4 * 0.5 * 3)


@pytest.mark.parametrize("reduction", ["minibatch", "per-sample"])
def test_its_own_teacher_has_nothing_to_teach(step, reduction):
    model = step.model
    own = teacher_maps(
        model,
        step.images,
        step.labels,
        NAMES,
        samples=1,
        sigma=0.0,
        threshold=None,
        seed=0,
        batch_size=4,
    )
    step = replace(step, targets=own)
    term = interpretation(step, weight=1.0, reduction=reduction).terms["interpretation"]
    assert float(term.detach()) == pytest.approx(0, abs=2e-6)
    found = torch.autograd.grad(term, list(model.parameters()), allow_unused=True)
    assert all(g is None or torch.equal(g, torch.zeros_like(g)) for g in found)
    # And the control: another map has something.
    other = replace(step, targets=own + 0.1)
    term = interpretation(other, weight=1.0, reduction=reduction).terms["interpretation"]
    found = torch.autograd.grad(term, list(model.parameters()), allow_unused=True)
    assert any(g is not None and bool(g.any()) for g in found)


def test_a_step_downhill_brings_the_maps_closer(step):
    def distance():
        return interpretation(step, weight=1.0).terms["interpretation"]

    before = distance()
    weights = list(step.model.parameters())
    found = torch.autograd.grad(before, weights, allow_unused=True)
    with torch.no_grad():
        for weight, gradient in zip(weights, found, strict=True):
            if gradient is not None:
                weight -= 1e-3 * gradient
    assert bool(distance() < before)


def test_without_weight_it_is_plain_training(step):
    def gradients(loss):
        return torch.autograd.grad(sum(loss.terms.values()), list(step.model.parameters()))

    plain, ours = gradients(cross_entropy(step)), gradients(interpretation(step, weight=0.0))
    assert all(torch.equal(a, b) for a, b in zip(plain, ours, strict=True))
    assert any(gradient.any() for gradient in plain)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"weight": -0.1}, "--weight is -0.1; give 0 or more"),
        ({"reduction": "squared"}, "unknown reduction 'squared'.*minibatch, per-sample"),
    ],
)
def test_options_that_mean_nothing(options, words, step):
    with pytest.raises(InputError, match=words):
        interpretation(step, **options)
