"""Is the map a function of the image as it is stored? Closed forms, and what a draw is."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from saliency_audit.catalogue.metrics import LEVEL_DRAWS
from saliency_audit.errors import InputError
from saliency_audit.metrics.level_coherence import level_coherence
from saliency_audit.models import Classifier
from tests.conftest import Quadratic
from tests.metrics.test_sensitivity import only, view_of

VARIANCE = 1 / (12 * 255**2)
"""Of noise within half a level."""


class Sine(nn.Module):
    """Logits +- sin(frequency <u, x>): steep, and the same again a little further on."""

    def __init__(self, direction, frequency):
        super().__init__()
        self.direction = direction
        self.frequency = frequency

    def forward(self, images):
        value = (self.frequency * (images * self.direction).flatten(1).sum(1)).sin()
        return torch.stack([value, -value], dim=1)


def value(view, **options):
    (found,) = level_coherence(view, **options)
    return found.values


def repeated(model, image, count):
    """One image under so many names, so that its draws differ."""
    images = image.expand(count, -1, -1, -1)
    view = view_of(model, images[:1])
    shared = {name: getattr(view, name).expand(count) for name in ("labels", "targets")}
    return replace(
        view,
        images=images,
        names=[str(i) for i in range(count)],
        logits=view.logits.expand(count, -1),
        saliency=view.saliency.expand(count, -1, -1, -1),
        batch_size=5000,
        **shared,
    )


def within_three_errors(values, expected):
    error = values.std() / len(values) ** 0.5
    assert abs(float(values.mean()) - expected) < 3 * float(error)


def inside(*shape):
    """Away from black and white, where noise is cut."""
    return torch.rand(*shape, generator=torch.Generator().manual_seed(5)).double() / 2 + 0.25


def test_all_of_the_gradient_of_a_linear_model_is_determined(linear):
    images = torch.rand(3, 2, 4, 4).double().round(decimals=1)  # black and white among them
    found = value(view_of(linear, images))
    torch.testing.assert_close(found, torch.ones(3).double(), atol=1e-12, rtol=0)


def test_nothing_of_a_steep_sine_is_determined():
    direction = torch.randn(1, 4, 4, generator=torch.Generator().manual_seed(0)).double()
    model = Classifier(Sine(direction, 1e6), input_shape=(1, 4, 4))
    view = repeated(model, inside(1, 1, 4, 4), 500)
    # The smaller of two estimates of 0, so 0 or less: by chance it does not come to one half.
    assert float(value(view).mean()) < 0
    assert float(value(view).amax()) < 0.5
    many = value(repeated(model, inside(1, 1, 4, 4), 20), level_draws=2000)
    assert abs(float(many.mean())) < 0.03


@pytest.mark.parametrize("angle", [0.0, 0.5, 1.5, 3.0])
def test_a_map_shown_of_the_stored_image_alone_has_its_cosine_with_the_others(angle, linear):
    view = view_of(linear, inside(3, 2, 4, 4))
    gradient = view.saliency.double()
    other = torch.randn(gradient.shape, generator=torch.Generator().manual_seed(9)).double()
    size = gradient.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
    along = (other * gradient).flatten(1).sum(1).view(-1, 1, 1, 1) / size**2
    other = other - along * gradient
    other *= size / other.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
    shown = torch.tensor(angle).double().cos() * gradient + torch.tensor(angle).sin() * other
    found = value(replace(view, saliency=7 * shown))
    expected = torch.full((3,), angle).double().cos()
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)


def quadratic_of(share):
    """A model of 100 pixels whose gradient at grey is such a share of all energy nearby."""
    generator = torch.Generator().manual_seed(3)
    hessian = torch.randn(100, 100, generator=generator).double()
    hessian = hessian + hessian.T
    slope = torch.randn(100, generator=generator).double()
    slope *= (share / (1 - share) * VARIANCE * hessian.square().sum()).sqrt() / slope.norm()
    weight = slope - 0.5 * hessian.sum(1)  # H x + w at x = 0.5
    network = Quadratic(
        torch.stack([hessian, -hessian]), torch.stack([weight, -weight]).view(2, 1, 10, 10)
    )
    return Classifier(network, input_shape=(1, 10, 10))


@pytest.mark.parametrize("draws", [2, 5, 16])
@pytest.mark.parametrize("share", [0.2, 0.5, 0.8])
def test_a_quadratic_model_in_closed_form_whatever_the_draws(draws, share):
    # E |g + H d|^2 = |g|^2 + s^2 |H|^2, of which |g|^2 is common to all draws.
    view = repeated(quadratic_of(share), torch.full((1, 1, 10, 10), 0.5).double(), 300)
    hessian = view.model.network.hessians[0]
    slope = view.saliency[0].square().sum()
    assert float(slope / (slope + VARIANCE * hessian.square().sum())) == pytest.approx(share)
    within_three_errors(value(view, level_draws=draws), share)


@pytest.mark.parametrize("method", ["gradient", "smoothgrad"])
@pytest.mark.parametrize("scalar", ["logit", "log-prob"])
def test_it_equals_a_literal_computation(method, scalar, smooth, images):
    view = view_of(smooth, images.double().round(decimals=1), method=method, scalar=scalar)
    (found,) = level_coherence(view, level_draws=3)
    assert found.setting == "level-draws=3"
    for i, name in enumerate(view.names):
        (draw,) = replace(view, names=[name]).generators("level-coherence")
        low = (view.images[i] - 0.5 / 255).clamp(0, 1)
        high = (view.images[i] + 0.5 / 255).clamp(0, 1)
        maps = []
        for _ in range(3):
            noisy = low + (high - low) * torch.rand((3, 12, 16), generator=draw).double()
            # With the method's own noise as it is for the image itself.
            (one,) = view.explain(smooth, noisy[None], view.targets[[i]], names=[name])
            maps.append(one.double().flatten())
        pairs = [maps[j] @ maps[k] for j in range(3) for k in range(3) if j != k]
        energy = sum(one @ one for one in maps) / 3
        shown = view.saliency[i].double().flatten()
        beside = shown @ (sum(maps) / 3) / (shown @ shown * energy).sqrt()
        expected = min(sum(pairs) / 6 / energy, beside)
        assert float(found.values[i]) == pytest.approx(float(expected), rel=1e-9)


def test_images_that_are_drawn_are_stored_as_the_image_is(linear):
    images = torch.tensor([0, 1, 128, 254, 255]).repeat(13)[:64].view(2, 2, 4, 4).double() / 255
    seen = []

    def recording(model, images, targets, *, names):
        seen.append(images)
        return view.explain(model, images, targets, names=names)

    view = view_of(linear, images)
    value(replace(view, explain=recording), level_draws=200)
    drawn = torch.cat(seen).view(-1, 2, 2, 4, 4)
    assert drawn.min() >= 0
    assert drawn.max() <= 1
    levels = (images * 255).expand_as(drawn)
    assert torch.equal((drawn * 255).round(), levels.round())
    # Spread over all that is stored alike, with no heap at the border.
    off = drawn * 255 - levels
    assert float(off[levels == 0].mean()) == pytest.approx(0.25, abs=0.02)
    assert float(off[levels == 255].mean()) == pytest.approx(-0.25, abs=0.02)
    assert float(off[levels == 128].mean()) == pytest.approx(0, abs=0.02)
    assert (off[levels == 0] > 0).double().mean() > 0.99


def test_a_map_that_sees_no_image_is_the_same_for_all(linear):
    # A method's own noise is fixed, so that only the image moves.
    view = view_of(linear, torch.rand(3, 2, 4, 4).double(), method="random")
    torch.testing.assert_close(value(view), torch.ones(3).double(), atol=1e-12, rtol=0)


@pytest.mark.parametrize("method", ["gradient", "smoothgrad"])
def test_the_batch_does_not_matter(method, smooth, images):
    view = view_of(smooth, images.double(), method=method)
    whole = value(view)
    assert whole.dtype == torch.float64
    assert (whole < 1).all()
    for size in (1, 3, 5):
        torch.testing.assert_close(value(replace(view, batch_size=size)), whole, rtol=1e-9, atol=0)
    alone = torch.cat([value(only(view, i)) for i in range(4)])
    torch.testing.assert_close(alone, whole, rtol=1e-9, atol=0)


def test_what_a_method_refuses_of_a_drawn_image_is_undefined(smooth, images):
    view = view_of(smooth, images.double())

    def refusing(model, images, targets, *, names):
        maps = view.explain(model, images, targets, names=names)
        maps[[name == "b" for name in names]] = torch.nan
        return maps

    found = value(replace(view, explain=refusing))
    assert found.isnan().tolist() == [False, True, False, False]


def test_one_draw_agrees_with_nothing(linear):
    assert not LEVEL_DRAWS.range.holds(1)
    with pytest.raises(InputError, match="--level-draws is 1; give at least 2"):
        value(view_of(linear, torch.rand(1, 2, 4, 4).double()), level_draws=1)
