"""The command line in this process, and toy classifiers whose saliency maps are known."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from saliency_audit.cli import main
from saliency_audit.models import Classifier
from saliency_audit.seeding import generators

# Tests are many small steps: one thread is as fast, and stays so beside other processes.
torch.set_num_threads(1)

COLOURS = {"mean": (0.4, 0.5, 0.6), "std": (0.2, 0.3, 0.25)}


class Linear(nn.Module):
    """Logits <w_k, x> + b_k."""

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.weight = weight
        self.bias = bias

    def forward(self, images: Tensor) -> Tensor:
        return torch.einsum("nchw,kchw->nk", images, self.weight) + self.bias


class Quadratic(nn.Module):
    """Logits x.H_k x / 2 + <w_k, x>, with symmetric H_k: the Hessians."""

    def __init__(self, hessians: Tensor, weight: Tensor) -> None:
        super().__init__()
        self.hessians = hessians
        self.weight = weight

    def forward(self, images: Tensor) -> Tensor:
        flat = images.flatten(1)
        return (
            torch.einsum("nd,kde,ne->nk", flat, self.hessians, flat) / 2
            + flat @ self.weight.flatten(1).T
        )


@pytest.fixture
def linear() -> Classifier:
    """Linear logits of 2x4x4 images in double precision, no normalisation."""
    weight = torch.randn(3, 2, 4, 4, generator=torch.Generator().manual_seed(1)).double()
    return Classifier(
        Linear(weight, torch.tensor([0.3, -0.2, 0.1]).double()), input_shape=(2, 4, 4)
    )


@pytest.fixture
def quadratic() -> Classifier:
    """Quadratic logits of 1x3x3 images in double precision, no normalisation."""
    generator = torch.Generator().manual_seed(2)
    hessians = torch.randn(2, 9, 9, generator=generator).double()
    weight = torch.randn(2, 1, 3, 3, generator=generator).double()
    return Classifier(Quadratic(hessians + hessians.mT, weight), input_shape=(1, 3, 3))


def plain_cnn(activation: Callable[[], nn.Module], classes: int = 5) -> nn.Sequential:
    """A CNN of what every method here supports, with weights large enough to tell maps apart."""
    torch.manual_seed(3)
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        activation(),
        nn.AvgPool2d(2),
        nn.Conv2d(8, 8, 3),
        activation(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, classes),
    )
    normalisation = network[1]
    assert isinstance(normalisation, nn.BatchNorm2d)
    nn.init.uniform_(normalisation.running_mean, -0.5, 0.5)
    nn.init.uniform_(normalisation.running_var, 0.5, 2)
    nn.init.uniform_(normalisation.weight, 0.5, 2)
    nn.init.uniform_(normalisation.bias, -0.5, 0.5)
    for parameter in network.parameters():
        parameter.data *= 2
    return network.eval()


@pytest.fixture
def cnn() -> Classifier:
    """ReLU CNN with in-place activations, batch normalisation and a pooled linear head."""
    return Classifier(plain_cnn(lambda: nn.ReLU(inplace=True)), input_shape=(3, 12, 16), **COLOURS)


@pytest.fixture
def smooth() -> Classifier:
    """The same CNN with softplus, in double precision: twice differentiable."""
    network = plain_cnn(lambda: nn.Softplus(beta=2)).double()
    return Classifier(network, input_shape=(3, 12, 16), **COLOURS)


@pytest.fixture
def images() -> Tensor:
    """Four images for ``cnn``; double them for ``smooth``."""
    return torch.rand(4, 3, 12, 16, generator=torch.Generator().manual_seed(4))


@pytest.fixture
def targets() -> Tensor:
    return torch.tensor([0, 4, 2, 2])


@pytest.fixture
def draws() -> Callable[..., list[torch.Generator]]:
    """Fresh generators, equal for equal names."""

    def make(names: Sequence[str] = "abcd", seed: int = 0) -> list[torch.Generator]:
        return generators(seed, names, "test")

    return make


@dataclass
class Ran:
    """What a command left: exit code, stdout, stderr."""

    code: int
    out: str
    err: str


@pytest.fixture
def run(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Ran]:
    """``run("fool", "--seed", 1)`` in an empty working folder, as a user would."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")

    def command(*arguments: object) -> Ran:
        with pytest.raises(SystemExit) as stop:
            main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Ran(int(stop.value.code or 0), captured.out, captured.err)

    return command
