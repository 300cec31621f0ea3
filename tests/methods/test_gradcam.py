import captum.attr
import pytest
import torch
import torchvision
from torch import nn
from torch.nn import functional as F

from saliency_audit.errors import InputError, UnsupportedError
from saliency_audit.methods.gradcam import gradcam
from saliency_audit.models import Classifier, activations


def test_with_a_pooled_linear_head_it_is_the_class_activation_map(cnn, images, targets):
    _, maps = activations(cnn, images, "5")
    cam = torch.einsum("nk,nkhw->nhw", cnn.network[8].weight[targets], maps.detach())
    cam = cam.relu() / maps[0, 0].numel()

    saliency = gradcam(cnn, images, targets)

    expected = F.interpolate(cam[:, None], (12, 16), mode="bilinear", align_corners=True)
    torch.testing.assert_close(saliency, expected.detach())


@pytest.mark.parametrize("layer", ["1", "2", "4", "5"])
def test_equals_captum(layer, cnn, images, targets):
    for module in cnn.modules():
        if isinstance(module, nn.ReLU):
            module.inplace = False  # Captum reads a layer's output after what changed it in place
    small = captum.attr.LayerGradCam(cnn, cnn.network[int(layer)]).attribute(
        images, targets, relu_attributions=True
    )
    expected = F.interpolate(small, (12, 16), mode="bilinear", align_corners=True)

    torch.testing.assert_close(gradcam(cnn, images, targets, layer=layer), expected.detach())


@pytest.mark.parametrize("layer", ["1", "4"])
def test_a_layer_before_an_in_place_activation_is_read_before_it(layer, cnn, images, targets):
    in_place = gradcam(cnn, images, targets, layer=layer)
    for module in cnn.modules():
        if isinstance(module, nn.ReLU):
            module.inplace = False

    torch.testing.assert_close(in_place, gradcam(cnn, images, targets, layer=layer))


def test_scaling_the_logit_scales_the_map(cnn, images, targets):
    before = gradcam(cnn, images, targets)
    cnn.network[8].weight.data *= 3

    torch.testing.assert_close(gradcam(cnn, images, targets), 3 * before)


def test_the_models_layer_is_the_default(cnn, images, targets):
    cnn.layer = "2"

    assert torch.equal(gradcam(cnn, images, targets), gradcam(cnn, images, targets, layer="2"))
    assert not torch.equal(gradcam(cnn, images, targets), gradcam(cnn, images, targets, layer="5"))


def test_a_transformer_has_a_map_too(draws):
    torch.manual_seed(0)
    network = torchvision.models.VisionTransformer(32, 8, 2, 2, 16, 32, num_classes=4).eval()
    nn.init.normal_(network.heads.head.weight)
    model = Classifier(network, input_shape=(3, 32, 32))
    images = torch.rand(2, 3, 32, 32)

    saliency = gradcam(model, images, torch.tensor([1, 3]))

    assert saliency.shape == (2, 1, 32, 32)
    assert (saliency.amax((1, 2, 3)) > 0).any()


def test_wrong_layers_are_refused(cnn, images, targets):
    with pytest.raises(InputError, match="has no layer 'layer4'; nearest:"):
        gradcam(cnn, images, targets, layer="layer4")
    with pytest.raises(UnsupportedError, match=r"shape \(4, 5\) is no map"):
        gradcam(cnn, images, targets, layer="8")
