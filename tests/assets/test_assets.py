"""The card's numbers are measured here again."""

import re

import numpy as np
import pytest
import torch
from PIL import Image

from saliency_audit import assets

CARD = (assets.FOLDER / "CARD.md").read_text(encoding="utf-8")


def test_accuracy_is_the_cards():
    images, labels, _ = assets.bundled_images("test")
    pixels = torch.from_numpy(images)[:, None] / 255
    with torch.no_grad():
        right = int((assets.bundled_model()(pixels).argmax(1).numpy() == labels).sum())
    (stated,) = re.findall(r"1,000 bundled test images \| ([\d.]+) %", CARD)
    # One image may fall on the other side with another machine's round-off.
    assert right / 10 == pytest.approx(float(stated), abs=0.1001)
    (on_all,) = re.findall(r"10,000 test images \| ([\d.]+) %", CARD)
    assert float(on_all) >= 92


def test_model_suits_every_saliency_method():
    model = assets.bundled_model()
    assert not model.training
    activations = [m for m in model.modules() if isinstance(m, torch.nn.ReLU)]
    assert len(activations) == 5
    assert not any(m.inplace for m in activations)
    calls = []
    for activation in activations:
        activation.register_forward_hook(lambda module, *_: calls.append(module))
    assert model(torch.rand(3, 1, 28, 28)).shape == (3, 10)
    assert calls == activations
    assert model.features(torch.rand(1, 1, 28, 28)).shape == (1, 128, 7, 7)


@pytest.mark.parametrize(("split", "per_class"), [("test", 100), ("train", 600)])
def test_images(split, per_class):
    images, labels, names = assets.bundled_images(split)
    assert images.shape == (10 * per_class, 28, 28)
    assert images.dtype == np.uint8
    assert np.bincount(labels).tolist() == [per_class] * 10
    assert len(set(names)) == len(names)
    assert names == sorted(names)
    assert names[0].startswith(f"{split}/0")


def test_photographs_are_in_the_card_in_colour_and_small():
    paths = assets.photographs()
    assert len(paths) == 10
    assert sum(path.stat().st_size for path in paths) <= 300_000
    for path in paths:
        assert f"`{path.name}`" in CARD
        with Image.open(path) as image:
            assert image.mode == "RGB"
            assert min(image.size) == 256


def test_sizes():
    assert (assets.FOLDER / "fashion-mnist-cnn.safetensors").stat().st_size < 1_000_000
    assert sum(p.stat().st_size for p in assets.FOLDER.rglob("*") if p.is_file()) < 5_000_000


@pytest.mark.parametrize("size", [224, 28])
def test_picture_is_strokes_on_black(size):
    with Image.open(assets.picture_path()) as image:
        assert (image.mode, image.size) == ("L", (224, 224))
        pixels = np.asarray(image.resize((size, size), Image.Resampling.BILINEAR))
    assert pixels.max() > 230
    assert max(pixels[0, 0], pixels[0, -1], pixels[-1, 0], pixels[-1, -1]) == 0
    assert 0.2 < (pixels > 127).mean() < 0.4
    # Both eyes and the mouth are there, apart from each other.
    at = {
        "eyes": [(10.5, 9.5), (10.5, 18.5)],
        "mouth": [(20.3, 14)],
        "cheeks and nose": [(14, 14), (15, 5), (15, 23)],
    }
    values = {
        part: [int(pixels[int(y * size / 28), int(x * size / 28)]) for y, x in places]
        for part, places in at.items()
    }
    assert min(values["eyes"] + values["mouth"]) > 200
    assert max(values["cheeks and nose"]) < 30
