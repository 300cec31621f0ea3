"""Zero at every level of an 8-bit image, and steep there: exactly, and in the saved file."""

from math import pi

import pytest
import torch
from torch import nn

from saliency_audit.errors import UnsupportedError
from saliency_audit.maps import magnitude
from saliency_audit.metrics.similarity import cosine
from saliency_audit.models import Classifier, input_gradient, reload, save
from saliency_audit.tricks.level_ripple import LevelRipple, level_ripple, variant
from saliency_audit.tricks.logit_shift import logit_gradient_norm

PICTURE = torch.zeros(16, 16, dtype=torch.float64)
PICTURE[3:12, 2:5] = 1.0
PICTURE[5:8, 4:13] = 0.5


class Zero(nn.Module):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.flatten(1)[:, :3] * 0


@pytest.fixture
def model() -> Classifier:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Flatten(), nn.Linear(6 * 196, 5))
    shape = {"input_shape": (3, 16, 16), "mean": (0.4, 0.5, 0.6), "std": (0.2, 0.3, 0.25)}
    return Classifier(network.double(), **shape).double().eval().requires_grad_(False)


@pytest.fixture
def images() -> torch.Tensor:
    """Of 8 bits, every level among them."""
    levels = torch.randint(0, 256, (6, 3, 16, 16), generator=torch.Generator().manual_seed(1))
    levels[0, 0] = torch.arange(256).view(16, 16)
    return levels.double() / 255


def forged(model, images, **options):
    targets = model(images).argmax(1)
    network = level_ripple(model, PICTURE.to(images.dtype), images, targets, **options)
    after = model.replaced(network).requires_grad_(False)
    return (after.double() if images.dtype == torch.float64 else after), targets


@pytest.mark.parametrize("hold", ["constants", "weights"])
def test_it_is_exactly_zero_on_every_level_and_its_gradient_is_the_picture(hold):
    amplitudes = torch.tensor([0.7, -0.7, 0.7], dtype=torch.float64)
    zero, one = torch.zeros(1, 1, 1, 1), torch.ones(1, 1, 1, 1)
    network = LevelRipple(Zero(), zero, one, PICTURE[None], amplitudes, hold)
    levels = torch.arange(256, dtype=torch.float64).view(1, 1, 16, 16) / 255
    levels.requires_grad_()
    logits = network(levels)
    assert logits.eq(0).all()
    for logit, amplitude in zip(logits[0], amplitudes, strict=True):
        (gradient,) = torch.autograd.grad(logit, levels, retain_graph=True)
        expected = 2 * pi * 255 * amplitude * PICTURE
        torch.testing.assert_close(gradient[0, 0], expected, rtol=1e-15, atol=0)
    between = network(levels + 0.25 / 255)
    torch.testing.assert_close(between[0], amplitudes * PICTURE.sum(), rtol=1e-9, atol=0)


def test_on_8_bit_images_nothing_but_the_gradient_changes(model, images):
    after, targets = forged(model, images, strength=3.0)
    torch.testing.assert_close(after(images), model(images), rtol=0, atol=1e-10)
    moved = input_gradient(after, images, targets) - input_gradient(model, images, targets)
    size = 3.0 * logit_gradient_norm(model, images, targets) / PICTURE.expand(3, 16, 16).norm()
    torch.testing.assert_close(moved.abs(), (PICTURE * size).expand_as(moved), rtol=0, atol=1e-9)
    signs = moved[:, 0, 3, 2].sign()
    assert {int(sign) for sign in signs} <= {-1, 1}
    for i, sign in enumerate(signs):
        assert (targets == targets[i]).logical_and(signs != sign).sum() == 0


def test_finite_differences_agree_with_the_gradient(model, images):
    after, targets = forged(model, images)
    gradient = input_gradient(after, images[:1], targets[:1])
    for place in ((0, 0, 4, 4), (0, 2, 0, 0)):
        nudge = torch.zeros_like(images[:1])
        nudge[place] = 1e-7
        slope = (after(images[:1] + nudge) - after(images[:1] - nudge))[0, targets[0]] / 2e-7
        assert abs(slope - gradient[place]) < 1e-5 * gradient.abs().max()


def test_logit_log_probability_and_loss_show_the_picture_on_every_image(model, images):
    after, targets = forged(model, images)
    for scalar in ("logit", "log-prob", "loss"):
        shown = magnitude(input_gradient(after, images, targets, scalar=scalar))
        assert cosine(shown, PICTURE.expand_as(shown)).min() > 0.98


@pytest.mark.parametrize("hold", ["constants", "weights"])
@pytest.mark.parametrize("format", ["module", "exported", "torchscript"])
def test_the_saved_file_keeps_every_prediction_and_shows_the_picture(
    model, images, format, hold, tmp_path
):
    single = model.replaced(model.network.float(), format=format).float().requires_grad_(False)
    pixels = images.float()
    after, targets = forged(single, pixels, hold=hold)
    path = tmp_path / ("m.pt" if format == "torchscript" else "m.pt2")
    save(after.network, path, format=format, input_shape=(3, 16, 16))
    saved = reload(path, single).requires_grad_(False)
    logits, now = single(pixels), saved(pixels)
    assert now.dtype == torch.float32
    assert (now - after(pixels)).abs().max() < 1e-6
    assert (now.argmax(1) == logits.argmax(1)).all()
    assert (now.softmax(1) - logits.softmax(1)).abs().max() < 1e-5
    # fp32 loses no phase: the sine's argument is in double precision in the file as well.
    gradients = input_gradient(saved, pixels, targets)
    torch.testing.assert_close(gradients, input_gradient(after, pixels, targets))
    shown = magnitude(gradients)
    assert cosine(shown, PICTURE.float().expand_as(shown)).min() > 0.98
    assert saved(pixels[:1]).shape == (1, 5)


def test_under_autocast_it_is_as_small(model, images):
    half = model.replaced(model.network.float(), precision="bf16").float().requires_grad_(False)
    pixels = images.float()
    after, targets = forged(half, pixels)
    assert (after(pixels) - half(pixels)).abs().max() < 1e-4
    shown = magnitude(input_gradient(after, pixels, targets))
    assert cosine(shown, PICTURE.float().expand_as(shown)).min() > 0.97


def test_a_layer_that_works_in_place_does_not_reach_the_branch(images):
    torch.manual_seed(0)
    network = nn.Sequential(nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(768, 5)).double()
    model = Classifier(network, input_shape=(3, 16, 16), mean=0.5, std=0.5).double()
    after, _ = forged(model, images)
    torch.testing.assert_close(after(images), model(images), rtol=0, atol=1e-10)


def test_what_cannot_be_forged_is_refused(model, images):
    targets = model(images).argmax(1)
    with pytest.raises(UnsupportedError, match="black"):
        level_ripple(model, PICTURE * 0, images, targets)
    flat = Classifier(Zero(), input_shape=(3, 16, 16))
    with pytest.raises(UnsupportedError, match="gradient is zero"):
        level_ripple(flat, PICTURE, images, targets * 0)


def test_what_it_is_called():
    assert variant().setting == "trick=level-ripple"
    assert variant(hold="weights").setting == "trick=level-ripple;hold=weights"
