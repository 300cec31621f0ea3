"""Do gradients add up to what the output does, and over what distance do they tell it?"""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn

from saliency_audit.errors import InputError
from saliency_audit.metrics.accuracy import robust_accuracy
from saliency_audit.metrics.completeness import (
    completeness,
    contrast_way,
    random_way,
    round_off,
)
from saliency_audit.metrics.first_order_fidelity import first_order_fidelity, refuse_few
from saliency_audit.models import Classifier
from saliency_audit.seeding import generators
from tests.metrics.test_model_metrics import jacobian, view_of


class Cubic(nn.Module):
    """Logits +-<w, x>^3."""

    def __init__(self, weight):
        super().__init__()
        self.weight = weight

    def forward(self, images):
        value = (images * self.weight).flatten(1).sum(1) ** 3
        return torch.stack([value, -value], dim=1)


class Rounded(nn.Module):
    """Predictions of a network that no gradient sees, and the faint picture that it sees."""

    def __init__(self, network, step, faint=1e-9):
        super().__init__()
        self.network = network
        self.step = step
        self.faint = faint

    def forward(self, images):
        logits = self.network(images)
        rounded = (logits / self.step).round() * self.step
        picture = images[:, :, : images.shape[2] // 2].flatten(1).sum(1, keepdim=True)
        signs = torch.tensor([1.0, -1.0, 1.0, -1.0, 1.0])[: logits.shape[1]]
        return rounded + self.faint * signs * picture


WAYS = ("contrast", "random")


def both(view, way="contrast", **options):
    """Of logit and log-prob."""
    found = completeness(view, **options)
    steps = options.get("midpoints", 16)
    assert [(one.check, one.setting) for one in found] == [
        (check, f"midpoints={steps};way={name}")
        for name in WAYS
        for check in ("completeness", "completeness-log-prob")
    ]
    return [one.values for one in found if one.setting.endswith(way)]


def points_by_hand(image, name, way, midpoints):
    points = [image]
    if way == "contrast":
        step = (image.mean((1, 2), keepdim=True) - image) / 10 / midpoints
        return [image + k * step for k in range(midpoints + 1)]
    (draw,) = generators(0, [name], "completeness")
    steps = max(1, midpoints // 2)
    directions = min(4, steps)
    for _ in range(directions):
        noise = 2 * torch.rand(image.shape, generator=draw).double() - 1
        for _ in range(steps // directions):
            points.append(points[-1] + noise * 0.5 / 255 / (steps // directions))
    return points


@pytest.fixture
def view(smooth, images):
    return view_of(smooth, (images.double() * 255).round() / 255)


# Completeness


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("midpoints", [1, 4, 16])
def test_it_equals_a_literal_computation(midpoints, way, view):
    for i, (image, name) in enumerate(zip(view.images, view.names, strict=True)):
        for scalar, found in zip(
            ("logit", "log-prob"), both(view, way, midpoints=midpoints), strict=True
        ):

            def f(pixels, scalar=scalar, target=view.targets[[i]]):
                logits = view.model(pixels[None])
                return (logits if scalar == "logit" else logits.log_softmax(1))[0, target[0]]

            missing, moved, told = 0.0, 0.0, 0.0
            for start, end in pairwise(points_by_hand(image, name, way, midpoints)):
                middle = ((start + end) / 2).requires_grad_()
                (gradient,) = torch.autograd.grad(f(middle), middle)
                change = float(f(end) - f(start))
                step = float((gradient * (end - start)).sum())
                missing, moved, told = (
                    missing + abs(step - change),
                    moved + abs(change),
                    told + abs(step),
                )
            expected = missing / max(moved, told)
            assert float(found[i]) == pytest.approx(expected, rel=1e-6, abs=1e-12)


@pytest.mark.parametrize("way", WAYS)
def test_gradients_of_linear_and_quadratic_models_add_up(way, linear, quadratic):
    for model, shape in ((linear, (3, 2, 4, 4)), (quadratic, (3, 1, 3, 3))):
        view = view_of(model, torch.rand(shape).double())
        logit, coarse = both(view, way, midpoints=8)
        torch.testing.assert_close(logit, torch.zeros(3).double(), atol=1e-11, rtol=0)
        _, fine = both(view, way, midpoints=32)  # log-prob is curved: 4 times as many,
        assert (coarse < 1e-3).all()
        torch.testing.assert_close(fine, coarse / 16, rtol=0.1, atol=1e-11)  # 16 times as near


@pytest.mark.parametrize("midpoints", [1, 4, 16])
def test_a_cubic_model_in_closed_form(midpoints):
    # The midpoint rule is off by h^3 / 24 times the third derivative, 6, in each step.
    weight = torch.rand(1, 3, 3, generator=torch.Generator().manual_seed(1)).double()
    images = torch.rand(4, 1, 3, 3, generator=torch.Generator().manual_seed(2)).double()
    view = view_of(Classifier(Cubic(weight), input_shape=(1, 3, 3)), images)
    for way, points in (
        ("contrast", contrast_way(view, midpoints)),
        ("random", random_way(view, max(1, midpoints // 2))),
    ):
        found, _ = both(view, way, midpoints=midpoints)
        at = torch.stack([(point * weight).flatten(1).sum(1) for point in points])
        change, missing = (at**3).diff(dim=0), at.diff(dim=0) ** 3 / 4
        size = torch.maximum(change.abs().sum(0), (change - missing).abs().sum(0))
        expected = missing.abs().sum(0) / size
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-12)


def test_the_random_way_is_of_the_seed_and_the_image(view):
    points = list(random_way(view, 8))
    assert len(points) == 9
    assert torch.equal(points[0], view.images)
    steps = torch.stack(points).diff(dim=0) * 255
    assert 0.24 < float(steps.abs().max()) <= 0.25
    assert float(steps.std()) == pytest.approx(0.25 / 3**0.5, rel=0.02)
    same = [torch.allclose(one, two, atol=1e-9) for one, two in pairwise(steps)]
    assert same == [True, False] * 3 + [True]
    assert all(torch.equal(one, two) for one, two in zip(points, random_way(view, 8), strict=True))
    assert not torch.equal(points[-1], list(random_way(replace(view, seed=1), 8))[-1])
    alone = view_of(view.model, view.images[1:2], names=view.names[1:2])
    torch.testing.assert_close(list(random_way(alone, 8))[-1], points[-1][1:2], rtol=0, atol=0)


class Sideways(nn.Module):
    """The output of a network, and a gradient of which nothing is on the way to the mean colour."""

    def __init__(self, network, slope):
        super().__init__()
        self.network = network
        self.slope = slope

    def forward(self, images):
        still = images.detach()
        straight = (still.mean((2, 3), keepdim=True) - still).flatten(1)
        slope = self.slope.flatten().expand_as(straight)
        share = (slope * straight).sum(1, keepdim=True) / straight.square().sum(1, keepdim=True)
        nothing = ((slope - share * straight) * (images - still).flatten(1)).sum(1, keepdim=True)
        return self.network(images) + torch.linspace(-1, 1, 5) * nothing


@pytest.mark.parametrize("strength", [3, 10])
def test_a_slope_beside_the_way_is_found(strength, view):
    size = jacobian(view)[0, int(view.targets[0])]
    slope = torch.rand(3, 12, 16, generator=torch.Generator().manual_seed(4)).double()
    slope *= strength * float((size**2).sum() ** 0.5) / slope.norm()
    forged = view_of(view.model.replaced(Sideways(view.model.network, slope)), view.images)
    assert torch.equal(forged.logits, view.logits)
    moves = forged.targets != 2  # the class that nothing is added to
    assert moves.any()
    for found, honest in zip(both(forged), both(view), strict=True):
        torch.testing.assert_close(found, honest, rtol=1e-6, atol=1e-9)
    for found, honest in zip(both(forged, "random"), both(view, "random"), strict=True):
        assert (found[moves] > 0.5).all()
        assert (honest < 0.1).all()


def test_a_model_that_rounds_its_output_and_adds_a_picture_is_found(view):
    forged = view_of(view.model.replaced(Rounded(view.model.network, 1e-4)), view.images)
    assert torch.equal(forged.targets, view.targets)
    for way in WAYS:
        assert (torch.stack(both(view, way)) < 0.1).all()
    torch.testing.assert_close(
        torch.stack(both(forged)), torch.ones(2, 4).double(), atol=1e-3, rtol=0
    )


def test_robust_accuracy_shows_nothing_where_there_is_no_gradient(view):
    def nothing(model, images, **_):
        return images

    def found(other):
        return robust_accuracy(replace(other, labels=other.targets, attack=nothing))[0].values

    assert (found(view) == 1).all()
    forged = view_of(view.model.replaced(Rounded(view.model.network, 1e-4)), view.images)
    assert found(forged).isnan().all()
    # What was found is found.
    other = (forged.targets + torch.tensor([1, 0, 1, 0])) % 5
    values = robust_accuracy(replace(forged, labels=other, attack=nothing))[0].values
    assert values.nan_to_num(-1).tolist() == [0, -1, 0, -1]


def test_an_output_in_steps_too_coarse_for_the_way_is_undefined(view):
    coarse = view.model.replaced(Rounded(view.model.network, 1e6, faint=0.0))
    assert torch.stack(both(view_of(coarse, view.images))).isnan().all()


def test_an_image_of_one_colour_has_no_lower_contrast(view):
    images = view.images.clone()
    images[1] = 0.5
    for way, nowhere in (("contrast", [1]), ("random", [])):
        for found in both(view_of(view.model, images), way):
            assert found.isnan().nonzero().flatten().tolist() == nowhere


def test_round_off_is_of_the_scalar_and_the_precision(view):
    size = float(view.logits[0].abs().max())
    unit = 64 * 2**-52
    assert float(round_off(view, view.logits, "logit")[0]) == pytest.approx(unit * (size + 1))
    p = float(view.logits.softmax(1).gather(1, view.targets[:, None])[0, 0])
    expected = unit * (2 * (1 - p) * size + 1)
    assert float(round_off(view, view.logits, "log-prob")[0]) == pytest.approx(expected)
    view.model.precision = "bf16"
    assert float(round_off(view, view.logits, "logit")[0]) == pytest.approx(64 * 2**-7 * size)


def test_what_round_off_alone_moves_is_undefined(cnn, images):
    # Beside so large a number, fp32 has no digits for what the way changes.
    class Far(nn.Module):
        def __init__(self):
            super().__init__()
            self.network = cnn.network

        def forward(self, images):
            return self.network(images) + 1e5

    for way in WAYS:
        assert not torch.stack(both(view_of(cnn, images), way)).isnan().any()
        assert torch.stack(both(view_of(cnn.replaced(Far()), images), way)).isnan().all()


def test_a_midpoint_is_needed(view):
    with pytest.raises(InputError, match="--midpoints is 0; give at least 1"):
        completeness(view, midpoints=0)


# First-order fidelity


def test_fidelity_equals_a_literal_computation(view):
    found = first_order_fidelity(view, levels=(8, 0.5), perturbations=5)
    assert [one.setting for one in found] == [
        "levels=0.5;perturbations=5",
        "levels=8;perturbations=5",
    ]
    gradients = jacobian(view)
    for one, level in zip(found, (0.5, 8), strict=True):
        for i, name in enumerate(view.names):
            (draw,) = generators(0, [name], "first-order-fidelity")
            target, predicted, changes = view.targets[i], [], []
            for _ in range(5):
                noise = torch.rand((3, 12, 16), generator=draw).double()
                noise = level / 255 * (2 * noise - 1)
                predicted.append((gradients[i, target] * noise.numpy()).sum())
                with torch.no_grad():
                    after = view.model((view.images[i] + noise)[None])[0, target]
                changes.append(float(after - view.logits[i, target]))
            expected = np.corrcoef(predicted, changes)[0, 1]
            assert float(one.values[i]) == pytest.approx(expected, abs=1e-9)


def test_the_gradient_of_a_linear_model_tells_all_at_any_distance(linear):
    found = first_order_fidelity(view_of(linear, torch.rand(3, 2, 4, 4).double()))
    assert list(found[-1].x) == [0.5, 2, 8]
    torch.testing.assert_close(found[-1].curve, torch.ones(3, 3).double(), atol=1e-12, rtol=0)
    assert [one.curve is None for one in found] == [True, True, False]


def test_fidelity_of_an_even_quadratic_is_nothing(quadratic):
    # f(d) - f(0) = d.H d / 2 has no first-order part; the slope is there and foretells nothing.
    network = quadratic.network
    network.weight = 1e-9 * network.weight
    model = quadratic.replaced(network)
    view = view_of(model, torch.zeros(1, 1, 3, 3).double())
    (found,) = first_order_fidelity(view, levels=(8,), perturbations=20_000)
    assert abs(float(found.values[0])) < 3 * (2 / 20_000) ** 0.5


def test_a_logit_that_does_not_change_has_no_fidelity():
    class Constant(nn.Module):
        def forward(self, images):
            return torch.arange(3.0).expand(len(images), 3)

    view = view_of(Classifier(Constant(), input_shape=(1, 2, 2)), torch.rand(2, 1, 2, 2))
    assert all(one.values.isnan().all() for one in first_order_fidelity(view))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"levels": ()}, "--levels is"),
        ({"levels": (0.0, 1.0)}, "--levels is 0; give numbers above 0"),
        ({"perturbations": 2}, "--perturbations is 2; give at least 3"),
    ],
)
def test_options_of_fidelity_that_mean_nothing(options, words, view):
    with pytest.raises(InputError, match=words):
        first_order_fidelity(view, **options)


def test_few_draws_are_refused_before_anything_is_measured():
    refuse_few((1, 2, 2), 3, perturbations=3)
    with pytest.raises(InputError, match="--perturbations is 2"):
        refuse_few((1, 2, 2), 3, perturbations=2)


def test_the_scalar_of_the_run_changes_nothing(view):
    other = replace(view, scalar="prob")
    for measure in (completeness, first_order_fidelity):
        for one, two in zip(measure(view), measure(other), strict=True):
            assert torch.equal(one.values, two.values)
