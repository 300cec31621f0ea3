import captum.attr
import pytest
import torch
import torchvision
from torch import nn
from torch.nn import functional as F

from saliency_audit.errors import UnsupportedError
from saliency_audit.methods.input_x_gradient import input_x_gradient
from saliency_audit.methods.lrp import lrp
from saliency_audit.models import Classifier
from tests.conftest import COLOURS
from tests.methods.test_deeplift import Reused, Written


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


def conserved(network, images, targets, **options):
    model = Classifier(network.eval(), input_shape=tuple(images.shape[1:]), **COLOURS)
    saliency = lrp(model, images, targets, **options)
    logits = model(images).detach()[range(len(images)), targets]
    torch.testing.assert_close(saliency.sum((1, 2, 3)), logits, rtol=1e-3, atol=1e-6)
    return saliency


@pytest.mark.parametrize(
    "name",
    [
        *("resnet18", "mobilenet_v3_small"),
        *(
            pytest.param(name, marks=pytest.mark.slow)
            for name in ("densenet121", "efficientnet_b0", "convnext_tiny")
        ),
    ],
)
def test_relevance_is_conserved_in_an_architecture(name, targets):
    torch.manual_seed(0)
    network = torchvision.models.get_model(name, num_classes=5)
    conserved(network, torch.rand(2, 3, 64, 64), targets[:2])


@pytest.mark.parametrize("rule", ["z-plus", "epsilon"])
def test_relevance_is_conserved_where_layers_run_several_times(rule, images, targets):
    torch.manual_seed(0)
    network = Reused()
    for layer in (network.first, network.second, network.fc):
        nn.init.zeros_(layer.bias)
    conserved(network, images, targets, rule=rule)


def test_the_epsilon_rule_on_a_residual_relu_network_is_input_x_gradient(images, targets):
    torch.manual_seed(0)
    model = classifier(Reused().double().eval())
    torch.testing.assert_close(
        lrp(model, images.double(), targets, rule="epsilon"),
        input_x_gradient(model, images.double(), targets),
        rtol=1e-4,
        atol=1e-7,
    )


class Block(nn.Module):
    """relu(norm(conv(x)) + x) gated by its own mean, of what a first convolution made."""

    def __init__(self):
        super().__init__()
        self.first, self.conv, self.norm = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)
        self.fc = nn.Linear(4, 5)
        nn.init.uniform_(self.norm.weight, -1, 1)
        nn.init.uniform_(self.norm.running_mean, -1, 1)
        nn.init.uniform_(self.norm.bias, -1, 1)
        # So that no unit is driven by a bias alone.
        nn.init.ones_(self.first.bias)

    def forward(self, x):
        x = F.relu(self.first(x))
        y = F.relu(self.norm(self.conv(x)) + x)
        return self.fc((y * torch.sigmoid(y.mean((2, 3), keepdim=True))).mean((2, 3)))


def test_a_residual_block_with_a_gate_by_hand(images, targets):
    torch.manual_seed(0)
    network, images = Block().double().eval(), images.double()
    saliency = lrp(Classifier(network, input_shape=(3, 12, 16)), images, targets)

    with torch.no_grad():
        x = network.first(images).relu()
        branch = network.norm(network.conv(x))
        y = (branch + x).relu()
        gated = y * y.mean((2, 3), keepdim=True).sigmoid()
        pooled = gated.mean((2, 3))
        # The head, the mean (the gate takes nothing), the sum.
        share = pooled * network.fc.weight[targets].clamp(min=0)
        head = network(images)[range(4), targets, None] * share / share.sum(1, keepdim=True)
        relevance = head[:, :, None, None] * gated / gated.sum((2, 3), keepdim=True)
        parts = [part.clamp(min=0) for part in (branch, x)]
        at_branch, at_x = (
            torch.where(y > 0, relevance * part / (parts[0] + parts[1]), 0) for part in parts
        )
        # z+ of the convolution and its normalisation as one layer.
        scale = network.norm.weight / (network.norm.running_var + network.norm.eps).sqrt()
        weight = (network.conv.weight[:, :, 0, 0] * scale[:, None]).clamp(min=0)
        z = torch.einsum("nihw,oi->nohw", x, weight)
        at_x = at_x + x * torch.einsum(
            "nohw,oi->nihw", torch.where(z > 0, at_branch / z, 0), weight
        )
        # z^B of the first layer, whose pixels lie in [0, 1].
        w = network.first.weight[:, :, 0, 0]
        z = torch.einsum("nihw,oi->nohw", images, w) - w.clamp(max=0).sum(1)[None, :, None, None]
        terms = images[:, None] * w[None, :, :, None, None] - w.clamp(max=0)[None, :, :, None, None]
        expected = (terms * (at_x / z)[:, :, None]).sum(1)
    torch.testing.assert_close(saliency, expected)


@pytest.mark.parametrize("bias", [1, 0, -2], ids=["negative terms", "some units", "bias alone"])
def test_relevance_is_conserved_where_no_term_is_positive(bias, images, targets):
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 1), nn.Flatten(),
                            nn.Linear(280, 5))  # fmt: skip
    network[2].weight.data = -network[2].weight.data.abs()
    nn.init.constant_(network[0].bias, bias)
    conserved(network, images, targets)
    network.insert(2, nn.ZeroPad2d(1))
    network[3] = nn.Conv2d(4, 2, 3)
    network[3].weight.data = -network[3].weight.data.abs()
    conserved(network, images, targets)


@pytest.mark.parametrize("scale", [1e-15, 1e-30])
def test_relevance_is_conserved_where_activations_are_tiny(scale, images, targets):
    layers = network()
    layers[3].weight.data *= scale
    layers[7].weight.data *= 1e15
    conserved(layers, images, targets)


def test_an_exported_program_has_the_map_of_its_module(images, targets):
    torch.manual_seed(0)
    network = Block().eval()
    program = torch.export.export(
        network, (images,), dynamic_shapes=({0: torch.export.Dim("batch")},)
    )
    model = classifier(network)
    exported = model.replaced(torch.export.unflatten(program), format="exported")
    for rule in ("z-plus", "epsilon"):
        torch.testing.assert_close(
            lrp(exported, images, targets, rule=rule), lrp(model, images, targets, rule=rule)
        )


def test_each_image_passes_once(cnn, images, targets):
    lrp(cnn, images, targets, batch_size=3)
    assert cnn.passes == len(images)


@pytest.mark.parametrize(
    ("network", "reason"),
    [
        (Written(torch.sin), "no rule for sin$"),
        (Written(lambda x: F.softmax(x, 1).log()), "no rule for log$"),
        (torchvision.models.VisionTransformer(12, 4, 1, 1, 4, 4, num_classes=5),
         r"sums to \S+ instead of \S+ \(the rest ends in constants beside the image"),
    ],
)  # fmt: skip
def test_where_relevance_is_lost_it_is_refused(network, reason, images, targets):
    if isinstance(network, torchvision.models.VisionTransformer):
        images = images[..., :12]
        nn.init.normal_(network.heads.head.weight)
    with pytest.raises(UnsupportedError, match=reason) as refused:
        lrp(classifier(network.eval()), images, targets)
    assert "\n" not in str(refused.value)
