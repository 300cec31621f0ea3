import pytest
import torch

from saliency_audit.errors import InputError
from saliency_audit.models import LIKELIHOOD_SCALARS, SCALARS, Classifier
from saliency_audit.models.scalars import ONE_OUTPUT_SCALARS

LOGITS = torch.tensor([[1.0, 4.0, 2.5], [0.5, -1.0, 0.0]], dtype=torch.float64)
TARGETS = torch.tensor([1, 2])
P = LOGITS.exp() / LOGITS.exp().sum(1, keepdim=True)
EXPECTED = {
    "logit": [4.0, 0.0],
    "log-prob": [float(P[0, 1].log()), float(P[1, 2].log())],
    "prob": [float(P[0, 1]), float(P[1, 2])],
    "loss": [-float(P[0, 1].log()), -float(P[1, 2].log())],
    "margin": [1.5, -0.5],
    "centred-logit": [1.5, 0.5 / 3],
}


@pytest.mark.parametrize("name", SCALARS)
def test_each_scalar_by_hand(name):
    expected = torch.tensor(EXPECTED[name], dtype=torch.float64)
    assert torch.allclose(SCALARS[name](LOGITS, TARGETS), expected)


@pytest.mark.parametrize("name", [name for name in SCALARS if name != "logit"])
def test_a_shift_of_all_logits_moves_the_logit_alone(name):
    shift = torch.tensor([[3.0], [-7.0]], dtype=torch.float64)
    moved = SCALARS[name](LOGITS + shift, TARGETS)
    assert torch.allclose(moved, SCALARS[name](LOGITS, TARGETS), atol=1e-12)
    logits = SCALARS["logit"](LOGITS + shift, TARGETS)
    assert torch.allclose(logits, SCALARS["logit"](LOGITS, TARGETS) + shift[:, 0])


def test_the_gradient_of_the_loss_is_that_of_the_logits_under_the_probabilities():
    logits = LOGITS.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(SCALARS["loss"](logits, TARGETS).sum(), logits)
    one_hot = torch.nn.functional.one_hot(TARGETS, 3)
    assert torch.allclose(gradient, P - one_hot)


def test_a_sure_model_has_a_finite_loss_and_no_probability_gradient():
    logits = torch.tensor([[200.0, 0.0]], requires_grad=True)
    assert SCALARS["loss"](logits, torch.tensor([1])).tolist() == [200.0]
    (gradient,) = torch.autograd.grad(SCALARS["prob"](logits, torch.tensor([0])).sum(), logits)
    assert not gradient.any()


@pytest.mark.parametrize("name", SCALARS)
def test_log_likelihoods_are_read_as_they_stand(name):
    log_p = LOGITS.log_softmax(1)
    same = LIKELIHOOD_SCALARS[name](log_p, TARGETS)
    if name != "logit":
        assert torch.allclose(same, SCALARS[name](LOGITS, TARGETS))
    # A common shift is part of a likelihood, not undone by a softmax.
    moved = LIKELIHOOD_SCALARS[name](log_p + 0.1, TARGETS)
    assert torch.allclose(moved, same) == (name in ("margin", "centred-logit"))


@pytest.mark.parametrize("name", SCALARS)
def test_of_one_output_they_are_those_of_two_logits_and_keep_their_gradient(name):
    z = torch.tensor([[2.0], [-1.5], [60.0], [-60.0]], dtype=torch.float64, requires_grad=True)
    logits, targets = torch.cat([torch.zeros_like(z), z], 1), torch.tensor([1, 1, 1, 0])
    read = ONE_OUTPUT_SCALARS[name](logits, targets)
    (gradient,) = torch.autograd.grad(read.sum(), z)
    assert bool((gradient != 0).all())
    if name != "logit":
        assert torch.allclose(read, SCALARS[name](logits, targets))
    if name == "log-prob":
        wrong = torch.tensor([-2.0, 1.5, -60.0, -60.0], dtype=torch.float64)
        sign = torch.tensor([1.0, 1.0, 1.0, -1.0], dtype=torch.float64)
        expected = sign * wrong.exp() / (1 + wrong.exp())
        assert torch.allclose(gradient[:, 0], expected, rtol=1e-9, atol=0)


@pytest.mark.parametrize("half", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", SCALARS)
def test_what_is_read_off_half_precision_logits_stays_in_float64(name, half):
    logits = LOGITS.to(half)
    read = SCALARS[name](logits, TARGETS)
    assert read.dtype == torch.float64
    assert torch.equal(read, SCALARS[name](logits.double(), TARGETS))


def test_an_unknown_scalar_suggests_the_nearest():
    model = Classifier(torch.nn.Flatten(), input_shape=(1, 1, 3))
    with pytest.raises(InputError, match="Did you mean 'log-prob'"):
        model.explained("logprob", LOGITS, TARGETS)
