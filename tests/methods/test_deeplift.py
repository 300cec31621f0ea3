import captum.attr
import pytest
import torch
import torchvision
from torch import nn
from torch.nn import functional as F

from saliency_audit.errors import UnsupportedError
from saliency_audit.methods.deeplift import deeplift
from saliency_audit.methods.integrated_gradients import integrated_gradients
from saliency_audit.models import SCALARS, Classifier
from tests.conftest import COLOURS, plain_cnn


class Functional(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.relu = nn.ReLU()
        self.fc = nn.Linear(4, 5)

    def forward(self, x):
        return self.fc(F.relu(self.relu(self.conv(x)) - 0.1).mean((2, 3)))


def classifier(network):
    return Classifier(network.eval(), input_shape=(3, 12, 16), **COLOURS)


def test_of_a_linear_network_it_is_the_difference_times_the_weight(images, targets):
    model = classifier(nn.Sequential(nn.Flatten(), nn.Linear(576, 5)))

    weight = model.network[1].weight[targets].view_as(images) / model.std
    torch.testing.assert_close(
        deeplift(model, images, targets, baseline=0.25), ((images - 0.25) * weight).detach()
    )


def test_of_one_relu_layer_it_is_integrated_gradients(images, targets):
    # In one layer the slope between the ends of the way is the mean gradient on it.
    model = classifier(nn.Sequential(nn.Flatten(), nn.Linear(576, 9), nn.ReLU(), nn.Linear(9, 5)))

    torch.testing.assert_close(
        deeplift(model, images, targets),
        integrated_gradients(model, images, targets, steps=2000),
        rtol=0,
        atol=1e-4,
    )


@pytest.mark.parametrize("scalar", SCALARS)
@pytest.mark.parametrize("pool", [nn.AvgPool2d, nn.MaxPool2d])
def test_summation_to_delta(scalar, pool, cnn, images, targets):
    cnn.network[3] = pool(2)
    saliency = deeplift(cnn, images, targets, scalar=scalar, batch_size=5)

    before = cnn(cnn.mean.expand_as(images))
    delta = cnn.explained(scalar, cnn(images), targets) - cnn.explained(scalar, before, targets)
    torch.testing.assert_close(
        saliency.sum((1, 2, 3)),
        delta.detach().float(),
        rtol=1e-2 if scalar == "margin" else 1e-3,
        atol=1e-4,
    )


def test_equals_captum(cnn, images, targets):
    for module in cnn.modules():
        if isinstance(module, nn.ReLU):
            module.inplace = False
    inputs = ((images - cnn.mean) / cnn.std).requires_grad_()
    with pytest.warns(UserWarning, match="hooks"):
        expected = captum.attr.DeepLift(cnn.network).attribute(
            inputs, torch.zeros_like(inputs), targets
        )

    torch.testing.assert_close(
        deeplift(cnn, images, targets), expected.detach(), rtol=1e-3, atol=1e-5
    )


class Reused(nn.Module):
    """A residual network whose only ReLU runs three times, in place."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 6, 3, padding=1)
        self.relu = nn.ReLU(inplace=True)
        self.fc = nn.Linear(6, 5)

    def forward(self, x):
        x = self.relu(self.first(x))
        x = self.relu(self.second(x) + x)
        return self.fc(self.relu(self.second(x) - x).mean((2, 3)))


class Unrolled(nn.Module):
    """The same network, each layer run once."""

    def __init__(self, reused):
        super().__init__()
        self.conv = nn.ModuleList([reused.first, reused.second, nn.Conv2d(6, 6, 3, padding=1)])
        self.conv[2].load_state_dict(reused.second.state_dict())
        self.relu = nn.ModuleList([nn.ReLU(), nn.ReLU(), nn.ReLU()])
        self.fc = reused.fc

    def forward(self, x):
        x = self.relu[0](self.conv[0](x))
        x = self.relu[1](self.conv[1](x) + x)
        return self.fc(self.relu[2](self.conv[2](x) - x).mean((2, 3)))


def test_layers_that_run_several_times_count_each_time(images, targets):
    torch.manual_seed(0)
    network = Reused()

    torch.testing.assert_close(
        deeplift(classifier(network), images, targets),
        deeplift(classifier(Unrolled(network)), images, targets),
    )


@pytest.mark.parametrize(
    ("network", "reason"),
    [
        (Functional(), "calls relu as a function"),
        (plain_cnn(nn.ReLU6), "no rule for ReLU6"),
        (plain_cnn(nn.GELU), "no rule for GELU"),
        (plain_cnn(nn.SiLU), "no rule for SiLU"),
        (nn.Sequential(nn.Conv2d(3, 8, 3), nn.GroupNorm(2, 8), nn.ReLU(), *plain_cnn(nn.ReLU)[6:]),
         "instead of"),
        (torchvision.models.squeezenet1_1(num_classes=5), "overlapping max-pooling"),
        (torchvision.models.VisionTransformer(4, 2, 1, 1, 4, 4, num_classes=5), "wrong for"),
    ],
)  # fmt: skip
def test_networks_without_rules_are_refused(network, reason, images, targets):
    if isinstance(network, torchvision.models.VisionTransformer):
        images = images[..., :4, :4]
    if isinstance(network, torchvision.models.SqueezeNet):
        images = torch.rand(2, 3, 64, 64)
        targets = targets[:2]
    with pytest.raises(UnsupportedError, match=reason):
        deeplift(classifier(network), images, targets)
