"""A network that returns probabilities is audited as the one without its softmax."""

import warnings
from functools import partial

import pytest
import torch
from torch import nn

from saliency_audit.assets import bundled_images, bundled_model
from saliency_audit.audits import fool, table
from saliency_audit.data import from_tensors
from saliency_audit.models import Classifier, head, input_gradient, load
from saliency_audit.models.probabilities import LogProbabilities, Probabilities
from saliency_audit.tricks.logit_shift import logit_shift
from saliency_audit.tricks.loss_sine import gradient_bound, loss_sine

SHAPE = (1, 28, 28)


@pytest.fixture(scope="module")
def images():
    pixels, labels, _ = bundled_images("test")
    return (
        torch.from_numpy(pixels[:16]).unsqueeze(1).float() / 255,
        torch.from_numpy(labels[:16]),
    )


@pytest.fixture(scope="module")
def plain():
    return Classifier(bundled_model(), input_shape=SHAPE).eval()


def softened(format, images):
    network = nn.Sequential(bundled_model(), nn.Softmax(1)).eval()
    if format == "exported":
        shapes = ({0: torch.export.Dim("batch")},)
        program = torch.export.export(network, (images[:2],), dynamic_shapes=shapes)
        network = torch.export.unflatten(program)
    elif format == "torchscript":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            network = torch.jit.trace(network, (images[:2],))
    return Classifier(network, input_shape=SHAPE, format=format, probabilities=True).eval()


@pytest.mark.parametrize("format", ["module", "exported", "torchscript"])
def test_outputs_are_those_of_the_plain_model_up_to_a_constant_of_each_image(format, images, plain):
    pixels, labels = images
    model = softened(format, pixels)
    expected = plain(pixels).log_softmax(1)
    seen = model(pixels)
    # Of TorchScript only the rounded probabilities are seen.
    likely = expected > (-80 if format == "torchscript" else -torch.inf)
    assert torch.allclose(seen[likely], expected[likely], atol=1e-4)
    assert torch.allclose(seen.softmax(1), plain(pixels).softmax(1), atol=1e-6)
    for scalar in ("log-prob", "margin", "loss"):
        gradients = [input_gradient(m, pixels, labels, scalar=scalar) for m in (model, plain)]
        sizes = gradients[1].flatten(1).norm(dim=1)
        sure = sizes > (1e-4 if format == "torchscript" else 0)
        apart = (gradients[0] - gradients[1]).flatten(1).norm(dim=1)
        assert bool((apart[sure] < 1e-3 * sizes[sure]).all())


def test_zeros_have_a_finite_logarithm_and_no_infinite_gradient():
    model = Classifier(nn.Flatten(), input_shape=(1, 1, 3), probabilities=True)
    rows = torch.tensor([[[[1.0, 0.0, 0.0]]]]).requires_grad_()
    logits = model(rows)
    assert bool(logits.isfinite().all())
    assert float(logits[0, 0].detach()) == 0
    (gradient,) = torch.autograd.grad(logits.sum(), rows)
    assert bool(gradient.isfinite().all())


def test_the_head_is_the_layer_before_the_softmax(images):
    assert head(softened("module", images[0]), images[0][:2]) == head(
        Classifier(nn.Sequential(bundled_model()), input_shape=SHAPE).eval(), images[0][:2]
    )


TRICKS = {
    "linear": partial(logit_shift, shift="linear"),
    "cancel": partial(logit_shift, shift="cancel"),
    "head": partial(logit_shift, shift="head"),
    "per-class": partial(loss_sine, form="per-class"),
    "dummy-class": partial(loss_sine, form="dummy-class"),
    "wrapper": partial(loss_sine, form="wrapper"),
}


@pytest.mark.parametrize("trick", TRICKS)
def test_a_forged_network_returns_probabilities(trick, images):
    pixels, _ = images
    model = softened("module", pixels)
    classes = model(pixels).argmax(1)
    forged = TRICKS[trick](model, torch.rand(28, 28), pixels, classes).eval()
    before, after = model.network(pixels), forged(pixels)
    assert torch.allclose(after[:, :10], before, atol=2e-3)
    assert torch.allclose(after.sum(1), torch.ones(16), atol=2e-3 if trick == "wrapper" else 1e-5)
    assert (gradient_bound(forged, model.std) is None) == (trick in ("linear", "cancel", "head"))


@pytest.mark.parametrize("suffix", [".pt2", ".pt"])
def test_what_fool_saves_is_a_drop_in(suffix, images, tmp_path):
    pixels, labels = images
    model = softened("torchscript" if suffix == ".pt" else "exported", pixels)
    rows = table(fool(model, from_tensors(pixels, labels), saliency=["gradient"], folder=tmp_path))
    plain = table(
        fool(
            Classifier(bundled_model(), input_shape=SHAPE),
            from_tensors(pixels, labels),
            saliency=["gradient"],
        )
    )
    for name in ("logit-shift", "loss-sine"):
        saved = load(str(tmp_path / f"{name}{suffix}"), size=28, channels=1)
        outputs = saved(pixels)
        assert bool((outputs >= 0).all())
        assert torch.allclose(outputs.sum(1), torch.ones(16), atol=1e-5)
        assert torch.allclose(outputs, model.network(pixels), atol=5e-4)

    def cosines(rows, trick):
        chosen = rows["setting"].str.startswith(f"trick={trick}")
        chosen &= (rows["scalar"] == "log-prob") & (rows["check"] == "cosine-to-picture")
        return rows[chosen]["value"].astype(float).to_numpy()

    for trick in ("logit-shift", "loss-sine"):
        one, other = cosines(rows, trick), cosines(plain, trick)
        assert len(one) == len(other) > 0
        if suffix == ".pt2":
            assert abs(one - other).max() < 0.02


def test_the_way_there_and_back(images):
    pixels, _ = images
    network = bundled_model().eval()
    there = Probabilities(network)
    assert torch.allclose(there(pixels), network(pixels).softmax(1))
    back = LogProbabilities(there)(pixels)
    assert torch.allclose(back, network(pixels).log_softmax(1), atol=1e-5)
