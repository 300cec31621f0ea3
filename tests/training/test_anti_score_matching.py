"""Anti score matching: the threshold cuts image by image, and nothing else is different."""

import pytest
import torch
from torch import nn

from saliency_audit.errors import InputError
from saliency_audit.models import Classifier
from saliency_audit.training.anti_score_matching import anti_score_matching
from saliency_audit.training.cross_entropy import cross_entropy
from saliency_audit.training.score_matching import score_matching


class Bowls(nn.Module):
    """f_k = c_k |x|^2 / 2 in four pixels: the trace of the k-th Hessian is 4 c_k."""

    def __init__(self):
        super().__init__()
        self.c = nn.Parameter(torch.tensor([100.0, 2.0, -30.0]).double())

    def forward(self, images):
        return images.flatten(1).square().sum(1, keepdim=True) / 2 * self.c


@pytest.fixture
def step(step_of):
    """One image of each class, at 0, where cross-entropy's own gradient is 0."""
    model = Classifier(Bowls(), input_shape=(1, 2, 2))
    images = torch.zeros(3, 1, 2, 2).double()
    return step_of(model, images, torch.tensor([0, 1, 2]), one_mode=True)


@pytest.mark.parametrize("options", [{"antithetic": True}, {"trace": "hutchinson"}, {}])
def test_images_above_the_threshold_are_left_alone(step, options):
    loss = anti_score_matching(step, weight=0.1, tau=50.0, draws=2, **options)
    h = [
        c * float(sum(step.noise(f"trace/{k}")[i].square().sum() for k in range(2))) / 2
        for i, c in enumerate((100.0, 2.0, -30.0))
    ]
    assert h[0] > 50 > h[1] > 0 > h[2]
    expected = -0.1 * (50 + h[1] + h[2]) / 3
    assert float(loss.terms["anti-score-matching"].detach()) == pytest.approx(expected, rel=1e-9)
    assert float(loss.seen["trace"]) == pytest.approx(sum(h) / 3, rel=1e-9)
    sum(loss.terms.values()).backward()
    slopes = step.model.network.c.grad.tolist()
    # Of the first image nothing, not even through the mean; of the others -0.1 / 3 dh/dc.
    assert slopes[0] == 0
    assert slopes[1] == pytest.approx(-0.1 / 3 * h[1] / 2, rel=1e-9)
    assert slopes[2] == pytest.approx(-0.1 / 3 * h[2] / -30, rel=1e-9)


@pytest.mark.parametrize("tau", [0.0, 0.5, 1000.0])
def test_it_is_never_below_the_threshold(net, batch, step_of, tau):
    model = net(plain=True)
    for parameter in model.parameters():
        parameter.data *= 30
    loss = anti_score_matching(step_of(model, *batch), weight=1.0, tau=tau, sigma=0.1)
    assert loss.terms["anti-score-matching"] >= -tau


def test_without_a_threshold_it_is_minus_score_matching_s_trace(net, batch, step_of):
    model = net(plain=True)
    step = step_of(model, *batch, one_mode=True)
    loss = anti_score_matching(step, weight=1.0, tau=float("inf"))
    assert torch.equal(loss.terms["anti-score-matching"].detach(), -loss.seen["trace"])
    assert torch.equal(loss.seen["trace"], score_matching(step).seen["trace"])


@pytest.mark.parametrize("plain", [True, False])
@pytest.mark.parametrize("trace", ["taylor", "hutchinson"])
def test_no_weight_is_plain_training_bit_by_bit(net, batch, step_of, plain, trace):
    found = []
    for run in (lambda step: anti_score_matching(step, weight=0.0, trace=trace), cross_entropy):
        model = net(plain=plain)
        torch.manual_seed(7)  # dropout
        sum(run(step_of(model, *batch, one_mode=plain)).terms.values()).backward()
        found.append(model)
    model, control = found
    for (name, ours), theirs in zip(model.named_parameters(), control.parameters(), strict=True):
        assert torch.equal(ours.grad, theirs.grad), name
    for ours, theirs in zip(model.buffers(), control.buffers(), strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("option", ["weight", "tau"])
def test_what_means_nothing_is_refused(net, batch, step_of, option):
    with pytest.raises(InputError, match=f"--{option} is -1; give 0 or more"):
        anti_score_matching(step_of(net(), *batch), **{option: -1.0})
