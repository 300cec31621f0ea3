"""What of an output the logits are, and that what is made of a network returns what it returns."""

import warnings
from collections import namedtuple
from dataclasses import dataclass
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from saliency_audit.audits import fool, table
from saliency_audit.data import from_tensors
from saliency_audit.errors import InputError, UnsupportedError
from saliency_audit.models import (
    Classifier,
    input_gradient,
    last_spatial_layer,
    load,
    nature,
)
from saliency_audit.tricks.level_ripple import level_ripple
from saliency_audit.tricks.logit_shift import logit_shift
from saliency_audit.tricks.loss_sine import loss_sine
from tests.conftest import plain_cnn

SHAPE = (3, 12, 16)
Pair = namedtuple("Pair", "maps logits")


@dataclass
class Output:
    logits: Tensor
    hidden: Tensor | None = None


class Returns(nn.Module):
    """A network whose logits, or single output, stand in what ``make`` makes of them."""

    def __init__(self, make, classes: int = 5) -> None:
        super().__init__()
        self.network = plain_cnn(nn.ReLU, classes=classes)
        self.make = make

    def forward(self, images: Tensor):
        return self.make(self.network(images))


def wide(logits: Tensor) -> Tensor:
    """Something beside the logits that is no row for each image."""
    return logits[:, :, None, None].expand(-1, -1, 2, 2)


STRUCTURES = {
    "tuple": (lambda z: (wide(z), z), "1"),
    "list": (lambda z: [z, wide(z)], "0"),
    "dict": (lambda z: {"maps": wide(z), "scores": z}, "scores"),
    "logits of several": (lambda z: {"logits": z, "aux": 2 * z}, "logits"),
    "namedtuple": (lambda z: Pair(wide(z), z), "1"),
    "nested": (lambda z: (wide(z), {"scores": z}), "1.scores"),
    "object": (lambda z: Output(z), "logits"),
    "namespace": (lambda z: SimpleNamespace(logits=z, loss=None), "logits"),
}


@pytest.fixture
def images() -> Tensor:
    """Of 8 bits, as `level_ripple` takes them to be."""
    pixels = torch.rand(8, *SHAPE, generator=torch.Generator().manual_seed(4))
    return pixels.mul(255).round() / 255


def model_of(network: nn.Module, images: Tensor, format: str = "module", **options) -> Classifier:
    network = network.eval()
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        if format == "exported":
            shapes = ({0: torch.export.Dim("batch")},)
            program = torch.export.export(network, (images[:2],), dynamic_shapes=shapes)
            network = torch.export.unflatten(program)
        elif format == "torchscript":
            network = torch.jit.trace(network, images[:2], check_trace=False, strict=False)
    model = Classifier(network, input_shape=SHAPE, name="net", format=format, **options)
    model.check(images)
    return model.eval()


@pytest.mark.parametrize("kind", STRUCTURES)
def test_the_logits_in_a_structure_are_taken_and_named(kind, images):
    make, place = STRUCTURES[kind]
    model = model_of(Returns(make), images)
    assert torch.equal(model(images), plain_cnn(nn.ReLU)(images))
    assert [note for note in model.notes if note.endswith(f"its logits are {place}")]
    assert nature(model, images).no_gradient == 0


def test_several_are_chosen_from_by_name_or_number(images):
    two = Returns(lambda z: (z, 2 * z))
    with pytest.raises(InputError) as caught:
        model_of(two, images)
    message = str(caught.value)
    assert "0 (8, 5), 1 (8, 5); choose one with --output 0" in message
    assert "\n" not in message
    chosen = model_of(two, images, output="1")
    assert torch.equal(chosen(images), 2 * plain_cnn(nn.ReLU)(images))
    named = Returns(lambda z: {"a": z, "b": {"c": 3 * z}})
    assert torch.equal(
        model_of(named, images, output="b.c")(images), 3 * plain_cnn(nn.ReLU)(images)
    )
    with pytest.raises(InputError, match=r"--output is d; what net returns has a, b\.c"):
        model_of(named, images, output="d")
    with pytest.raises(InputError, match="returns one tensor; leave it"):
        model_of(plain_cnn(nn.ReLU), images, output="0")


def headless() -> nn.Module:
    network = plain_cnn(nn.ReLU)
    network.fc = nn.Identity()
    return network


@pytest.mark.parametrize(
    "network",
    [
        lambda: Returns(lambda z: {"pooler_output": z, "last_hidden_state": wide(z)}),
        lambda: Returns(lambda z: SimpleNamespace(image_embeds=z)),
        lambda: Returns(lambda z: F.normalize(z, dim=1), classes=32),
        headless,
    ],
)
def test_an_embedding_is_refused_as_what_it_is(network, images):
    with pytest.raises(InputError, match="net gives an embedding, not logits of classes"):
        model_of(network(), images)


def alike(one, other, loose: float) -> bool:
    if isinstance(one, Tensor):
        return one.shape == other.shape and torch.allclose(one, other, atol=loose)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(alike(one[k], other[k], loose) for k in one)
    pairs = zip(one, other, strict=True)
    return type(one) is type(other) and all(alike(a, b, loose) for a, b in pairs)


@pytest.mark.parametrize("suffix", [".pt2", ".pt"])
@pytest.mark.parametrize("kind", ["tuple", "dict", "nested", "namespace"])
def test_a_forged_file_returns_the_same_structure(kind, suffix, images, tmp_path):
    make, _ = STRUCTURES[kind]
    if suffix == ".pt" and kind in ("nested", "namespace"):
        pytest.skip("TorchScript has no such outputs")
    network = Returns(make)
    model = model_of(network, images, "torchscript" if suffix == ".pt" else "module")
    data = from_tensors(images, torch.zeros(8, dtype=torch.long))
    rows = table(fool(model, data, saliency=["gradient"], tricks=["loss-sine"], folder=tmp_path))
    kept = rows[rows["check"] == "prediction-kept"]["value"].astype(float)
    assert len(kept) == 8
    assert kept.min() == 1
    saved = load(str(tmp_path / f"loss-sine{suffix}"), size=SHAPE[1:], channels=3)
    given, forged = network(images), saved.network(images)
    if kind == "namespace":
        given = {"logits": given.logits}  # no program returns objects
    assert alike(given, forged, 5e-3)
    assert saved.check(images) == 5
    moved = rows[(rows["check"] == "cosine-to-picture") & (rows["scalar"] == "log-prob")]
    before, after = (
        moved[moved["setting"].str.startswith(trick) == wanted]["value"].astype(float).mean()
        for trick, wanted in (("trick", False), ("trick", True))
    )
    assert not after <= before


ONE = {
    "column": (lambda z: z, "logit"),
    "flat": (lambda z: z[:, 0], "logit"),
    "sigmoid": (lambda z: z.sigmoid(), "probability"),
    "dict": (lambda z: {"score": z}, "logit"),
}


@pytest.mark.parametrize("format", ["module", "exported", "torchscript"])
@pytest.mark.parametrize("kind", ONE)
def test_one_output_is_two_classes(kind, format, images):
    make, one = ONE[kind]
    model = model_of(Returns(make, classes=1), images, format)
    z = plain_cnn(nn.ReLU, classes=1)(images)
    assert model.reading.one == one
    loose = 1e-3 if one == "probability" else 1e-6
    assert torch.allclose(model(images), torch.cat([torch.zeros_like(z), z], 1), atol=loose)
    assert any("two classes" in note for note in model.notes)
    labels = torch.tensor([0, 1] * 4)
    # The loss is binary cross-entropy.
    pixels = images.clone().requires_grad_()
    logits = plain_cnn(nn.ReLU, classes=1)(pixels)[:, 0]
    loss = F.binary_cross_entropy_with_logits(logits, labels.float(), reduction="none")
    (expected,) = torch.autograd.grad(loss.sum(), pixels)
    assert torch.allclose(model.explained("loss", model(images), labels).float(), loss, atol=loose)
    seen = input_gradient(model, images, labels, scalar="loss")
    assert float((seen - expected).norm() / expected.norm()) < 1e-3
    explained = model.explained("logit", model(images), labels).float()
    assert torch.allclose(explained, torch.where(labels == 1, z[:, 0], -z[:, 0]), atol=loose)


@pytest.mark.parametrize("sign", [-1, 1])
def test_one_output_has_a_gradient_whatever_is_predicted(sign, images):
    model = model_of(Returns(lambda z: sign * (z.abs() + 1), classes=1), images)
    assert set(model(images).argmax(1).tolist()) == {int(sign > 0)}
    assert nature(model, images).no_gradient == 0
    assert last_spatial_layer(model, images) == last_spatial_layer(
        model_of(Returns(lambda z: z), images), images
    )
    logit_shift(model, torch.rand(12, 16), images, model(images).argmax(1))


@pytest.mark.parametrize("format", ["module", "exported", "torchscript"])
def test_several_sigmoids_are_warned_of(format, images):
    notes = model_of(Returns(torch.sigmoid), images, format).notes
    assert any(note.startswith("WARNING: net returns 5 sigmoids") for note in notes)
    assert not model_of(Returns(lambda z: z), images, format).notes


def test_a_sure_sigmoid_is_read_before_it_rounds(images):
    model = model_of(Returns(lambda z: (100 + z).sigmoid(), classes=1), images)
    z = plain_cnn(nn.ReLU, classes=1)(images)
    assert torch.allclose(model(images)[:, 1:], 100 + z, atol=1e-4)


@pytest.mark.parametrize("kind", ONE)
def test_a_forged_network_of_one_output_has_one_output(kind, images):
    model = model_of(Returns(ONE[kind][0], classes=1), images)
    classes = model(images).argmax(1)
    picture = torch.rand(12, 16)
    for trick in (logit_shift, loss_sine, level_ripple):
        forged = trick(model, picture, images, classes)
        assert alike(model.network(images), forged(images), 1e-2)
        other = model.replaced(forged)
        assert other.check(images) == 2
        assert other.reading == model.reading
    # A shift of both logits is no shift of their difference.
    shifted = logit_shift(model, picture, images, classes)
    again = model.replaced(shifted)
    assert torch.allclose(again(images), model(images), atol=1e-4)
    for form in ("dummy-class", "wrapper"):
        with pytest.raises(UnsupportedError, match="one output"):
            loss_sine(model, picture, images, classes, form=form)(images)
