"""Decoding and resizing, against torchvision's transforms and against pixels written by hand."""

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import transforms

from saliency_audit.data.images import Preparation, Unreadable, open_picture
from saliency_audit.errors import InputError


def noise(height, width, *, colour=True, seed=0):
    shape = (height, width, 3) if colour else (height, width)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


@pytest.mark.parametrize("size", [(300, 400), (257, 256), (100, 333), (900, 640), (20, 21)])
@pytest.mark.parametrize(("crop", "resize"), [(224, None), (32, 40), (33, 33), (65, None)])
def test_square_input_equals_torchvision(size, crop, resize):
    image = Image.fromarray(noise(*size))
    expected = transforms.Compose(
        [
            transforms.Resize(resize or round(crop * 256 / 224), antialias=True),
            transforms.CenterCrop(crop),
            transforms.ToTensor(),
        ]
    )(image)
    assert torch.equal(Preparation((3, crop, crop), resize)(image), expected)


@pytest.mark.parametrize("colour", [True, False])
def test_exact_size_is_untouched_bit_for_bit(colour, tmp_path):
    pixels = noise(48, 64, colour=colour)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    prepared = Preparation((3 if colour else 1, 48, 64), 100)(open_picture(tmp_path / "a.png"))
    assert prepared.dtype == torch.float32
    back = (prepared * 255).round().byte().permute(1, 2, 0).numpy()
    assert np.array_equal(back, pixels.reshape(48, 64, -1))


@pytest.mark.parametrize("size", [(50, 300), (300, 50), (128, 256), (65, 128)])
def test_non_square_input_covers_the_enlarged_input_and_keeps_proportions(size):
    # A ramp along each axis: its slope tells the scale, its middle that the crop is centred.
    height, width = size
    ramp = np.stack(
        [
            np.tile(np.linspace(0, 255, width), (height, 1)),
            np.tile(np.linspace(0, 255, height)[:, None], (1, width)),
            np.zeros(size),
        ],
        -1,
    ).astype(np.uint8)
    x, y, _ = Preparation((3, 56, 112))(Image.fromarray(ramp)) * 255
    scale = max(64 / height, 128 / width)
    assert x.shape == (56, 112)
    assert x[28, 55:57].mean() == pytest.approx(127, abs=2)
    assert y[27:29, 56].mean() == pytest.approx(127, abs=3)
    assert (x[28, 100] - x[28, 12]).item() == pytest.approx(255 * 88 / (scale * width), rel=0.05)
    assert (y[50, 56] - y[6, 56]).item() == pytest.approx(255 * 44 / (scale * height), rel=0.08)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr"])
@pytest.mark.parametrize("channels", [1, 3])
def test_modes_convert_as_pillow_does(mode, channels):
    image = Image.fromarray(noise(16, 16)).convert(mode)
    expected = transforms.functional.to_tensor(image.convert("L" if channels == 1 else "RGB"))
    assert torch.equal(Preparation((channels, 16, 16))(image), expected)


def test_palette_with_transparency_is_no_warning(tmp_path):
    image = Image.fromarray(noise(16, 16)).convert("P")
    image.save(tmp_path / "a.png", transparency=bytes(range(256)))
    expected = transforms.functional.to_tensor(image.convert("RGB"))
    assert torch.equal(Preparation((3, 16, 16))(open_picture(tmp_path / "a.png")), expected)


@pytest.mark.parametrize("suffix", ["png", "tif", "pgm"])
def test_sixteen_bits_are_scaled_not_clipped(suffix, tmp_path):
    values = np.array([[0, 257], [257 * 100, 65535]], np.uint16)
    Image.fromarray(values).save(tmp_path / f"a.{suffix}")
    prepared = Preparation((1, 2, 2))(open_picture(tmp_path / f"a.{suffix}"))
    assert torch.equal((prepared * 255).round(), torch.tensor([[[0.0, 1.0], [100.0, 255.0]]]))


def test_thirty_two_bits_are_refused_as_they_have_no_range():
    with pytest.raises(Unreadable, match="no known range"):
        Preparation((1, 4, 4))(Image.fromarray(np.zeros((4, 4), np.float32)))


def test_impossible_sizes_are_refused():
    with pytest.raises(InputError, match=r"--resize 200 is smaller .* 224x224; give at least 224"):
        Preparation((3, 224, 224), 200)
    with pytest.raises(InputError, match="the model takes 4 channels"):
        Preparation((4, 224, 224))


def test_sliver_is_unreadable_before_it_fills_the_memory():
    with pytest.raises(Unreadable, match="1x90000 is too narrow: scaled it would be 256x23040000"):
        Preparation((3, 224, 224))(Image.new("RGB", (1, 90_000)))


def test_decompression_bomb_is_unreadable(tmp_path, monkeypatch):
    Image.fromarray(noise(40, 40)).save(tmp_path / "a.png")
    for limit in (1000, 10):  # Pillow warns above the limit, and refuses above twice of it
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
        with pytest.raises(Unreadable, match="decompression bomb"):
            open_picture(tmp_path / "a.png")
