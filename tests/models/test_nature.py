"""What a model is found to be, on toys of each kind in each format."""

import warnings

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from saliency_audit.models import Classifier, follows, nature, surrogate
from tests.conftest import plain_cnn

SHAPE = (3, 12, 16)
FORMATS = ("module", "exported", "torchscript")


class Then(nn.Module):
    """The toy, and something done to its logits or to its images."""

    def __init__(self, last=lambda logits: logits, first=lambda images: images):
        super().__init__()
        self.network = plain_cnn(nn.ReLU)
        self.first, self.last = first, last

    def forward(self, images: Tensor) -> Tensor:
        return self.last(self.network(self.first(images)))


def batch_statistics(values: Tensor) -> Tensor:
    return (values - values.mean(0, keepdim=True)) / (values.std(0, keepdim=True) + 0.1)


class SlopeOnly(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return torch.where(x > 0, x, torch.zeros_like(x))

    @staticmethod
    def backward(ctx, gradient):
        return gradient * (ctx.saved_tensors[0] > 0)


@pytest.fixture
def images() -> Tensor:
    return torch.rand(8, *SHAPE, generator=torch.Generator().manual_seed(4))


def as_format(network: nn.Module, format: str, images: Tensor) -> Classifier:
    network = network.eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if format == "exported":
            shapes = ({0: torch.export.Dim("batch")},)
            program = torch.export.export(network, (images[:2],), dynamic_shapes=shapes)
            network = torch.export.unflatten(program)
        elif format == "torchscript":
            network = torch.jit.trace(network, (images[:2],), check_trace=False)
    return Classifier(network, input_shape=SHAPE, format=format)


def found(told):
    """What is not as it should be."""
    names = ("random", "batch_dependent", "probabilities", "no_gradient")
    return {name for name in names if getattr(told, name)}


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize(
    ("network", "expected"),
    [
        (lambda: Then(), set()),
        (lambda: Then(lambda logits: logits.log_softmax(1)), set()),
        (lambda: Then(lambda logits: logits.softmax(1)), {"probabilities"}),
        (lambda: Then(lambda logits: logits.sigmoid()), set()),
        (lambda: Then(lambda logits: F.dropout(logits, 0.3, training=True)), {"random"}),
        (lambda: Then(lambda logits: logits + torch.rand_like(logits)), {"random"}),
        (lambda: Then(batch_statistics), {"batch_dependent"}),
        (lambda: Then(first=batch_statistics), {"batch_dependent"}),
        (lambda: Then(lambda logits: logits.detach()), {"no_gradient"}),
        (lambda: Then(torch.round), {"no_gradient"}),
    ],
)
def test_what_each_kind_is_in_each_format(network, expected, format, images):
    torch.manual_seed(0)
    model = as_format(network(), format, images)
    assert found(nature(model, images)) == expected
    assert not model.probabilities


@pytest.mark.parametrize("count", [1, 2, 3, 8])
def test_any_number_of_images_tells(count, images):
    images = images[:count]
    for last, expected in (
        (lambda x: x, set()),
        (lambda x: x * torch.rand(()), {"random"}),
        (batch_statistics, {"batch_dependent"}),
        (lambda x: x.softmax(1), {"probabilities"}),
    ):
        assert found(nature(Classifier(Then(last), input_shape=SHAPE), images)) == expected


def test_how_far_the_output_depends_on_the_image(images):
    model = Classifier(Then(), input_shape=SHAPE)
    likelihoods = model(images).log_softmax(1).detach()
    widest = max(float((a - b).abs().max()) for a in likelihoods for b in likelihoods)
    assert nature(model, images).spread == pytest.approx(widest, rel=1e-4)
    softmax = Classifier(Then(lambda logits: logits.softmax(1)), input_shape=SHAPE)
    assert nature(softmax, images).spread == pytest.approx(widest, rel=1e-3)
    constant = nature(Classifier(Then(lambda logits: 0 * logits), input_shape=SHAPE), images)
    assert constant.spread == 0
    assert "hardly depends on the image" in constant.notes("flat")[-1]
    assert nature(model, images[:1].expand(4, -1, -1, -1)).spread is None


def test_what_is_traced_in_training_mode_depends_on_its_neighbours(images):
    network = plain_cnn(nn.ReLU).train()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        traced = torch.jit.trace(network, (images,), check_trace=False)
    model = Classifier(traced, input_shape=SHAPE, format="torchscript")
    assert nature(model, images).batch_dependent
    without = plain_cnn(nn.ReLU)
    without[1] = nn.BatchNorm2d(8, track_running_stats=False)
    told = nature(Classifier(without, input_shape=SHAPE), images)
    assert told.batch_dependent
    assert "\n" not in told.refused("net")
    assert "running statistics" in told.refused("net")


def test_the_cost_is_three_passes(images, cnn):
    before = cnn.passes
    told = nature(cnn, images)
    assert cnn.passes - before == 8 + (4 + 1) + 8
    assert not told.notes("net")
    assert not told.refused("net")
    assert all(weight.requires_grad for weight in cnn.parameters())


def test_images_without_a_gradient_are_counted(images):
    def dead(logits):
        return torch.where(torch.arange(len(logits))[:, None] < 2, logits.detach(), logits)

    told = nature(Classifier(Then(dead), input_shape=SHAPE), images)
    assert told.no_gradient == 2
    assert "the gradient is 0 in 2 of the first 8 images" in told.notes("net")[0]
    whole = nature(Classifier(Then(torch.detach), input_shape=SHAPE), images)
    assert "cuts the graph" in whole.notes("net")[0]


WRITTEN = {
    "clamp": lambda x: x.clamp(min=0),
    "clamp_": lambda x: x.clone().clamp_(min=0),
    "clamp_min": lambda x: torch.clamp_min(x, 0.0),
    "maximum": lambda x: torch.maximum(x, torch.zeros_like(x)),
    "max": lambda x: torch.max(torch.tensor(0.0), x),
    "mask": lambda x: x * (x > 0),
    "float": lambda x: (x > 0).float() * x,
    "where": lambda x: torch.where(x > 0, x, torch.zeros_like(x)),
    "threshold": lambda x: F.threshold(x, 0, 0),
}


class Bent(nn.Module):
    def __init__(self, bend):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.bend, self.head = nn.Conv2d(3, 6, 3), bend, nn.Linear(840, 4)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.bend(self.conv(images)).flatten(1))


def second(model, images):
    pixels = images.clone().requires_grad_()
    with surrogate(model, "exact-forward", beta=30.0) as context:
        logits = model(pixels)
        (gradient,) = torch.autograd.grad(logits[:, 0].sum(), pixels, create_graph=True)
        total = gradient.square().sum()
        (second,) = torch.autograd.grad(total, pixels, materialize_grads=True, allow_unused=True)
    return logits, second, sum(context.replaced.values())


@pytest.mark.parametrize("format", ["module", "exported"])
@pytest.mark.parametrize("written", WRITTEN)
def test_a_relu_that_is_written_out_has_the_derivatives_of_relu(written, format, images):
    relu = as_format(Bent(F.relu), "module", images)
    model = as_format(Bent(WRITTEN[written]), format, images)
    classes = torch.zeros(8, dtype=torch.long)
    assert follows(model, images, classes, smooth="exact-forward")
    assert not follows(model, images, classes, smooth=None)
    expected, curved, _ = second(relu, images)
    logits, derivative, replaced = second(model, images)
    assert replaced == 1
    assert torch.allclose(logits, expected, atol=1e-6)
    assert torch.allclose(derivative, curved, rtol=1e-4, atol=1e-6)
    assert float(derivative.abs().max()) > 0


@pytest.mark.parametrize(
    "bend",
    [
        lambda x: x.clamp(min=1e-6),
        lambda x: x.clamp(max=0),
        lambda x: torch.maximum(x, torch.full_like(x, 0.1)),
        lambda x: x * (x > 0.1),
        lambda x: x * (x.sin() > 0),
        lambda x: torch.where(x > 0, x, torch.ones_like(x)),
        lambda x: (x + x.abs()) / 2,
    ],
)
def test_what_is_no_relu_stays(bend, images):
    model = as_format(Bent(bend), "module", images)
    logits, _, replaced = second(model, images)
    assert replaced == 0
    assert torch.equal(logits, model(images))


def test_zeros_and_masks_that_were_written_over_are_none(images):
    def zeros(x):
        other = torch.zeros_like(x)
        other += 0.5
        return torch.maximum(x, other)

    def mask(x):
        x = x.clone()
        positive = x > 0
        x.sub_(0.1)
        return x * positive

    for bend in (zeros, mask):
        assert second(as_format(Bent(bend), "module", images), images)[2] == 0


def test_whole_numbers_are_not_bent():
    with surrogate(nn.ReLU(), "softplus", beta=1.0) as context:
        x = torch.tensor([-1, 2])
        assert x.clamp(min=0).tolist() == (x * (x > 0)).tolist() == [0, 2]
    assert not context.replaced


@pytest.mark.parametrize("softmax", [False, True])
def test_a_custom_function_cannot_be_followed_behind_a_softmax_either(softmax, images):
    network = nn.Sequential(Bent(SlopeOnly.apply), *([nn.Softmax(1)] if softmax else []))
    model = Classifier(network, input_shape=SHAPE, probabilities=softmax)
    classes = torch.zeros(8, dtype=torch.long)
    assert not follows(model, images, classes, smooth="exact-forward")


def test_linear_and_smooth_networks_have_nothing_to_follow_wrongly(images):
    classes = torch.zeros(8, dtype=torch.long)
    for network in (nn.Sequential(nn.Flatten(), nn.Linear(576, 3)), Bent(torch.tanh)):
        model = Classifier(network.eval(), input_shape=SHAPE)
        assert follows(model, images, classes, smooth=None)
        assert follows(model, images[:1], classes[:1], smooth="exact-forward")
