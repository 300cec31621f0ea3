"""Trainings of ``roar`` beside the bare passes of the same trainings in a plain loop."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from saliency_audit.assets import bundled_images, bundled_model
from saliency_audit.commands.evaluate.recipe import RECIPE
from saliency_audit.data.arrays import from_arrays
from saliency_audit.data.dataset import ImageData
from saliency_audit.data.images import Preparation
from saliency_audit.data.replacement import Replacement, ranking, replaced
from saliency_audit.data.request import Request
from saliency_audit.models import Classifier
from saliency_audit.training.recipe import Recipe
from saliency_audit.training.retrain import retrained_accuracy

NAME = "roar"
IMAGES, TESTED, SHARE = 1000, 200, 0.5
TEST_BATCH = 32
"""Of the command on small images."""


def images_of(split: str, count: int) -> ImageData:
    """Bundled images as a run reads them, of all classes."""
    images, labels, names = bundled_images(split)
    chosen = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))[:count].numpy()
    return from_arrays(
        images[chosen],
        labels[chosen],
        [names[i] for i in chosen],
        Request(Preparation((1, 28, 28)), 10),
        name=split,
        class_names=[],
    )


def tensors(data: ImageData) -> tuple[Tensor, Tensor]:
    """All images and their labels."""
    return torch.stack([data.read(i) for i in range(len(data))]), torch.from_numpy(data.labels)


def pair(device: torch.device) -> tuple[Callable[[], object], Callable[[], object]]:
    """A training with its test, and its bare passes; each has been done once.

    The tool's reads the images and replaces their pixels, by an order that is there; the bare one
    has tensors whose pixels are replaced already.
    """
    train, test = images_of("train", IMAGES), images_of("test", TESTED)
    recipe = Recipe(**(vars(RECIPE) | {"epochs": 1}))
    what, grey = Replacement("random", SHARE), torch.tensor([0.3])
    orders, shown = [], []
    for data in (train, test):
        images, labels = tensors(data)
        draws = [torch.Generator().manual_seed(i) for i in range(len(images))]
        ranks = ranking(torch.rand(images.shape), draws)
        orders.append((dict(zip(data.names, range(len(data)), strict=True)), ranks.numpy()))
        shown += [replaced(images, ranks, what, grey).to(device), labels.to(device)]

    def changed(place: int, names: list[str], images: Tensor) -> Tensor:
        places, ranks = orders[place]
        rows = torch.from_numpy(ranks[[places[name] for name in names]])
        return replaced(images, rows.to(images.device), what, grey)

    def network() -> Classifier:
        return Classifier(bundled_model(), input_shape=(1, 28, 28)).to(device)

    def tool() -> None:
        retrained_accuracy(
            network(),
            train,
            test,
            recipe=recipe,
            seed=0,
            changes=(lambda *of: changed(0, *of), lambda *of: changed(1, *of)),
            batch_size=TEST_BATCH,
        )

    def bare() -> None:
        model = network().requires_grad_(True).train()
        images, labels, tested, classes = shown
        optimizer = torch.optim.Adam(model.parameters(), lr=recipe.lr)
        order = torch.randperm(len(images), device=device)
        for part in order.split(recipe.batch_size):
            F.cross_entropy(model(images[part]), labels[part]).backward()
            optimizer.step()
            optimizer.zero_grad()
        model.eval()
        with torch.no_grad():
            for part, own in zip(tested.split(TEST_BATCH), classes.split(TEST_BATCH), strict=True):
                (model(part).argmax(1) == own).sum().item()

    tool(), bare()  # kernels are chosen on first sight
    return tool, bare
