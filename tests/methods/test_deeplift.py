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
from tests.conftest import COLOURS


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


class Written(nn.Module):
    """A function of the features of a convolution, and a linear layer."""

    def __init__(self, function):
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3, padding=1)
        self.fc = nn.Linear(6, 5)
        self.function = function

    def forward(self, x):
        return self.fc(self.function(self.conv(x)).mean((2, 3)))


def total_is_the_difference(network, images, targets, rel=1e-3):
    """In double precision what rounding leaves out is far below any tolerance."""
    model = Classifier(network.eval(), input_shape=tuple(images.shape[1:]), **COLOURS)
    saliency = deeplift(model, images, targets, baseline=0.3)
    rows = torch.arange(len(images))
    delta = (model(images) - model(torch.full_like(images, 0.3)))[rows, targets].detach()
    assert saliency.sum((1, 2, 3)).tolist() == pytest.approx(delta.tolist(), rel=rel, abs=1e-9)
    return saliency


FUNCTIONS = {
    "relu": F.relu,
    "relu in place": lambda x: x.relu_(),
    "relu6": lambda x: F.relu6(4 * x),
    "hardtanh": lambda x: F.hardtanh(x, -0.2, 0.3),
    "leaky": lambda x: F.leaky_relu(x, 0.1, inplace=True),
    "clamp": lambda x: x.clamp(min=0),
    "product with its sign": lambda x: x * (x > 0),
    "maximum": lambda x: torch.maximum(x, torch.zeros_like(x)),
    "sigmoid": torch.sigmoid,
    "silu": lambda x: F.silu(x, inplace=True),
    "silu, written out": lambda x: x * x.sigmoid(),
    "gelu": F.gelu,
    "mish": F.mish,
    "hardswish": F.hardswish,
    "elu": F.elu,
    "softplus": F.softplus,
    "squeeze and excitation": lambda x: x * x.mean((2, 3), keepdim=True).sigmoid(),
    "in place after its use": lambda x: F.silu(x) + x.mul_(x.mean((2, 3), keepdim=True).sigmoid()),
    "square": lambda x: x**2,
    "round": lambda x: (4 * x).round(),
    "maxout": lambda x: torch.maximum(x, x.flip(1)),
    "quotient": lambda x: x / (1 + x.square().mean(1, keepdim=True)),
    "overlapping max-pooling": lambda x: F.max_pool2d(x, 3, 1, 1),
    "adaptive max-pooling": lambda x: F.adaptive_max_pool2d(x, (3, 4)),
    "layer norm": lambda x: F.layer_norm(x, x.shape[1:]),
    "group norm": lambda x: F.group_norm(x, 2, torch.arange(1.0, 7).to(x)),
    "rms norm": lambda x: F.rms_norm(x, x.shape[1:]),
    "normalize": lambda x: F.normalize(x),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_summation_to_delta_of_a_function(name, images, targets):
    torch.manual_seed(0)
    network = Written(FUNCTIONS[name]).double()
    total_is_the_difference(network, images.double(), targets, rel=1e-9)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x.softmax(1),
        lambda x: F.scaled_dot_product_attention(x, x.flip(1), x),
        lambda x: F.instance_norm(x, eps=0.1),
    ],
    ids=["softmax", "attention", "instance norm"],
)
def test_what_has_no_closed_form_is_summed_at_points(function, images, targets):
    torch.manual_seed(0)
    total_is_the_difference(Written(function).double(), images.double(), targets, rel=1e-6)


@pytest.mark.parametrize("function", [F.group_norm, F.layer_norm, F.rms_norm, F.normalize])
def test_of_one_normalisation_it_is_integrated_gradients(function, images, targets):
    settings = {F.group_norm: (2,), F.normalize: ()}.get(function, ((6, 12, 16),))
    torch.manual_seed(0)
    network = Written(lambda x: function(x, *settings)).double().eval()
    model = Classifier(network, input_shape=(3, 12, 16), **COLOURS)
    torch.testing.assert_close(
        deeplift(model, images.double(), targets, baseline=0.1),
        integrated_gradients(model, images.double(), targets, steps=400, baseline=0.1),
        rtol=0,
        atol=1e-5,
    )


class Residual(nn.Module):
    """relu(conv(x) + x) gated by its own mean, pooled."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1)
        self.fc = nn.Linear(3, 5)

    def forward(self, x):
        y = self.conv(x)
        y += x
        z = F.relu(y)
        return self.fc((z * z.mean((2, 3), keepdim=True).sigmoid()).sum((2, 3)))


def test_a_residual_block_with_a_gate_by_hand(images, targets):
    torch.manual_seed(0)
    network = Residual().double().eval()
    images = images.double()
    saliency = deeplift(
        Classifier(network, input_shape=(3, 12, 16)), images, targets, baseline=0.25
    )

    def states(x):
        y = network.conv(x) + x
        mean = y.relu().mean((2, 3), keepdim=True)
        return y, y.relu(), mean, mean.sigmoid()

    with torch.no_grad():
        (y, z, mean, gate), (y0, z0, mean0, gate0) = states(images), states(0 * images + 0.25)
        at_product = network.fc.weight[targets][:, :, None, None]
        at_gate = (at_product * (z + z0) / 2).sum((2, 3), keepdim=True)
        through_gate = at_gate * (gate - gate0) / (mean - mean0) / z[0, 0].numel()
        at_sum = (at_product * (gate + gate0) / 2 + through_gate) * (z - z0) / (y - y0)
        matrix = network.conv.weight[:, :, 0, 0] + torch.eye(3).double()
        expected = torch.einsum("nohw,oi->nihw", at_sum, matrix) * (images - 0.25)
    torch.testing.assert_close(saliency, expected)


@pytest.mark.parametrize("name", ["mobilenet_v3_small", "squeezenet1_1", "regnet_y_400mf"])
def test_summation_to_delta_of_an_architecture(name, targets):
    torch.manual_seed(0)
    network = torchvision.models.get_model(name, num_classes=5).double()
    total_is_the_difference(network, torch.rand(2, 3, 64, 64).double(), targets[:2], rel=1e-6)


def test_summation_to_delta_of_a_transformer(images, targets):
    torch.manual_seed(0)
    network = torchvision.models.VisionTransformer(12, 4, 2, 2, 8, 16, num_classes=5).double()
    nn.init.normal_(network.heads.head.weight)
    total_is_the_difference(network, images[..., :12].double(), targets, rel=1e-4)


def test_an_exported_program_has_the_map_of_its_module(images, targets):
    torch.manual_seed(0)
    network = Written(FUNCTIONS["in place after its use"]).eval()
    program = torch.export.export(
        network, (images,), dynamic_shapes=({0: torch.export.Dim("batch")},)
    )
    model = classifier(network)
    exported = model.replaced(torch.export.unflatten(program), format="exported")
    torch.testing.assert_close(
        deeplift(exported, images, targets), deeplift(model, images, targets)
    )


class Rounded(torch.autograd.Function):
    """A custom function, whose derivative is not what it does."""

    @staticmethod
    def forward(ctx, x):
        return (4 * x).round() / 4

    @staticmethod
    def backward(ctx, signal):
        return signal


class OtherWay(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(3, 5)

    def forward(self, x):
        x = x.tanh() if x.std() > 0 else x.sigmoid()
        return self.fc(x.mean((2, 3)))


@pytest.mark.parametrize(
    ("network", "reason"),
    [
        (Written(Rounded.apply), r"sums to \S+ instead of \S+ \(a function of its own"),
        (Written(lambda x: (500 * x).softmax(1)), r"\(softmax, of which 16 points leave out"),
        (OtherWay(), "calls tanh on the image where it calls sigmoid on the baseline"),
    ],
)
def test_where_it_does_not_sum_it_is_refused(network, reason, images, targets):
    with pytest.raises(UnsupportedError, match=reason) as refused:
        deeplift(classifier(network), images, targets)
    assert "\n" not in str(refused.value)


def test_each_image_and_its_baseline_pass_once(cnn, images, targets):
    deeplift(cnn, images, targets, batch_size=3)
    assert cnn.passes == 2 * len(images)
