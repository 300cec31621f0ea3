import warnings
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn

from saliency_audit.errors import InputError
from saliency_audit.models import Classifier


class Returns(nn.Module):
    """Returns whatever it is told to, made from the images."""

    def __init__(self, make) -> None:
        super().__init__()
        self.make = make

    def forward(self, images: Tensor):
        return self.make(images)


@dataclass
class ModelOutput:
    logits: Tensor


def refused(make, count: int = 2) -> str:
    model = Classifier(Returns(make), input_shape=(1, 4, 4), name="m.pt")
    with pytest.raises(InputError) as caught:
        model.check(torch.rand(count, 1, 4, 4))
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_normalisation_is_the_first_layer():
    model = Classifier(nn.Flatten(), input_shape=(2, 1, 1), mean=[0.2, 0.4], std=[0.1, 0.5])
    images = torch.tensor([[[[0.3]], [[0.9]]]])
    assert torch.allclose(model(images), torch.tensor([[1.0, 1.0]]))
    assert model(images.double()).dtype == torch.float64


def test_images_in_double_precision_keep_the_written_mean():
    model = Classifier(nn.Flatten(), input_shape=(1, 1, 1), mean=0.5, std=0.25)
    assert float(model(torch.tensor([[[[0.75]]]], dtype=torch.float64))) == 1.0


def test_check_returns_the_number_of_classes():
    model = Classifier(nn.Sequential(nn.Flatten(), nn.Linear(16, 3)), input_shape=(1, 4, 4))
    assert model.check(torch.rand(2, 1, 4, 4)) == 3


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda x: {"logits": x}, "returns a dict (logits (2, 1, 4, 4)) for 2 images"),
        (lambda x: ModelOutput(x), "returns a ModelOutput (logits (2, 1, 4, 4))"),
        (lambda x: (x, x), "returns a tuple (0 (2, 1, 4, 4), 1 (2, 1, 4, 4))"),
        (lambda x: "cat", "returns a str (no tensor)"),
        (lambda x: x, "returns (2, 1, 4, 4)"),
        (lambda x: x.flatten(1)[:1], "returns (1, 16)"),
        (lambda x: x.flatten(1) * torch.nan, "NaN or infinite logits"),
        (lambda x: x.flatten(1) @ torch.rand(3, 3), "does not take images of 1x4x4"),
    ],
)
def test_outputs_that_are_no_logits(make, words):
    assert words in refused(make)


def test_outputs_under_autocast_are_checked_too():
    model = Classifier(Returns(lambda x: {"logits": x}), input_shape=(1, 4, 4), precision="bf16")
    with pytest.raises(InputError, match=r"returns a dict \(logits"):
        model.check(torch.rand(2, 1, 4, 4))


def test_bf16_logits_come_out_in_fp32():
    network = nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
    model = Classifier(network, input_shape=(1, 4, 4), precision="bf16")
    images = torch.rand(2, 1, 4, 4)
    logits = model(images)
    assert logits.dtype == torch.float32
    assert not torch.equal(logits, network(images))
    assert torch.allclose(logits, network(images), atol=0.05)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"mean": [0.1, 0.2]}, "--mean has 2 values but the model takes 3 channels"),
        ({"std": 0.0}, "every value must be above 0"),
        ({"std": [1, -1, 1]}, "every value must be above 0"),
    ],
)
def test_impossible_normalisation(options, words):
    with pytest.raises(InputError, match=words):
        Classifier(nn.Flatten(), input_shape=(3, 2, 2), **options)


def half_frozen() -> nn.Sequential:
    network = nn.Sequential(nn.Flatten(), nn.Dropout(), nn.Linear(4, 2)).train()
    network[1].eval()
    network[2].bias.requires_grad_(False)
    return network


def flags(network: nn.Module) -> list[bool]:
    modes = [module.training for module in network.modules()]
    return modes + [parameter.requires_grad for parameter in network.parameters()]


def test_audited_restores_every_flag_also_nested_and_after_an_error():
    network = half_frozen()
    model = Classifier(network, input_shape=(1, 2, 2))
    before = flags(network)
    with model.audited():
        assert not any(flags(network))
        with model.audited():
            assert not any(flags(network))
        assert not any(flags(network))
    assert flags(network) == before
    with pytest.raises(KeyError), model.audited():
        raise KeyError
    assert flags(network) == before


def test_audited_restores_a_script():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        script = torch.jit.script(half_frozen())
    model = Classifier(script, input_shape=(1, 2, 2), format="torchscript")
    before = flags(script)
    with model.audited():
        assert not any(flags(script))
    assert flags(script) == before


def test_a_replaced_network_keeps_the_preprocessing():
    model = Classifier(nn.Flatten(), input_shape=(1, 2, 2), mean=0.3, std=0.7, layer="x")
    model.resize = 5
    other = model.replaced(nn.Flatten(), name="other")
    assert (other.name, other.layer, other.resize) == ("other", "x", 5)
    images = torch.rand(2, 1, 2, 2)
    assert torch.equal(other(images), model(images))
