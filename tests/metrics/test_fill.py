"""What pixels are replaced by."""

from dataclasses import replace

import numpy as np
import pytest
import scipy.ndimage
import torch

from saliency_audit.errors import InputError
from saliency_audit.metrics import View
from saliency_audit.metrics.fill import blurred, fill_name, filled
from saliency_audit.models import Classifier

NAMES = ["image-mean", "dataset-mean", "zero", "model-mean", "blur", "noise", "0.25"]


def view_of(images, names="abcd", seed=0):
    model = Classifier(
        torch.nn.Flatten(), input_shape=images.shape[1:], mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.4)
    )
    n = len(images)
    return View(
        model=model,
        images=images,
        names=list(names)[:n],
        labels=torch.zeros(n, dtype=torch.long),
        targets=torch.zeros(n, dtype=torch.long),
        logits=torch.zeros(n, 2),
        method="map",
        saliency=images,
        explain=lambda *a, **b: images,
        batch_size=3,
        seed=seed,
        dataset_mean=torch.tensor([0.1, 0.2, 0.3]),
    )


@pytest.mark.parametrize("name", NAMES)
def test_a_picture_per_image_in_the_range_whatever_the_batch(name, images):
    state = torch.get_rng_state()
    view = view_of(images)
    whole = filled(view, name)

    assert whole.shape == images.shape
    assert whole.dtype == images.dtype
    assert ((whole >= 0) & (whole <= 1)).all()
    assert filled(view, name) is whole
    assert torch.equal(torch.get_rng_state(), state)
    turned = filled(view_of(images.flip(0), "dcba"), name).flip(0)
    torch.testing.assert_close(turned, whole, rtol=0, atol=1e-6)
    for i in range(4):
        alone = filled(view_of(images[i : i + 1], "abcd"[i]), name)
        torch.testing.assert_close(alone, whole[i : i + 1], rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "colour"),
    [
        ("dataset-mean", (0.1, 0.2, 0.3)),
        ("zero", (0, 0, 0)),
        ("model-mean", (0.4, 0.5, 0.6)),
        ("0.25", (0.25, 0.25, 0.25)),
        ("1", (1, 1, 1)),
    ],
)
def test_colours_of_all_images(name, colour, images):
    expected = torch.tensor(colour, dtype=torch.float32).view(1, 3, 1, 1).expand_as(images)
    torch.testing.assert_close(filled(view_of(images), name), expected)


def test_the_models_mean_is_the_zero_of_its_network(images):
    view = view_of(images)
    seen = view.model(filled(view, "model-mean"))
    assert seen.abs().max() == 0


def test_image_mean_is_of_each_image_and_channel(images):
    found = filled(view_of(images), "image-mean")
    for image, picture in zip(images.numpy(), found.numpy(), strict=True):
        for channel, flat in zip(image, picture, strict=True):
            np.testing.assert_allclose(flat, np.full_like(flat, channel.mean()), rtol=1e-6)


@pytest.mark.parametrize(
    ("shape", "window"), [((224, 224), 11), ((112, 150), 5), ((12, 16), 3), ((1, 9), 3)]
)
def test_blur_equals_scipy_with_a_deviation_that_goes_with_the_window(shape, window):
    images = torch.rand(2, 3, *shape, generator=torch.Generator().manual_seed(0)).double()
    for channel, found in zip(images.flatten(0, 1), blurred(images).flatten(0, 1), strict=True):
        expected = scipy.ndimage.gaussian_filter(
            channel.numpy(), 5 * window / 11, mode="nearest", radius=window // 2
        )
        np.testing.assert_allclose(found, expected, atol=1e-12)


def test_noise_is_uniform_and_of_the_seed(images):
    wide = torch.zeros(4, 3, 40, 40)
    found, again, other = (filled(view_of(wide, seed=seed), "noise") for seed in (0, 0, 1))

    assert torch.equal(found, again)
    assert not torch.equal(found, other)
    assert not torch.equal(found[0], found[1])
    assert found.mean() == pytest.approx(0.5, abs=0.01)
    assert found.var() == pytest.approx(1 / 12, abs=0.002)


@pytest.mark.parametrize("bad", ["grey", "", "-0.1", "1.1", "nan", "inf"])
def test_what_is_no_fill_is_named_with_those_that_are(bad, images):
    with pytest.raises(InputError, match=r"--fill is '.*'; give image-mean, .*noise, or a pixel"):
        filled(view_of(images), bad)


def test_the_mean_of_all_images_must_be_known(images):
    with pytest.raises(InputError, match="give image-mean"):
        filled(replace(view_of(images), dataset_mean=None), "dataset-mean")


def test_equal_numbers_have_one_name():
    assert {fill_name(name) for name in ("0.5", "0.50", "5e-1")} == {"0.5"}
