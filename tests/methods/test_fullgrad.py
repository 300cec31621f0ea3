import pytest
import torch
from torch import nn
from torch.nn import functional as F

from saliency_audit.errors import UnsupportedError
from saliency_audit.methods.fullgrad import fullgrad, fullgrad_terms
from saliency_audit.models import SCALARS, Classifier
from tests.conftest import COLOURS, plain_cnn


def with_activation(activation):
    return Classifier(plain_cnn(activation), input_shape=(3, 12, 16), **COLOURS)


def gap(model, images, targets, **options):
    inputs, biases, whole = fullgrad_terms(model, images, targets, **options)
    total = sum(term.flatten(1).sum(1) for term in (inputs, *biases))
    return float(((total - whole) / whole).abs().max())


def test_completeness_of_the_logit(cnn, images, targets):
    _, _, whole = fullgrad_terms(cnn, images, targets)

    torch.testing.assert_close(whole, cnn(images).detach()[range(4), targets])
    assert gap(cnn, images, targets) < 1e-4


@pytest.mark.parametrize("scalar", SCALARS)
def test_completeness_of_every_scalar_in_the_logits(scalar, cnn, images, targets):
    assert gap(cnn, images, targets, scalar=scalar) < 1e-3


def test_residual_blocks_and_layers_that_run_twice_are_complete():
    class Residual(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem = nn.Conv2d(3, 4, 3, padding=1)
            self.block = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.ReLU(inplace=True))
            self.relu = nn.ReLU(inplace=True)
            self.pool = nn.MaxPool2d(3, 2)
            self.fc = nn.Linear(4, 3)

        def forward(self, x):
            x = self.relu(self.stem(x))
            for _ in range(2):
                x = F.relu(self.block(x) + x)
            return self.fc(self.pool(x).mean((2, 3)))

    torch.manual_seed(0)
    model = Classifier(Residual().eval(), input_shape=(3, 9, 9), mean=0.5, std=0.2)
    images, targets = torch.rand(3, 3, 9, 9), torch.tensor([0, 2, 1])

    assert gap(model, images, targets) < 1e-4


@pytest.mark.parametrize("activation", [nn.Softplus, nn.GELU, nn.SiLU])
def test_smooth_activations_need_their_implicit_bias(activation, images, targets):
    model = with_activation(activation)

    assert gap(model, images, targets) > 1e-2
    assert gap(model, images, targets, implicit=True) < 1e-4
    with pytest.raises(UnsupportedError, match="add up to"):
        fullgrad(model, images, targets)
    fullgrad(model, images, targets, implicit=True)


def test_saturated_relu6_is_complete(images, targets):
    model = with_activation(nn.ReLU6)
    model.network[0].weight.data *= 20

    assert gap(model, images, targets) < 1e-4


def test_functions_that_hide_a_bias_are_refused(images, targets):
    class Hidden(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = plain_cnn(nn.ReLU)

        def forward(self, x):
            return self.body(x) + 1.0

    with pytest.raises(UnsupportedError, match="instead of"):
        fullgrad(Classifier(Hidden().eval(), input_shape=(3, 12, 16)), images, targets)


def test_equals_the_definition(cnn, images, targets):
    def psi(term):
        low, high = term.abs().min(), term.abs().max()
        return (term.abs() - low) / (high - low + 1e-6)

    def definition(image, target):
        conv0, norm, _, pool, conv1 = cnn.network[:5]
        z = ((image - cnn.mean) / cnn.std).detach().requires_grad_()
        a = conv0(z)
        b = norm(a)
        c = conv1(pool(b.relu()))
        logit = cnn.network[8](c.relu().mean((2, 3)))[0, target]
        gz, ga, gb, gc = torch.autograd.grad(logit, (z, a, b, c))
        shift = norm.bias - norm.weight * norm.running_mean / (norm.running_var + norm.eps).sqrt()
        total = psi(z * gz).sum(1, keepdim=True)
        for bias, grad in ((conv0.bias, ga), (shift, gb), (conv1.bias, gc)):
            term = psi(bias.view(1, -1, 1, 1) * grad)
            term = F.interpolate(term, (12, 16), mode="bilinear", align_corners=True)
            total = total + term.sum(1, keepdim=True)
        return total.detach()

    expected = torch.cat([definition(images[i : i + 1], targets[i]) for i in range(4)])

    torch.testing.assert_close(fullgrad(cnn, images, targets), expected, rtol=1e-3, atol=1e-4)


class Patches(nn.Module):
    """Linear layers at each position and in windows, rows of which only the network can tell."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 2, 2)
        self.everywhere = nn.Linear(4, 4)
        self.within = nn.Linear(4, 4)
        self.head = nn.Linear(4, 3)

    def forward(self, x):
        x = self.everywhere(self.stem(x).permute(0, 2, 3, 1)).relu()
        n, h, w, c = x.shape
        x = x.view(n, 2, h // 2, 2, w // 2, c).permute(1, 3, 0, 2, 4, 5).reshape(4 * n, -1, c)
        x = self.within(x).relu()
        x = x.view(4, n, -1, c).mean((0, 2))
        return self.head(x)


def test_linear_layers_in_windows_are_told_apart_by_image():
    torch.manual_seed(0)
    model = Classifier(Patches().eval(), input_shape=(3, 8, 8), mean=0.5, std=0.2)
    images, targets = torch.rand(3, 3, 8, 8), torch.tensor([0, 2, 1])

    together = fullgrad(model, images, targets)

    ones = [fullgrad(model, images[i : i + 1], targets[i : i + 1]) for i in range(3)]
    torch.testing.assert_close(together, torch.cat(ones))


def test_a_linear_layer_at_each_position_is_a_convolution():
    torch.manual_seed(0)
    channels_last = Patches().eval()

    class Convolution(Patches):
        def forward(self, x):
            x = self.conv(self.stem(x)).relu().permute(0, 2, 3, 1)
            return self.head(self.within(x).relu().mean((1, 2)))

    convolution = Convolution().eval()
    convolution.load_state_dict(channels_last.state_dict())
    convolution.conv = nn.Conv2d(4, 4, 1)
    convolution.conv.weight.data = channels_last.everywhere.weight.data[:, :, None, None]
    convolution.conv.bias.data = channels_last.everywhere.bias.data
    images, targets = torch.rand(1, 3, 8, 8), torch.tensor([1])
    last, first = (
        fullgrad_terms(Classifier(n, input_shape=(3, 8, 8)), images, targets)[1]
        for n in (channels_last, convolution)
    )

    torch.testing.assert_close(last[1], first[1])


def test_the_refusal_names_the_layers_that_it_does_not_see(images, targets):
    model = with_activation(nn.GELU)
    with pytest.raises(UnsupportedError, match=r"; GELU has .* \(--implicit-bias counts these\)"):
        fullgrad(model, images, targets)
    model.network[1] = nn.GroupNorm(2, 8)
    with pytest.raises(UnsupportedError, match="GELU, GroupNorm have biases that it does not see,"):
        fullgrad(model, images, targets)


def test_layers_that_depend_on_no_image_end_in_a_reason(images, targets):
    class Tabled(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = plain_cnn(nn.ReLU)
            self.table = nn.Linear(4, 5)

        def forward(self, x):
            return self.body(x) + self.table(torch.ones(1, 4))

    model = Classifier(Tabled().eval(), input_shape=(3, 12, 16))
    with model.audited(), pytest.raises(UnsupportedError, match="calls as functions"):
        fullgrad(model, images, targets)


def test_the_hint_is_given_only_where_it_helps(images, targets):
    class Squeezed(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = plain_cnn(nn.ReLU)
            self.gate = nn.Sigmoid()

        def forward(self, x):
            x = self.body(x)
            return x * self.gate(x)

    with pytest.raises(UnsupportedError, match="; Sigmoid has biases that it does not see, and"):
        fullgrad(Classifier(Squeezed().eval(), input_shape=(3, 12, 16)), images, targets)
