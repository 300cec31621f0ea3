"""Image classifiers that transformers wrote to a folder."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from saliency_audit.audits import fool, table
from saliency_audit.data import from_tensors
from saliency_audit.errors import InputError
from saliency_audit.models import last_spatial_layer, load, nature
from saliency_audit.models.hugging_face import geometry

transformers = pytest.importorskip("transformers")
pytestmark = pytest.mark.filterwarnings("ignore")

MEAN, STD = [0.4, 0.5, 0.6], [0.2, 0.25, 0.3]


def vit():
    config = transformers.ViTConfig(
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        image_size=32,
        patch_size=8,
        num_labels=4,
    )
    processor = transformers.ViTImageProcessor(
        size={"height": 32, "width": 32}, image_mean=MEAN, image_std=STD
    )
    return transformers.ViTForImageClassification(config), processor


def convnext():
    config = transformers.ConvNextConfig(
        hidden_sizes=[8, 16], depths=[1, 1], num_stages=2, num_labels=4, patch_size=4
    )
    processor = transformers.ConvNextImageProcessor(
        size={"shortest_edge": 32}, crop_pct=0.875, image_mean=MEAN, image_std=STD
    )
    return transformers.ConvNextForImageClassification(config), processor


def resnet():
    config = transformers.ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic", num_labels=4
    )
    processor = transformers.ConvNextImageProcessor(
        size={"shortest_edge": 32}, crop_pct=0.875, image_mean=MEAN, image_std=STD
    )
    return transformers.ResNetForImageClassification(config), processor


def written(make, folder: Path):
    torch.manual_seed(0)
    network, processor = make()
    network.eval().save_pretrained(folder)
    processor.save_pretrained(folder)
    return network, processor


@pytest.mark.parametrize("make", [vit, convnext, resnet])
def test_logits_are_those_of_the_library_with_its_own_processor(make, tmp_path):
    network, processor = written(make, tmp_path)
    model = load(f"hf:{tmp_path}")
    assert model.input_shape == (3, 32, 32)
    assert model.resize == (32 if make is vit else 36)
    assert any("by its preprocessor_config.json" in note for note in model.notes)
    assert not any("assumed" in note for note in model.notes)
    pixels = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), dtype=np.uint8)
    inputs = processor(list(pixels), return_tensors="pt", do_resize=False)
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255
    assert model.check(images) == 4
    with torch.no_grad():
        assert torch.allclose(model(images), network(**inputs).logits, atol=1e-5)
    told = nature(model, images)
    assert told.no_gradient == 0
    assert not told.refused("net")
    assert last_spatial_layer(model, images)


@pytest.mark.parametrize("make", [vit, convnext, resnet])
def test_what_is_made_of_it_returns_a_dictionary_with_the_logits(make, tmp_path):
    written(make, tmp_path)
    model = load(f"hf:{tmp_path}")
    images = torch.rand(8, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    data = from_tensors(images, torch.zeros(8, dtype=torch.long))
    rows = table(
        fool(
            model,
            data,
            saliency=["gradient", "gradcam"],
            tricks=["logit-shift"],
            folder=tmp_path / "forged",
        )
    )
    assert rows[rows["check"] == "prediction-kept"]["value"].astype(float).min() == 1
    saved = load(str(tmp_path / "forged" / "logit-shift.pt2"))
    assert set(saved.network(images)) == {"logits"}


def test_weights_in_half_precision_stay_so(tmp_path):
    torch.manual_seed(0)
    network, processor = resnet()
    network.eval().half().save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    model = load(f"hf:{tmp_path}")
    assert model.dtype == torch.float16
    assert model.check(torch.rand(2, 3, 32, 32)) == 4


def refusal(name) -> str:
    with pytest.raises(InputError) as caught:
        load(f"hf:{name}")
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_what_cannot_be_audited_is_one_line(tmp_path):
    network, _ = written(vit, tmp_path / "vit")
    network.vit.save_pretrained(tmp_path / "headless")
    assert "an embedding, not logits of classes" in refusal(tmp_path / "headless")
    assert "hf download no/such-model" in refusal("no/such-model")
    (tmp_path / "empty").mkdir()
    assert "as save_pretrained writes it" in refusal(tmp_path / "empty")
    config = tmp_path / "vit" / "config.json"
    config.write_text(
        json.dumps(json.loads(config.read_text()) | {"problem_type": "multi_label_classification"})
    )
    assert "is a multi-label classifier" in refusal(tmp_path / "vit")


def test_without_a_processor_the_size_is_that_of_the_configuration(tmp_path):
    network, _ = vit()
    network.save_pretrained(tmp_path)
    model = load(f"hf:{tmp_path}")
    assert model.input_shape == (3, 32, 32)
    assert any("mean 0 and std 1 assumed" in note for note in model.notes)


@pytest.mark.parametrize(
    ("processor", "expected"),
    [
        ({"size": 224}, (224, 224, 224, True)),
        ({"size": {"shortest_edge": 384}, "crop_pct": 0.875}, (384, 384, 384, True)),
        (
            {"size": {"height": 70, "width": 90}, "crop_size": 64, "do_center_crop": True},
            (64, 64, 70, False),
        ),
    ],
)
def test_geometry(processor, expected):
    assert geometry(processor) == expected
