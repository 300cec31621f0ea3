"""One step of training, and networks that behave otherwise in training than in evaluation."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from saliency_audit.models import Classifier
from saliency_audit.seeding import generators
from saliency_audit.training.step import Step


@pytest.fixture
def step_of() -> Callable[..., Step]:
    """``step_of(model, images, labels, seed=0, **fields)``: the step, with seeded generators."""

    def make(model, images: Tensor, labels: Tensor, seed: int = 0, **fields) -> Step:
        names = [str(i) for i in range(len(images))]
        return Step(
            model, images, labels, lambda purpose: generators(seed, names, purpose), **fields
        )

    return make


@pytest.fixture
def net() -> Callable[..., Classifier]:
    """Untrained smooth network for 2x6x6 images, 3 classes, in train mode."""

    def make(*, plain: bool = False, dropout: float = 0.5) -> Classifier:
        torch.manual_seed(0)
        layers = [nn.Conv2d(2, 4, 3), nn.Softplus(2), nn.Flatten(), nn.Linear(64, 3)]
        if not plain:
            layers[1:1] = [nn.BatchNorm2d(4)]
            layers[-1:-1] = [nn.Dropout(dropout)]
        network = nn.Sequential(*layers)
        return Classifier(network, input_shape=(2, 6, 6), mean=0.4, std=0.3).train()

    return make


@pytest.fixture
def batch() -> tuple[Tensor, Tensor]:
    """Five images for ``net`` and their labels."""
    generator = torch.Generator().manual_seed(1)
    return torch.rand(5, 2, 6, 6, generator=generator), torch.tensor([0, 2, 1, 1, 0])
