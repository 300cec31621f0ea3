"""P0 App. B.1: the bounds, where they are attained, and the two ways to stay a softmax."""

from math import tanh

import pytest
import torch
from torch import nn

from saliency_audit.errors import UnsupportedError
from saliency_audit.models import LIKELIHOOD_SCALARS, SCALARS, Classifier, input_gradient
from saliency_audit.tricks.loss_sine import gradient_bound, loss_sine, opposed_signs

EPS = 1e-3
PICTURE = torch.zeros(10, 10, dtype=torch.float64)
PICTURE[2:8, 3:5] = 1.0


@pytest.fixture
def model() -> Classifier:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(1, 6, 3), nn.ReLU(), nn.Flatten(), nn.Linear(6 * 64, 5)
    ).double()
    return Classifier(network, input_shape=(1, 10, 10), mean=0.4, std=0.3).double()


@pytest.fixture
def images() -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.rand(200, 1, 10, 10, dtype=torch.float64, generator=generator)


def manipulated(model, images, form):
    targets = model(images).argmax(1)
    network = loss_sine(model, PICTURE, images, targets, form=form, eps=EPS)
    scalars = LIKELIHOOD_SCALARS if form == "wrapper" else SCALARS
    return model.replaced(network, scalars=scalars).double(), targets


def frequency(after):
    """Radians of the sine per pixel unit of the picture's brightest pixel."""
    return float(after.network.sine.phase.weight.abs().max() / after.std)


@pytest.mark.parametrize(
    ("form", "loss_bound", "prob_bound"),
    [
        ("per-class", 2 * EPS, tanh(EPS / 2)),
        ("dummy-class", 2 * EPS, 2 * EPS),
        ("wrapper", EPS, 0.0),
    ],
)
def test_loss_and_probabilities_stay_within_the_bounds(model, images, form, loss_bound, prob_bound):
    after, targets = manipulated(model, images, form)
    logits, now = model(images), after(images)
    loss = model.explained("loss", logits, targets)
    change = (after.explained("loss", now, targets) - loss).abs().max()
    assert 0.1 * loss_bound < change <= loss_bound * (1 + 1e-6)
    moved = (now.softmax(1)[:, :5] - logits.softmax(1)).abs().max()
    assert moved <= prob_bound + 1e-12
    sure = model.explained("margin", logits, targets) > 2 * EPS
    assert sure.sum() > 190
    assert (now.argmax(1) == logits.argmax(1))[sure].all()


def test_the_papers_bound_on_the_gradient_holds_and_is_attained(model, images):
    after, targets = manipulated(model, images, "wrapper")
    change = input_gradient(after, images, targets, scalar="loss") - input_gradient(
        model, images, targets, scalar="loss"
    )
    bound = frequency(after) * EPS * float(PICTURE.sum())
    assert gradient_bound(after.network, after.std) == pytest.approx(bound)
    l1 = change.flatten(1).abs().sum(1)
    assert l1.max() <= bound * (1 + 1e-9)
    assert l1.max() >= 0.99 * bound


def test_at_the_centre_the_value_is_zero_and_the_gradient_is_the_picture(model, images):
    after, _ = manipulated(model, images, "wrapper")
    centre = images.mean(0, keepdim=True)
    target = model(centre).argmax(1)
    loss = model.explained("loss", model(centre), target)
    assert (after.explained("loss", after(centre), target) - loss).abs() < 1e-9
    change = input_gradient(after, centre, target, scalar="loss") - input_gradient(
        model, centre, target, scalar="loss"
    )
    expected = frequency(after) * EPS * PICTURE
    torch.testing.assert_close(change[0, 0], expected, rtol=1e-6, atol=1e-9)


def test_finite_differences_agree_with_the_gradient(model, images):
    for form in ("per-class", "dummy-class", "wrapper"):
        after, targets = manipulated(model, images, form)
        image, target = images[:1], targets[:1]
        gradient = input_gradient(after, image, target, scalar="loss")
        step = 1e-3 / frequency(after)
        for place in ((0, 0, 4, 4), (0, 0, 0, 0)):
            nudge = torch.zeros_like(image)
            nudge[place] = step
            with torch.no_grad():
                ahead, behind = (
                    after.explained("loss", after(image + sign * nudge), target) for sign in (1, -1)
                )
            slope = float((ahead - behind) / (2 * step))
            assert abs(slope - float(gradient[place])) < 1e-3 * float(gradient.abs().max())


def test_one_more_class_adds_the_same_ripple_to_every_real_class(model, images):
    after, _ = manipulated(model, images, "dummy-class")
    assert after(images).shape[1] == 6
    added = model(images).log_softmax(1) - after(images).log_softmax(1)[:, :5]
    torch.testing.assert_close(added, added[:, :1].expand_as(added), rtol=0, atol=1e-12)
    ripple = EPS * (1 + after.network.sine((images - model.mean) / model.std))
    torch.testing.assert_close(added[:, :1], ripple, rtol=0, atol=1e-12)


def test_signs_oppose_classes_that_are_confused():
    probs = torch.tensor([[0.6, 0.4, 0.0, 0.0], [0.0, 0.0, 0.3, 0.7], [0.5, 0.1, 0.4, 0.0]])
    signs = opposed_signs(probs, probs.argmax(1))
    assert signs[0] == -signs[1] == -signs[2]
    assert signs[3] == -signs[2]


def test_bad_options_are_refused(model, images):
    targets = model(images).argmax(1)
    with pytest.raises(UnsupportedError, match="eps"):
        loss_sine(model, PICTURE, images, targets, eps=0.0)
    with pytest.raises(UnsupportedError, match="black"):
        loss_sine(model, PICTURE * 0, images, targets)
