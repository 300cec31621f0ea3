import captum.attr
import pytest
import torch
import torchvision
from torch import nn
from torch.nn import functional as F

from saliency_audit.errors import InputError, UnsupportedError
from saliency_audit.methods.gradcam import gradcam, why_zero
from saliency_audit.models import Classifier, activations, last_spatial_layer, spatial_layers


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


class PartlyNegative(nn.Module):
    """An image, of which a convolution by -1 and then the class's weights make the logits."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(1, 1, 1, bias=False)
        self.second = nn.Conv2d(1, 1, 1, bias=False)
        self.head = nn.Linear(1, 2, bias=False)
        self.first.weight.data.fill_(1.0)
        self.second.weight.data.fill_(1.0)
        self.head.weight.data[:, 0] = torch.tensor([-1.0, 1.0])

    def forward(self, x):
        return self.head(self.second(self.first(x) - 2).mean((2, 3)))


def test_a_zero_map_says_why_and_which_layer_has_some():
    # Class 1 has weight 1: layer second is x - 2 < 0 everywhere, layer first x > 0.
    model = Classifier(PartlyNegative().eval(), input_shape=(1, 8, 8))
    image, target = torch.full((1, 1, 8, 8), 0.5), torch.tensor([1])

    assert not gradcam(model, image, target).any()
    assert why_zero(model, image, target) == (
        "its weights cancel in layer second, which has no positive evidence for the class; "
        "the next before it that has some: --layer first"
    )
    assert gradcam(model, image, target, layer="first").all()
    # Class 0 has weight -1 and so positive evidence: -1 (x - 2).
    assert why_zero(model, image, torch.tensor([0])) == ""
    model.network.head.weight.data.zero_()
    assert why_zero(model, image, target) == (
        "the logit has no mean gradient in layer second; no layer before it has some"
    )


class WithPositions(nn.Module):
    """Adds a table of positions that a convolution makes of a constant, after the last map."""

    def __init__(self):
        super().__init__()
        self.body = nn.Conv2d(3, 4, 3, padding=1)
        self.table = nn.Conv2d(2, 4, 1)
        self.head = nn.Linear(4, 3)

    def forward(self, x):
        x = self.body(x)
        constant = torch.ones(len(x), 2, *x.shape[2:])
        return self.head((x + self.table(constant)).relu().mean((2, 3)))


def test_layers_that_depend_on_no_image_are_passed_over():
    torch.manual_seed(0)
    model = Classifier(WithPositions().eval(), input_shape=(3, 8, 8))
    images, targets = torch.rand(2, 3, 8, 8), torch.tensor([0, 2])

    with model.audited():
        assert last_spatial_layer(model, images) == "body"
        assert gradcam(model, images, targets).shape == (2, 1, 8, 8)


class Windows(nn.Module):
    """Maps of 8x8 as four windows beside each other, in an attention's shape, and back."""

    def __init__(self):
        super().__init__()
        self.body = nn.Conv2d(3, 16, 3, padding=1)
        self.within = nn.Linear(16, 16)
        self.attention = nn.Softmax(-1)
        self.pool = nn.Linear(16, 16)
        self.head = nn.Linear(16, 3)

    def forward(self, x):
        x = self.body(x)
        n, c, h, w = x.shape
        # Windows first: only the network knows which image each row is of.
        x = x.view(n, c, 2, h // 2, 2, w // 2).permute(2, 4, 0, 3, 5, 1).reshape(4 * n, -1, c)
        x = self.within(x).relu()
        x = x.view(2, 2, n, h // 2, w // 2, c).permute(2, 0, 3, 1, 4, 5).reshape(n, h * w, c)
        x = self.pool(x).relu()
        square = self.attention(torch.einsum("ntc,nsc->nts", x, x).unsqueeze(1))
        return self.head((square[:, 0].detach() @ x).mean(1) + 0 * square.mean((1, 2, 3))[:, None])


def test_windows_and_squares_of_tokens_are_no_maps():
    torch.manual_seed(0)
    model = Classifier(Windows().eval(), input_shape=(3, 8, 8))
    images, targets = torch.rand(2, 3, 8, 8), torch.tensor([0, 2])

    assert spatial_layers(model, images) == ["body", "pool"]
    with pytest.raises(UnsupportedError, match=r"\(8, 16, 16\) holds windows of 2 images"):
        gradcam(model, images, targets, layer="within")
