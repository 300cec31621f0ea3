"""Metrics of the model alone: what its gradients, logits and predictions are like."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from saliency_audit.attacks import ATTACKS
from saliency_audit.audits import explain
from saliency_audit.errors import InputError, UnsupportedError
from saliency_audit.metrics import View
from saliency_audit.metrics.accuracy import robust_accuracy
from saliency_audit.metrics.completeness import completeness
from saliency_audit.metrics.density_profile import density_profile
from saliency_audit.metrics.first_order_fidelity import first_order_fidelity
from saliency_audit.metrics.gradient_norm import gradient_norm_others, gradient_norm_target
from saliency_audit.metrics.scalar_agreement import scalar_agreement
from saliency_audit.models import Classifier
from saliency_audit.seeding import generators
from tests.conftest import Linear, Quadratic

ALL = [
    partial(robust_accuracy, eps=2 / 255, attack_steps=3),
    gradient_norm_target,
    gradient_norm_others,
    density_profile,
    scalar_agreement,
    completeness,
    partial(first_order_fidelity, perturbations=5),
]


class Shifted(nn.Module):
    """The same predictions, all logits plus so many times the brightness of the upper half."""

    def __init__(self, network, size):
        super().__init__()
        self.network = network
        self.size = size

    def forward(self, images):
        brightness = images[:, :, : images.shape[2] // 2].sum((1, 2, 3))
        return self.network(images) + self.size * brightness.unsqueeze(1)


def explained(model, images, targets, *, names, method="", scalar="", seed=0):
    return explain(
        method,
        model,
        images,
        targets,
        names=names,
        scalar=scalar,
        seed=seed,
        batch_size=3,
        options={},
    )


def pgd(model, images, *, names, **options):
    draws = generators(0, names, "pgd")
    return ATTACKS["pgd"].function(model, None, None, images, None, generators=draws, **options)


def view_of(model, images, *, names="abcdefgh", **more):
    with torch.no_grad():
        logits = model(images)
    targets = logits.argmax(1)
    given = {
        "model": model.requires_grad_(False),
        "images": images,
        "names": list(names)[: len(images)],
        "labels": targets,
        "targets": targets,
        "logits": logits,
        "method": "",
        "saliency": torch.full_like(images[:, :1], torch.nan),
        "explain": explained,
        "batch_size": 64,
        "seed": 0,
        "attack": pgd,
    }
    return View(**(given | more))


def only(view, i):
    one = slice(i, i + 1)
    names = ("images", "names", "labels", "targets", "logits", "saliency")
    return replace(view, **{name: getattr(view, name)[one] for name in names}, known={})


@pytest.fixture
def view(smooth, images):
    grid = (images.double() * 255).round() / 255
    return view_of(smooth, grid)


# All


@pytest.mark.parametrize("measure", ALL)
def test_the_batch_does_not_matter(measure, view):
    whole = torch.stack([one.values for one in measure(view)])
    assert whole.dtype == torch.float64
    assert whole.isfinite().all()
    for size in (1, 3):
        small = torch.stack([one.values for one in measure(replace(view, batch_size=size))])
        torch.testing.assert_close(small, whole, rtol=1e-9, atol=1e-12)
    alone = [torch.stack([one.values for one in measure(only(view, i))]) for i in range(4)]
    torch.testing.assert_close(torch.cat(alone, dim=1), whole, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("measure", ALL)
def test_the_model_never_sees_more_images_than_the_batch_size(measure, view):
    seen = []
    hook = view.model.register_forward_pre_hook(lambda _, args: seen.append(len(args[0])))
    try:
        measure(replace(view, batch_size=3))
    finally:
        hook.remove()
    assert max(seen) <= 3


@pytest.mark.parametrize("measure", ALL)
def test_one_tall_grey_image(measure):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(33, 6), nn.Tanh(), nn.Linear(6, 3))
    model = Classifier(network.eval(), input_shape=(1, 11, 3))
    for one in measure(view_of(model, torch.rand(1, 1, 11, 3).mul(255).round() / 255)):
        assert one.values.shape == (1,)
        assert one.values.isfinite().all()


# Gradient norms


def jacobian(view):
    """``(n, classes, c, h, w)``, one backward pass an image and logit."""
    rows = []
    for image in view.images:
        pixels = image[None].clone().requires_grad_()
        logits = view.model(pixels)[0]
        rows.append(
            torch.stack(
                [torch.autograd.grad(logit, pixels, retain_graph=True)[0][0] for logit in logits]
            )
        )
    return torch.stack(rows).detach().double().numpy()


@pytest.mark.parametrize("targets", [[0, 4, 2, 2], [1, 1, 3, 0]])
def test_gradient_norms_equal_a_literal_computation(view, targets):
    view = replace(view, targets=torch.tensor(targets))
    norms = np.sqrt((jacobian(view) ** 2).sum((2, 3, 4)))
    (target,), (others,) = gradient_norm_target(view), gradient_norm_others(view)
    for i, own in enumerate(targets):
        assert float(target.values[i]) == pytest.approx(norms[i, own], rel=1e-9)
        rest = [norms[i, j] for j in range(5) if j != own]
        assert float(others.values[i]) == pytest.approx(sum(rest) / 4, rel=1e-9)


def test_gradient_norms_of_a_linear_model_are_those_of_its_weights(linear):
    view = view_of(linear, torch.rand(5, 2, 4, 4).double())
    norms = linear.network.weight.flatten(1).norm(dim=1)
    (target,), (others,) = gradient_norm_target(view), gradient_norm_others(view)
    torch.testing.assert_close(target.values, norms[view.targets])
    torch.testing.assert_close(others.values, (norms.sum() - norms[view.targets]) / 2)


def test_gradient_norms_are_per_unit_of_pixel_value(linear):
    images = torch.rand(2, 2, 4, 4).double()
    scaled = linear.replaced(linear.network, std=0.25)
    for measure in (gradient_norm_target, gradient_norm_others):
        (plain,) = measure(view_of(linear, images))
        targets = view_of(linear, images).targets
        (steep,) = measure(view_of(scaled, images, targets=targets))
        torch.testing.assert_close(steep.values, 4 * plain.values)


def test_other_norms_cost_one_forward_pass(view):
    before = view.model.passes
    gradient_norm_others(view)
    assert view.model.passes - before == 4


def test_a_model_that_does_not_see_the_image_has_no_gradient():
    class Constant(nn.Module):
        def forward(self, images):
            return torch.arange(3.0).expand(len(images), 3)

    view = view_of(Classifier(Constant(), input_shape=(1, 2, 2)), torch.rand(2, 1, 2, 2))
    for measure in (gradient_norm_target, gradient_norm_others):
        assert torch.equal(measure(view)[0].values, torch.zeros(2).double())
    assert scalar_agreement(view)[0].values.isnan().all()


# Density profile


def test_density_profile_equals_a_literal_computation(view):
    found = density_profile(view, sigmas=(0.2, 0.05))
    assert [one.setting for one in found] == ["sigma=0.05", "sigma=0.2"]
    for one, sigma in zip(found, (0.05, 0.2), strict=True):
        for i, name in enumerate(view.names):
            (draw,) = generators(0, [name], "density-profile")
            noise = torch.randn((3, 12, 16), generator=draw).double()
            target = view.targets[i]
            with torch.no_grad():
                after = view.model((view.images[i] + sigma * noise)[None])[0, target]
            expected = float(after - view.model(view.images[i][None])[0, target])
            assert float(one.values[i]) == pytest.approx(expected, abs=1e-10)


def test_the_curve_goes_with_the_largest_sigma(view):
    found = density_profile(view)
    assert [one.curve is None for one in found] == [True] * 4 + [False]
    assert list(found[-1].x) == [0.01, 0.02, 0.05, 0.1, 0.2]
    assert torch.equal(found[-1].curve, torch.stack([one.values for one in found], dim=1))


def repeated(model, image, count):
    images = image.expand(count, -1, -1, -1)
    return view_of(model, images, names=[str(i) for i in range(count)], batch_size=5000)


def test_the_mean_log_ratio_of_a_quadratic_is_half_the_trace_of_its_hessian():
    generator = torch.Generator().manual_seed(0)
    hessians = torch.randn(2, 9, 9, generator=generator).double()
    # A weak slope, so that the mean stands out of the noise.
    weight = 0.01 * torch.randn(2, 1, 3, 3, generator=generator).double()
    hessians = (hessians + hessians.mT) / 10 + torch.eye(9)
    model = Classifier(Quadratic(hessians, weight), input_shape=(1, 3, 3))
    view = repeated(model, torch.zeros(1, 1, 3, 3).double(), 20_000)
    for one, sigma in zip(density_profile(view, sigmas=(0.1, 0.3)), (0.1, 0.3), strict=True):
        trace = float(hessians[view.targets[0]].trace())
        assert float(one.values.mean()) == pytest.approx(sigma**2 / 2 * trace, rel=0.05)


def test_log_ratios_of_a_linear_model_are_normal_around_zero(linear):
    view = repeated(linear, torch.rand(1, 2, 4, 4).double(), 20_000)
    (one,) = density_profile(view, sigmas=(0.1,))
    norm = float(linear.network.weight[view.targets[0]].norm())
    assert float(one.values.mean()) == pytest.approx(0, abs=4 * 0.1 * norm / 20_000**0.5)
    assert float(one.values.std()) == pytest.approx(0.1 * norm, rel=0.03)


def test_a_shift_of_all_logits_forges_the_density(view):
    shifted = view.model.replaced(Shifted(view.model.network, -5.0))
    forged = view_of(shifted, view.images)
    assert torch.equal(forged.targets, view.targets)
    honest, moved = (density_profile(one, sigmas=(0.1,))[0].values for one in (view, forged))
    assert ((honest - moved).abs() > 1e-3).all()


@pytest.mark.parametrize("sigmas", [(), (0.0,), (0.1, -0.1)])
def test_sigmas_that_mean_nothing(sigmas, view):
    with pytest.raises(InputError, match="--sigma is"):
        density_profile(view, sigmas=sigmas)


# Agreement of scalars


def test_scalar_agreement_equals_a_literal_computation(view):
    (found,) = scalar_agreement(view)
    assert found.saliency == "gradient"
    for i, rows in enumerate(jacobian(view)):
        own = rows[view.targets[i]].ravel()
        centred = own - rows.mean(0).ravel()
        expected = own @ centred / np.linalg.norm(own) / np.linalg.norm(centred)
        assert float(found.values[i]) == pytest.approx(expected, abs=1e-9)


def test_logits_that_add_up_to_zero_agree_and_shifted_ones_do_not(linear):
    centred = linear.network.weight - linear.network.weight.mean(0)
    images = torch.rand(4, 2, 4, 4).double()
    model = Classifier(Linear(centred, torch.zeros(3).double()), input_shape=(2, 4, 4))
    torch.testing.assert_close(
        scalar_agreement(view_of(model, images))[0].values, torch.ones(4).double()
    )
    forged = view_of(model.replaced(Shifted(model.network, 100.0)), images)
    picture = torch.zeros(2, 4, 4).double()
    picture[:, :2] = 100.0
    for value, target in zip(scalar_agreement(forged)[0].values, forged.targets, strict=True):
        own = centred[target]
        both = own + picture
        expected = (own * both).sum() / own.norm() / both.norm()
        assert float(value) == pytest.approx(float(expected), abs=1e-12)
        assert float(value) < 0.5


# Robust accuracy


def test_robust_accuracy_equals_a_literal_computation(view):
    labels = view.targets.clone()
    labels[0] = (labels[0] + 1) % 5
    view = replace(view, labels=labels)
    seen = set()
    for eps in (1 / 255, 8 / 255, 64 / 255):
        (found,) = robust_accuracy(view, eps=eps, attack_steps=5)
        for i, name in enumerate(view.names):
            attacked = pgd(
                view.model,
                view.images[i : i + 1],
                names=[name],
                eps=eps,
                steps=5,
                norm="linf",
                restarts=1,
            )
            classes = [int(view.model(one)[0].argmax()) for one in (view.images[[i]], attacked)]
            expected = float(classes[0] == int(labels[i]) and classes[1] == int(labels[i]))
            assert float(found.values[i]) == expected
            seen.add((i, expected))
    assert {expected for _, expected in seen} == {0.0, 1.0}
    assert (0, 1.0) not in seen


def test_a_linear_model_falls_just_beyond_its_margin():
    # The sign of the weights is the best direction: the margin falls by eps |w1 - w0|_1.
    weight = torch.stack([torch.full((1, 2, 2), -0.5), torch.full((1, 2, 2), 0.5)]).double()
    images = torch.full((1, 1, 2, 2), 128 / 255).double()
    for bias, robust in ((-2.0 + 0.1, 1.0), (-2.0 + 0.05, 0.0)):
        network = Linear(weight, torch.tensor([-bias / 2, bias / 2]).double())
        view = view_of(Classifier(network, input_shape=(1, 2, 2)), images)
        margin = float(view.logits[0, 1] - view.logits[0, 0])
        assert margin > 0
        assert (margin > 4 * 5 / 255) == bool(robust)
        (found,) = robust_accuracy(view, eps=5 / 255)
        assert float(found.values[0]) == robust


def test_only_images_that_are_right_are_attacked_and_the_result_is_measured_again(view):
    asked = []

    def lazy(model, images, *, names, eps, steps, norm, restarts):
        asked.extend(names)
        assert (eps, steps, norm, restarts) == (0.5, 20, "l2", 2)
        return images.flip(0)

    labels = view.targets.clone()
    labels[1], labels[2] = (labels[1] + 1) % 5, -1
    view = replace(view, labels=labels, attack=lazy)
    (found,) = robust_accuracy(view, eps=0.5, norm="l2", restarts=2)
    assert asked == ["a", "d"]
    assert found.setting == "eps=0.5;norm=l2;attack-steps=20;restarts=2"
    same = float(view.targets[0] == view.targets[3])
    assert found.values.nan_to_num(-1).tolist() == [same, 0.0, -1.0, same]


def test_without_labels_nothing_is_attacked_and_all_is_undefined(view):
    def never(*args, **options):
        raise AssertionError

    (found,) = robust_accuracy(replace(view, labels=torch.full((4,), -1), attack=never))
    assert found.values.isnan().all()
    assert found.setting == "eps=8/255;norm=linf;attack-steps=20;restarts=1"


def test_robust_accuracy_needs_an_attack(view):
    with pytest.raises(UnsupportedError, match="needs an attack"):
        robust_accuracy(replace(view, attack=None))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"eps": 0.0}, "--eps is 0;"),
        ({"eps": 0.001}, "--eps is 0.001;"),
        ({"attack_steps": 0}, "--attack-steps is 0; give at least 1"),
        ({"restarts": 0}, "--restarts is 0; give at least 1"),
        ({"norm": "l1"}, "--norm is 'l1'; give linf or l2"),
    ],
)
def test_options_of_robust_accuracy_that_mean_nothing(options, words, view):
    with pytest.raises(InputError, match=words):
        robust_accuracy(view, **options)
