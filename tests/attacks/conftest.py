"""Small classifiers and the maps of them that searches are handed."""

from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor

from saliency_audit.maps import unit_sum
from saliency_audit.methods import METHODS
from saliency_audit.models import Classifier
from saliency_audit.seeding import generators


@pytest.fixture
def grid() -> Callable[..., Tensor]:
    """Images on the 8-bit grid."""

    def make(*shape: int, seed: int = 0) -> Tensor:
        levels = torch.randint(256, shape, generator=torch.Generator().manual_seed(seed))
        return levels.float() / 255

    return make


@pytest.fixture
def explain_of() -> Callable[..., Callable[..., Tensor]]:
    """``explain(images, graph=...)`` of one method on one model."""

    def make(model: Classifier, targets: Tensor, name: str = "gradient", **options):
        function = partial(METHODS[name].function, model, targets=targets, **options)
        return lambda images, *, graph: unit_sum(function(images, graph=graph))

    return make


@pytest.fixture
def seeds() -> Callable[..., list[torch.Generator]]:
    def make(count: int, purpose: str = "test", first: int = 0) -> list[torch.Generator]:
        return generators(0, [str(first + i) for i in range(count)], purpose)

    return make
