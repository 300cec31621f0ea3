import captum.attr
import pytest
import torch
import torchvision
from torch import nn
from torch.nn import functional as F

from saliency_audit.errors import UnsupportedError
from saliency_audit.methods.gradcam import gradcam
from saliency_audit.methods.gradient import gradient
from saliency_audit.methods.guided_backprop import guided_backprop
from saliency_audit.methods.guided_gradcam import guided_gradcam
from saliency_audit.models import Classifier


class GuidedRelu(torch.autograd.Function):
    """The definition: what comes back passes where input and signal are positive."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.clamp(min=0)

    @staticmethod
    def backward(ctx, signal):
        (x,) = ctx.saved_tensors
        return signal.clamp(min=0) * (x > 0)


class Guided(nn.Module):
    def forward(self, x):
        return GuidedRelu.apply(x)


def guided(network):
    for name, child in network.named_children():
        if isinstance(child, nn.ReLU):
            setattr(network, name, Guided())
        else:
            guided(child)
    return network


def test_equals_the_definition(cnn, images, targets):
    saliency = guided_backprop(cnn, images, targets, scalar="log-prob")

    guided(cnn.network)
    expected = gradient(cnn, images, targets, scalar="log-prob")
    torch.testing.assert_close(saliency, expected)


def test_equals_the_definition_where_a_relu_runs_twice_in_place():
    torch.manual_seed(0)
    network = torchvision.models.resnet18(num_classes=5).eval()
    model = Classifier(network, input_shape=(3, 64, 64), mean=0.5, std=0.2)
    images, targets = torch.rand(2, 3, 64, 64), torch.tensor([3, 1])

    saliency = guided_backprop(model, images, targets)

    guided(network)
    torch.testing.assert_close(saliency, gradient(model, images, targets), rtol=1e-3, atol=1e-6)


def test_equals_captum(cnn, images, targets):
    saliency = guided_backprop(cnn, images, targets)
    for module in cnn.modules():
        if isinstance(module, nn.ReLU):
            module.inplace = False
    with pytest.warns(UserWarning, match="hooks"):
        expected = captum.attr.GuidedBackprop(cnn).attribute(
            images.clone().requires_grad_(), targets
        )

    torch.testing.assert_close(saliency, expected)


def test_where_everything_is_positive_it_is_the_gradient(images, targets):
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(560, 5)).eval()
    for parameter in network.parameters():
        parameter.data.abs_()
    model = Classifier(network, input_shape=(3, 12, 16))

    torch.testing.assert_close(
        guided_backprop(model, images, targets), gradient(model, images, targets)
    )


class Functional(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.relu = nn.ReLU()
        self.fc = nn.Linear(4, 5)

    def forward(self, x):
        return self.fc(F.relu(self.relu(self.conv(x)) - 0.1).mean((2, 3)))


@pytest.mark.parametrize(
    ("network", "reason"),
    [
        (Functional(), "calls relu as a function"),
        (nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU6(), nn.Flatten(), nn.Linear(560, 5)), "ReLU6"),
        (nn.Sequential(nn.Conv2d(3, 4, 3), nn.GELU(), nn.Flatten(), nn.Linear(560, 5)), "GELU"),
        (nn.Sequential(nn.Flatten(), nn.Linear(576, 5)), "has no nn.ReLU"),
    ],
)
def test_what_would_be_the_plain_gradient_is_refused(network, reason, images, targets):
    model = Classifier(network.eval(), input_shape=(3, 12, 16))

    for method in (guided_backprop, guided_gradcam):
        with pytest.raises(UnsupportedError, match=reason):
            method(model, images, targets)


def test_guided_gradcam_is_the_product(cnn, images, targets):
    torch.testing.assert_close(
        guided_gradcam(cnn, images, targets, layer="2"),
        guided_backprop(cnn, images, targets) * gradcam(cnn, images, targets, layer="2"),
    )
