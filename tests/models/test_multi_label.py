"""Outputs with a sigmoid each: closed forms of what is read off them, and what they lack."""

import warnings

import pytest
import torch
from torch import nn

from saliency_audit.ascent import attack_loss
from saliency_audit.errors import InputError, UnsupportedError
from saliency_audit.metrics.changes import confidence_change, prediction_kept, prob_change
from saliency_audit.models import Classifier, input_gradient, nature, trainable
from saliency_audit.outputs import MULTI_LABEL
from saliency_audit.tricks.level_ripple import level_ripple
from saliency_audit.tricks.logit_shift import logit_shift
from saliency_audit.tricks.loss_sine import loss_sine
from tests.conftest import Linear, plain_cnn

SHAPE = (3, 12, 16)
LOGITS = torch.tensor([[2.0, -1.0, 0.5], [-3.0, -0.2, -1.0]], dtype=torch.float64)
P = 1 / (1 + (-LOGITS).exp())


def linear(bias=(0.3, -0.2, 0.1)) -> Classifier:
    weight = torch.randn(3, 2, 4, 4, generator=torch.Generator().manual_seed(1)).double()
    network = Linear(weight, torch.tensor(bias).double())
    return Classifier(network, input_shape=(2, 4, 4), outputs=MULTI_LABEL)


def test_gradients_of_a_linear_model_are_its_weights_times_the_sigmoids_slope():
    model = linear()
    images = torch.rand(5, 2, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    targets = torch.tensor([0, 1, 2, 2, 0])
    weight = model.network.weight[targets]
    z = model(images).gather(1, targets[:, None])[:, 0]
    p = (1 / (1 + (-z).exp())).view(-1, 1, 1, 1)
    slopes = {"logit": 1.0, "log-prob": 1 - p, "prob": p * (1 - p), "loss": p - 1}
    for scalar, slope in slopes.items():
        found = input_gradient(model, images, targets, scalar=scalar)
        torch.testing.assert_close(found, slope * weight)
    for scalar in ("margin", "centred-logit"):
        with pytest.raises(UnsupportedError, match=f"^{scalar} compares classes that exclude"):
            input_gradient(model, images, targets, scalar=scalar)


def test_a_prediction_is_the_set_of_outputs_above_one_half():
    # The likeliest output stays, another one leaves the set; all move and none leaves it.
    moved = torch.tensor([[2.0, 0.1, 0.5], [-9.0, -4.0, -0.1]], dtype=torch.float64)
    kept = prediction_kept(moved, LOGITS, outputs=MULTI_LABEL)
    assert kept.tolist() == [0.0, 1.0]
    q = 1 / (1 + (-moved).exp())
    torch.testing.assert_close(
        prob_change(moved, LOGITS, outputs=MULTI_LABEL), (q - P).abs().amax(1)
    )
    own = torch.tensor([0, 1])
    change = confidence_change(moved, LOGITS, outputs=MULTI_LABEL)
    torch.testing.assert_close(change, (q - P)[[0, 1], own])


def test_losses_by_hand():
    prediction = MULTI_LABEL.prediction(LOGITS)
    other = torch.tensor([[1.0, 0.1, 0.5], [-1.0, 0.2, 0.4]], dtype=torch.float64)
    p = 1 / (1 + (-other).exp())
    literal = -torch.where(prediction, p.log(), (1 - p).log()).sum(1)
    found = attack_loss(other, prediction, outputs=MULTI_LABEL)
    torch.testing.assert_close(found, literal)
    lead = attack_loss(other, prediction, loss="cw", outputs=MULTI_LABEL)
    torch.testing.assert_close(lead, torch.tensor([0.1, 0.4]).double())


class Formula(nn.Module):
    """A sigmoid that no one sees."""

    def forward(self, z):
        return 1 / (1 + (-z).exp())


def model_of(network, images, format="module", **options):
    network = network.eval()
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        if format == "exported":
            shapes = ({0: torch.export.Dim("batch")},)
            program = torch.export.export(network, (images[:2],), dynamic_shapes=shapes)
            network = torch.export.unflatten(program)
        elif format == "torchscript":
            network = torch.jit.trace(network, images[:2], check_trace=False)
    options = {"outputs": MULTI_LABEL, **options}
    model = Classifier(network, input_shape=SHAPE, name="net", format=format, **options)
    model.check(images)
    return model.eval()


@pytest.fixture
def images():
    pixels = torch.rand(8, *SHAPE, generator=torch.Generator().manual_seed(4))
    return pixels.mul(255).round() / 255


@pytest.mark.parametrize(
    ("last", "format", "loose"),
    [
        (nn.Sigmoid, "module", 0),
        (nn.Sigmoid, "exported", 1e-5),
        (nn.Sigmoid, "torchscript", 1e-3),
        (Formula, "module", 1e-3),
    ],
)
def test_probabilities_are_taken_for_their_log_odds(last, format, loose, images):
    logits = plain_cnn(nn.ReLU)(images)
    model = model_of(nn.Sequential(plain_cnn(nn.ReLU), last()), images, format)
    found = nature(model, images)
    assert found.probabilities
    assert "no second sigmoid" in found.notes("net")[1]
    model.probabilities |= found.probabilities
    torch.testing.assert_close(model(images), logits, rtol=0, atol=loose)
    forged = loss_sine(model, torch.rand(12, 16), images, logits.argmax(1))
    with torch.no_grad():
        change = (forged(images) - model.network(images)).abs()
    assert 0 < float(change.max()) <= 2.5e-4 + 1e-6  # tanh(eps / 4)


def test_logits_between_0_and_1_are_logits(images):
    network = plain_cnn(nn.ReLU)
    network[-1].weight.data *= 1e-3
    network[-1].bias.data.uniform_(0.1, 0.9)
    model = model_of(network, images)
    assert bool(((model(images) > 0) & (model(images) < 1)).all())
    found = nature(model, images)
    assert not found.probabilities
    assert len([note for note in found.notes("net") if "hardly depends" not in note]) == 1


def test_what_is_none_is_refused_in_a_line(images):
    softmax = model_of(nn.Sequential(plain_cnn(nn.ReLU), nn.Softmax(1)), images)
    assert "add up to 1 on every image" in nature(softmax, images).refused("net")
    with pytest.raises(InputError, match="has one output, which is audited as two classes"):
        model_of(plain_cnn(nn.ReLU, classes=1), images)
    with pytest.raises(UnsupportedError, match="one label each"):
        trainable(softmax)
    sigmoids = nn.Sequential(plain_cnn(nn.ReLU), nn.Sigmoid())
    said = Classifier(sigmoids, input_shape=SHAPE)
    said.check(images)
    assert "give --outputs multi-label if they do not" in said.notes[0]


def test_tricks_that_a_sigmoid_sees_are_refused_and_the_others_keep_their_promise(images):
    model = model_of(plain_cnn(nn.ReLU), images)
    targets = model(images).argmax(1)
    picture = torch.rand(12, 16)
    with pytest.raises(UnsupportedError, match="which sees the shift, so it is not free"):
        logit_shift(model, picture, images, targets)
    for form in ("dummy-class", "wrapper"):
        with pytest.raises(UnsupportedError, match=f"--form {form} moves a softmax"):
            loss_sine(model, picture, images, targets, form=form)
    for network, most in (
        (loss_sine(model, picture, images, targets, eps=0.01), 0.0025),
        (level_ripple(model, picture, images, targets), 1e-4),
    ):
        with torch.no_grad():
            p, q = (1 / (1 + (-z.double()).exp()) for z in (network(images), model(images)))
        assert float((p - q).abs().max()) <= most + 1e-6
