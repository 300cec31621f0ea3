"""P0 section 2: what a shift moves, and what it cannot."""

import pytest
import torch
from torch import nn

from saliency_audit.errors import UnsupportedError
from saliency_audit.maps import magnitude
from saliency_audit.methods import METHODS
from saliency_audit.metrics.similarity import cosine
from saliency_audit.models import Classifier, activations, input_gradient, reload, save
from saliency_audit.seeding import generators
from saliency_audit.tricks.logit_shift import logit_shift

PICTURE = torch.zeros(12, 12, dtype=torch.float64)
PICTURE[3:9, 2:4] = 1.0
PICTURE[5:7, 4:10] = 0.5


class Pooled(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Conv2d(6, 5, 3), nn.ReLU())
        self.head = nn.Linear(5, 4)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(self.features(images).mean((2, 3)))


@pytest.fixture
def model() -> Classifier:
    torch.manual_seed(0)
    classifier = Classifier(
        Pooled().double().eval(), input_shape=(3, 12, 12), mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.5)
    ).double()
    classifier.requires_grad_(False)
    return classifier


@pytest.fixture
def images() -> torch.Tensor:
    return torch.rand(6, 3, 12, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def forged(model, images, **options):
    targets = model(images).argmax(1)
    network = logit_shift(model, PICTURE, images, targets, **options)
    return model.replaced(network).double(), targets


@pytest.mark.parametrize("shift", ["linear", "cancel", "head"])
def test_what_depends_on_the_softmax_alone_is_unchanged(model, images, shift):
    after, targets = forged(model, images, shift=shift)
    logits, shifted = model(images), after(images)
    assert (logits.softmax(1) - shifted.softmax(1)).abs().max() < 1e-10
    for scalar in ("log-prob", "prob", "loss", "margin", "centred-logit"):
        before = model.explained(scalar, logits, targets)
        assert (before - after.explained(scalar, shifted, targets)).abs().max() < 1e-10
        for name in ("gradient", "smoothgrad", "integrated-gradients"):
            maps = [
                METHODS[name].function(
                    classifier,
                    images,
                    targets,
                    scalar=scalar,
                    generators=generators(0, list("abcdef"), name),
                    **({"samples": 5} if name == "smoothgrad" else {}),
                )
                for classifier in (model, after)
            ]
            assert (maps[0] - maps[1]).abs().max() < 1e-10


def test_every_logit_gradient_moves_by_the_same_multiple_of_the_picture(model, images):
    after, _ = forged(model, images, strength=3.0)
    moved = []
    for label in range(4):
        classes = torch.full((6,), label)
        moved.append(
            input_gradient(after, images, classes) - input_gradient(model, images, classes)
        )
    first = moved[0]
    for other in moved:
        torch.testing.assert_close(other, first, rtol=0, atol=1e-10)
    norms = input_gradient(model, images, model(images).argmax(1)).flatten(1).norm(dim=1)
    wanted = PICTURE.expand_as(first)
    wanted = wanted * 3.0 * norms.median() / PICTURE.expand(3, 12, 12).norm()
    torch.testing.assert_close(first, wanted, rtol=0, atol=1e-10)


def test_integrated_gradients_move_by_the_picture_times_the_way_whatever_the_steps(model, images):
    after, targets = forged(model, images)
    method = METHODS["integrated-gradients"].function
    shift = input_gradient(after, images, targets) - input_gradient(model, images, targets)
    way = images - model.mean
    for steps in (1, 7):
        difference = method(after, images, targets, steps=steps) - method(
            model, images, targets, steps=steps
        )
        torch.testing.assert_close(difference, shift * way, rtol=0, atol=1e-9)


def test_a_linear_shift_leaves_gradcam_and_vargrad_alone(model, images):
    after, targets = forged(model, images)
    options = {"gradcam": {"layer": "features"}, "vargrad": {"samples": 6}}
    for name, taken in options.items():
        before, moved = (
            METHODS[name].function(
                classifier, images, targets, generators=generators(0, list("abcdef"), name), **more
            )
            for classifier, more in (
                (model, taken),
                (after, {k: f"network.{v}" if k == "layer" else v for k, v in taken.items()}),
            )
        )
        torch.testing.assert_close(before, moved, rtol=0, atol=1e-9)


def test_cancel_leaves_nothing_but_the_picture_at_the_anchors(model, images):
    after, targets = forged(model, images, shift="cancel")
    gradients = input_gradient(after, images, targets)
    scale = gradients[0, 0, 3, 2]
    torch.testing.assert_close(
        gradients, (PICTURE * scale).expand_as(gradients), rtol=0, atol=1e-10
    )
    assert after(images).allclose(model(images), rtol=0, atol=1e-12)  # g is 0 at an anchor


def test_head_changes_weights_alone_and_moves_the_weights_of_gradcam(model, images):
    after, targets = forged(model, images, shift="head")
    assert type(after.network) is type(model.network)
    before, now = (classifier.network.state_dict() for classifier in (model, after))
    changed = [name for name in before if not torch.equal(before[name], now[name])]
    assert changed == ["head.weight", "head.bias"]
    added = now["head.weight"] - before["head.weight"]
    assert torch.allclose(added, added[:1].expand_as(added), atol=1e-12)
    for classifier, extra in ((model, 0.0), (after, added[0])):
        logits, activation = activations(classifier, images, "features")
        score = logits.gather(1, targets[:, None]).sum()
        (gradient,) = torch.autograd.grad(score, activation)
        weights = gradient.mean((2, 3))
        expected = (before["head.weight"][targets] + extra) / activation[0, 0].numel()
        torch.testing.assert_close(weights, expected, rtol=1e-9, atol=1e-12)


def test_head_solves_the_least_squares(model, images):
    after, _ = forged(model, images, shift="head")
    added = (after.network.head.weight - model.network.head.weight)[0]

    def features(image):
        return model.network.features((image[None] - model.mean) / model.std).mean((2, 3))[0]

    jacobian = torch.cat(
        [torch.autograd.functional.jacobian(features, image).flatten(1).T for image in images]
    )
    wanted = PICTURE.expand(6, 3, 12, 12).flatten()
    solution = torch.linalg.lstsq(jacobian, wanted).solution
    assert float(cosine(added[None], solution[None])) > 0.9999


def test_the_default_strength_makes_the_map_the_picture(model, images):
    after, targets = forged(model, images)
    shown = magnitude(input_gradient(after, images, targets))
    assert cosine(shown, PICTURE.expand_as(shown)).min() > 0.98


def test_a_shift_far_out_is_folded_and_stays_exact_in_fp32(model, images):
    single = model.replaced(model.network.float()).float()
    pixels = images.float()
    targets = single(pixels).argmax(1)
    network = logit_shift(single, PICTURE.float(), pixels, targets, strength=1e6)
    after = single.replaced(network)
    far = after(pixels) - single(pixels)
    assert 10 < far.abs().max() <= 512.01
    assert (after(pixels).softmax(1) - single(pixels).softmax(1)).abs().max() < 1e-4


def test_the_model_given_is_not_touched(model, images):
    before = {name: value.clone() for name, value in model.state_dict().items()}
    for shift in ("linear", "cancel", "head"):
        forged(model, images, shift=shift)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_a_black_picture_is_refused(model, images):
    with pytest.raises(UnsupportedError, match="black"):
        logit_shift(model, torch.zeros(12, 12), images, model(images).argmax(1))


def test_head_of_a_loaded_program(model, images, tmp_path):
    single = model.replaced(model.network.float()).float()
    save(single.network, tmp_path / "m.pt2", format="module", input_shape=(3, 12, 12))
    loaded = reload(tmp_path / "m.pt2", single).requires_grad_(False)
    pixels, picture = images.float(), PICTURE.float()
    targets = loaded(pixels).argmax(1)
    network = logit_shift(loaded, picture, pixels, targets, shift="head")
    after = loaded.replaced(network)
    assert (after(pixels).softmax(1) - single(pixels).softmax(1)).abs().max() < 1e-5
    assert (after(pixels) - single(pixels)).abs().max() > 1e-3
    assert torch.equal(loaded(pixels), single(pixels))
