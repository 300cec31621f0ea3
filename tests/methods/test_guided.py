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


class Written(nn.Module):
    """A rectifier, however it is written, between two layers."""

    def __init__(self, rectify):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.again = nn.Conv2d(4, 4, 3)
        self.fc = nn.Linear(4, 5)
        self.rectify = rectify

    def forward(self, x):
        return self.fc(self.rectify(self.again(self.rectify(self.conv(x)))).mean((2, 3)))


class GuidedAs(torch.autograd.Function):
    """The definition, for a rectifier with a slope of its own."""

    @staticmethod
    def forward(ctx, x, value, slope):
        ctx.save_for_backward(slope)
        return value

    @staticmethod
    def backward(ctx, signal):
        (slope,) = ctx.saved_tensors
        return torch.where(signal > 0, signal, 0) * slope, None, None


def as_defined(below, above):
    def rectify(x):
        slope = torch.where(x > 0, torch.where(x < above, 1.0, 0.0), below)
        return GuidedAs.apply(x, torch.where(x > 0, x.clamp(max=above), below * x), slope)

    return rectify


WAYS = {
    "function": (F.relu, 0, torch.inf),
    "method": (lambda x: x.relu(), 0, torch.inf),
    "in place": (lambda x: F.relu(x, inplace=True), 0, torch.inf),
    "in place, method": (lambda x: x.relu_(), 0, torch.inf),
    "clamp": (lambda x: x.clamp(min=0), 0, torch.inf),
    "product": (lambda x: x * (x > 0), 0, torch.inf),
    "maximum": (lambda x: torch.maximum(x, torch.zeros_like(x)), 0, torch.inf),
    "relu6": (F.relu6, 0, 6),
    "ReLU6": (nn.ReLU6(), 0, 6),
    "clipped": (lambda x: x.clamp(0, 0.1), 0, 0.1),
    "leaky": (nn.LeakyReLU(0.1), 0.1, torch.inf),
    "PReLU": (nn.PReLU(init=0.2), 0.2, torch.inf),
}


@pytest.mark.parametrize("way", WAYS)
def test_however_the_rectifier_is_written(way, images, targets):
    torch.manual_seed(0)
    rectify, below, above = WAYS[way]
    network = Written(rectify).eval()
    saliency = guided_backprop(Classifier(network, input_shape=(3, 12, 16)), images, targets)

    network._modules.pop("rectify", None)
    network.rectify = as_defined(below, above)
    model = Classifier(network, input_shape=(3, 12, 16))
    torch.testing.assert_close(saliency, gradient(model, images, targets))


def test_an_exported_program_has_the_map_of_its_module(cnn, images, targets):
    batch = torch.export.Dim("batch")
    program = torch.export.export(cnn.network, (images,), dynamic_shapes=({0: batch},))
    exported = cnn.replaced(torch.export.unflatten(program), format="exported")
    torch.testing.assert_close(
        guided_backprop(exported, images, targets), guided_backprop(cnn, images, targets)
    )


class Gated(nn.Module):
    """ReLU, and a gate that is passed like any function."""

    def __init__(self, gate):
        super().__init__()
        self.conv = nn.Conv2d(3, 5, 3)
        self.gate = gate

    def forward(self, x):
        features = F.relu(self.conv(x)).mean((2, 3))
        return features - 0.1 * features * self.gate(features)


@pytest.mark.parametrize("gate", [torch.sigmoid, F.hardsigmoid, F.hardtanh, torch.tanh])
def test_gates_and_clips_are_passed_like_in_the_gradient(gate, images, targets):
    model = Classifier(Gated(gate).eval(), input_shape=(3, 12, 16))
    # What comes back to the gate is negative, and what reaches the ReLU is positive all the same.
    torch.testing.assert_close(
        guided_backprop(model, images, targets), gradient(model, images, targets)
    )


@pytest.mark.parametrize(
    ("activation", "reason"),
    [
        (nn.GELU(), "rectifies with gelu"),
        (nn.SiLU(), "rectifies with silu"),
        (nn.Hardswish(), "rectifies with hardswish"),
        (nn.Tanh(), "has no ReLU"),
        (nn.Hardtanh(), "has no ReLU"),
    ],
)
def test_what_would_be_the_plain_gradient_is_refused(activation, reason, images, targets):
    network = nn.Sequential(nn.Conv2d(3, 4, 3), activation, nn.Flatten(), nn.Linear(560, 5)).eval()
    model = Classifier(network, input_shape=(3, 12, 16))

    for method in (guided_backprop, guided_gradcam):
        with pytest.raises(UnsupportedError, match=reason):
            method(model, images, targets)


def test_guided_gradcam_is_the_product(cnn, images, targets):
    torch.testing.assert_close(
        guided_gradcam(cnn, images, targets, layer="2"),
        guided_backprop(cnn, images, targets) * gradcam(cnn, images, targets, layer="2"),
    )
