import captum.attr
import pytest
import torch
from torch import nn

from saliency_audit.errors import UnsupportedError
from saliency_audit.methods.input_x_gradient import input_x_gradient
from saliency_audit.methods.lrp import lrp
from saliency_audit.models import Classifier
from tests.conftest import COLOURS, plain_cnn
from tests.methods.test_deeplift import Reused


def network(bias=False):
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, bias=bias),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2),
        nn.Conv2d(6, 8, 3, bias=bias),
        nn.ReLU(inplace=True),
        nn.Flatten(),
        nn.Dropout(),
        nn.Linear(120, 5, bias=bias),
    ).eval()


def classifier(layers, **colours):
    return Classifier(layers, input_shape=(3, 12, 16), **(colours or COLOURS))


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("colours", [COLOURS, {"mean": 0.0, "std": 1.0}])
def test_relevance_is_conserved(bias, colours, images, targets):
    model = classifier(network(bias), **colours)

    saliency = lrp(model, images, targets)

    logits = model(images).detach()[range(4), targets]
    torch.testing.assert_close(saliency.sum((1, 2, 3)), logits, rtol=1e-3, atol=1e-5)


def test_equals_the_definition(images, targets):
    # Two linear layers, by explicit sums: z+ in the second, z^B in the first.
    layers = nn.Sequential(nn.Flatten(), nn.Linear(576, 30), nn.ReLU(), nn.Linear(30, 5)).eval()
    model = classifier(layers)
    x = ((images - model.mean) / model.std).flatten(1).detach()
    low, high = (
        ((end - model.mean) / model.std).expand(1, 3, 12, 16).reshape(1, -1) for end in (0, 1)
    )
    w, v = layers[1].weight.detach(), layers[3].weight.detach()
    hidden = layers[1](x).relu().detach()
    logits = layers[3](hidden).detach()

    share = hidden * v.clamp(min=0)[targets]
    relevance = logits[range(4), targets, None] * share / share.sum(1, keepdim=True)
    z = x[:, None] * w - low[:, None] * w.clamp(min=0) - high[:, None] * w.clamp(max=0)
    expected = (z / z.sum(2, keepdim=True) * relevance[:, :, None]).sum(1)

    torch.testing.assert_close(
        lrp(model, images, targets), expected.view_as(images), rtol=1e-3, atol=1e-6
    )


def test_the_epsilon_rule_on_a_relu_network_is_input_x_gradient(cnn, images, targets):
    # Ancona et al. 2018, proposition 1.
    for scalar in ("logit", "log-prob"):
        torch.testing.assert_close(
            lrp(cnn, images, targets, scalar=scalar, rule="epsilon"),
            input_x_gradient(cnn, images, targets, scalar=scalar),
            rtol=1e-3,
            atol=1e-4,
        )


def test_the_epsilon_rule_equals_captum(images, targets):
    layers = network(bias=True)
    layers[5] = nn.AdaptiveAvgPool2d((3, 5))
    layers.append(nn.Linear(5, 5))

    class Flattened(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = layers

        def forward(self, x):
            return self.layers[7](self.layers[:6](x).flatten(1))

    model = classifier(Flattened().eval())
    saliency = lrp(model, images, targets, rule="epsilon")
    for module in model.modules():
        if isinstance(module, nn.ReLU):
            module.inplace = False
    inputs = ((images - model.mean) / model.std).requires_grad_()
    expected = captum.attr.LRP(model.network).attribute(inputs, targets)

    torch.testing.assert_close(saliency, expected.detach(), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
    ("layers", "reason"),
    [
        (Reused(), "calls add outside a layer"),
        (plain_cnn(nn.ReLU6), "no rule for ReLU6"),
        (nn.Sequential(nn.Conv2d(3, 8, 3), nn.GroupNorm(2, 8), *plain_cnn(nn.ReLU)[5:]), "GroupN"),
    ],
)
def test_networks_without_rules_are_refused(layers, reason, images, targets):
    with pytest.raises(UnsupportedError, match=reason):
        lrp(classifier(layers.eval()), images, targets)
