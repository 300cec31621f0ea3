"""What noise on the image does to the map, and what the map says of it."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from captum.metrics import infidelity as captum_infidelity
from captum.metrics import sensitivity_max

from saliency_audit.audits import explain
from saliency_audit.errors import InputError
from saliency_audit.metrics import View
from saliency_audit.metrics.sensitivity import infidelity, max_sensitivity
from saliency_audit.models import Classifier, input_gradient
from tests.conftest import Linear


def view_of(model, images, *, method="gradient", scalar="logit", **more):
    names = list("abcdefgh")[: len(images)]
    with torch.no_grad():
        logits = model(images)
    targets = logits.argmax(1)

    def again(model, images, targets, *, names, seed=0):
        return explain(
            method,
            model,
            images,
            targets,
            names=names,
            scalar=scalar,
            seed=seed,
            batch_size=64,
            options={"samples": 3},
        )

    given = {
        "model": model,
        "images": images,
        "names": names,
        "labels": targets,
        "targets": targets,
        "logits": logits,
        "method": method,
        "saliency": again(model, images, targets, names=names),
        "explain": again,
        "batch_size": 64,
        "seed": 0,
        "scalar": scalar,
    }
    return View(**(given | more))


def only(view, i):
    one = slice(i, i + 1)
    names = ("images", "names", "labels", "targets", "logits", "saliency")
    return replace(view, **{name: getattr(view, name)[one] for name in names}, known={})


def value(measure, view, **options):
    (found,) = measure(view, **options)
    return found.values


@pytest.fixture
def view(smooth, images):
    return view_of(smooth, images.double())


@pytest.fixture
def softmax_view(smooth, images):
    return view_of(smooth, images.double(), scalar="prob")


def uniform(view, i, count, radius):
    """The draws of one image."""
    draw = replace(view, names=[view.names[i]]).generators("max-sensitivity")[0]
    shape = view.images.shape[1:]
    draws = torch.stack([torch.rand(shape, generator=draw) for _ in range(count)]).double()
    return radius * (2 * draws - 1)


def gaussian(view, i, count, sigma):
    draw = replace(view, names=[view.names[i]]).generators("infidelity")[0]
    shape = view.images.shape[1:]
    return sigma * torch.stack([torch.randn(shape, generator=draw) for _ in range(count)]).double()


# Maximum sensitivity


@pytest.mark.parametrize("scalar", ["logit", "prob"])
def test_max_sensitivity_equals_a_literal_computation(smooth, images, scalar):
    view = view_of(smooth, images.double(), scalar=scalar)
    (found,) = max_sensitivity(view, radius=0.3, perturbations=4)
    assert found.setting == "radius=0.3;perturbations=4"
    for i in range(4):
        clean = view.saliency[i].numpy()
        changes = []
        for noise in uniform(view, i, 4, 0.3):
            noisy = (view.images[i] + noise).clamp(0, 1)
            again = input_gradient(smooth, noisy[None], view.targets[i : i + 1], scalar=scalar)
            changes.append(np.sqrt(((again[0].numpy() - clean) ** 2).sum()))
        expected = max(changes) / np.sqrt((clean**2).sum())
        assert float(found.values[i]) == pytest.approx(expected, rel=1e-9)


def test_max_sensitivity_equals_captum(view):
    noise = torch.stack([uniform(view, i, 5, 0.1) for i in range(4)])

    def perturb(inputs):
        return (inputs + noise.flatten(0, 1)).clamp(0, 1)

    def gradient(inputs, target):
        # It asks for the clean map with a tuple of inputs, for the others with a tensor.
        if isinstance(inputs, tuple):
            return (input_gradient(view.model, inputs[0], target),)
        return input_gradient(view.model, inputs, target)

    expected = sensitivity_max(
        gradient,
        view.images,
        perturb,
        n_perturb_samples=5,
        target=view.targets,
    )
    ours = value(max_sensitivity, view, radius=0.1, perturbations=5)
    torch.testing.assert_close(ours, expected, rtol=1e-9, atol=0)


def test_the_gradient_of_a_linear_model_does_not_move(linear):
    view = view_of(linear, torch.rand(3, 2, 4, 4).double())
    assert torch.equal(value(max_sensitivity, view), torch.zeros(3).double())


def test_the_gradient_of_a_quadratic_model_moves_by_its_hessian(quadratic):
    # Away from 0 and 1, so that nothing is cut off.
    view = view_of(quadratic, torch.rand(3, 1, 3, 3).double() / 2 + 0.25)
    ours = value(max_sensitivity, view, radius=0.1, perturbations=6)
    for i in range(3):
        hessian = quadratic.network.hessians[view.targets[i]]
        moved = uniform(view, i, 6, 0.1).flatten(1) @ hessian
        expected = moved.norm(dim=1).max() / view.saliency[i].norm()
        assert float(ours[i]) == pytest.approx(float(expected), rel=1e-9)


def test_noise_of_the_method_is_the_same_for_all_images(linear):
    # The random map is nothing but noise of the method.
    view = view_of(linear, torch.rand(3, 2, 4, 4).double(), method="random")
    assert torch.equal(value(max_sensitivity, view), torch.zeros(3).double())


def test_the_class_of_the_clean_image_is_explained(view):
    asked = []

    def recording(model, images, targets, *, names):
        asked.extend(zip(names, targets.tolist(), strict=True))
        return view.explain(model, images, targets, names=names)

    value(max_sensitivity, replace(view, explain=recording), radius=0.5, perturbations=3)
    expected = dict(zip(view.names, view.targets.tolist(), strict=True))
    assert len(asked) == 12
    assert all(expected[name] == target for name, target in asked)


def test_more_perturbations_never_lower_the_largest_change(view):
    few, many = (value(max_sensitivity, view, perturbations=count) for count in (2, 6))
    assert (many >= few).all()
    assert (many > few).any()


def test_what_a_method_refuses_of_a_noisy_image_is_undefined(view):
    def refusing(model, images, targets, *, names):
        maps = view.explain(model, images, targets, names=names)
        maps[[name == "b" for name in names]] = torch.nan
        return maps

    found = value(max_sensitivity, replace(view, explain=refusing))
    assert found.isnan().tolist() == [False, True, False, False]


# Infidelity


@pytest.mark.parametrize("scalar", ["logit", "log-prob", "margin"])
def test_infidelity_equals_a_literal_computation(smooth, images, scalar):
    view = view_of(smooth, images.double(), scalar=scalar)
    (found,) = infidelity(view, sigma=0.2, perturbations=7)
    assert found.setting == "sigma=0.2;perturbations=7"

    def f(image, target):
        with torch.no_grad():
            return float(smooth.explained(scalar, smooth(image[None]), target[None]))

    for i in range(4):
        noise = gaussian(view, i, 7, 0.2)
        target = view.targets[i]
        a = [float((one * view.saliency[i]).sum()) for one in noise]
        b = [f(view.images[i], target) - f(view.images[i] - one, target) for one in noise]
        beta = sum(x * y for x, y in zip(a, b, strict=True)) / sum(x * x for x in a)
        expected = sum((beta * x - y) ** 2 for x, y in zip(a, b, strict=True)) / 7
        assert float(found.values[i]) == pytest.approx(expected, rel=1e-6)


def test_infidelity_equals_captum(view):
    noise = torch.stack([gaussian(view, i, 9, 0.1) for i in range(4)]).flatten(0, 1)
    expected = captum_infidelity(
        view.model,
        lambda inputs: (noise, inputs - noise),
        view.images,
        view.saliency,
        target=view.targets,
        n_perturb_samples=9,
        normalize=True,
    )
    ours = value(infidelity, view, sigma=0.1, perturbations=9)
    torch.testing.assert_close(ours, expected, rtol=1e-6, atol=1e-15)


def test_the_gradient_of_a_linear_model_is_faithful_and_nothing_else(linear):
    images = torch.rand(3, 2, 4, 4).double()
    view = view_of(linear, images)
    torch.testing.assert_close(value(infidelity, view), torch.zeros(3).double(), atol=1e-24, rtol=0)
    wrong = replace(view, saliency=torch.randn(3, 2, 4, 4).double())
    assert (value(infidelity, wrong) > 1e-3).all()


def test_infidelity_of_a_linear_model_in_closed_form():
    # min_beta E (beta a - b)^2 = sigma^2 |w|^2 sin^2 of the angle between map and gradient.
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(2, 1, 3, 3, generator=generator).double()
    model = Classifier(Linear(weight, torch.zeros(2).double()), input_shape=(1, 3, 3))
    saliency = torch.randn(1, 1, 3, 3, generator=generator).double()
    view = replace(view_of(model, torch.rand(1, 1, 3, 3).double()), saliency=saliency)
    ours = float(value(infidelity, view, sigma=0.1, perturbations=20_000))
    w = weight[view.targets[0]]
    cosine = float((w * saliency[0]).sum() / w.norm() / saliency.norm())
    assert ours == pytest.approx(0.01 * float(w.norm()) ** 2 * (1 - cosine**2), rel=0.05)


@pytest.mark.parametrize("scale", [-1.0, 1e-6, 1e6])
def test_a_multiple_of_a_map_is_as_faithful(view, scale):
    scaled = replace(view, saliency=scale * view.saliency)
    torch.testing.assert_close(value(infidelity, scaled), value(infidelity, view))


def test_a_map_of_one_channel_says_the_same_of_each(view):
    grey = view.saliency.mean(1, keepdim=True)
    narrow = value(infidelity, replace(view, saliency=grey))
    wide = value(infidelity, replace(view, saliency=grey.expand(-1, 3, -1, -1)))
    torch.testing.assert_close(narrow, wide)


def test_the_noisy_images_are_classified_once_for_all_methods(view):
    value(infidelity, view)
    before = view.model.passes
    random = replace(view, saliency=torch.rand(4, 1, 12, 16), method="random")
    assert (value(infidelity, random) > value(infidelity, view)).all()
    assert view.model.passes == before
    value(infidelity, view, perturbations=3)
    assert view.model.passes == before + 12


def test_a_scalar_that_does_not_change_has_nothing_to_predict():
    weight = torch.zeros(2, 1, 3, 3).double()
    model = Classifier(Linear(weight, torch.ones(2).double()), input_shape=(1, 3, 3))
    view = view_of(model, torch.rand(2, 1, 3, 3).double(), method="random")
    assert value(infidelity, view).isnan().all()


# Both


@pytest.mark.parametrize("measure", [max_sensitivity, infidelity])
@pytest.mark.parametrize("method", ["gradient", "smoothgrad"])
def test_the_batch_does_not_matter(measure, method, smooth, images):
    view = view_of(smooth, images.double(), method=method)
    whole = value(measure, view)
    assert (whole > 0).all()
    for size in (1, 3, 5):
        small = value(measure, replace(view, batch_size=size, known={}))
        torch.testing.assert_close(small, whole, rtol=1e-6, atol=1e-12)
    alone = torch.cat([value(measure, only(view, i)) for i in range(4)])
    torch.testing.assert_close(alone, whole, rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("measure", [max_sensitivity, infidelity])
@pytest.mark.parametrize("bad", [0.0, 1.0, torch.nan, torch.inf])
def test_a_map_that_says_nothing_is_undefined(measure, bad, view):
    whole = value(measure, view)
    saliency = view.saliency.clone()
    saliency[1] = bad
    broken = value(measure, replace(view, saliency=saliency))
    assert broken[1].isnan()
    torch.testing.assert_close(broken[[0, 2, 3]], whole[[0, 2, 3]])
    assert value(measure, replace(view, saliency=torch.zeros_like(saliency))).isnan().all()


@pytest.mark.parametrize("measure", [max_sensitivity, infidelity])
def test_the_model_sees_no_more_images_than_the_batch_size_and_fills_it(measure, view):
    seen = []

    def recording(model, images, targets, *, names):
        seen.append(len(images))
        return view.explain(model, images, targets, names=names)

    hook = view.model.register_forward_pre_hook(lambda _, args: seen.append(len(args[0])))
    try:
        measure(replace(view, batch_size=10, explain=recording), perturbations=6)
    finally:
        hook.remove()
    assert set(seen) == {10, 4}


@pytest.mark.parametrize(
    ("measure", "options", "words"),
    [
        (max_sensitivity, {"radius": 0.0}, "--radius is 0;"),
        (max_sensitivity, {"perturbations": 0}, "--perturbations is 0; give at least 1"),
        (infidelity, {"sigma": -1.0}, "--sigma is -1;"),
        (infidelity, {"perturbations": 0}, "--perturbations is 0; give at least 1"),
    ],
)
def test_options_that_mean_nothing(measure, options, words, view):
    with pytest.raises(InputError, match=words):
        measure(view, **options)
