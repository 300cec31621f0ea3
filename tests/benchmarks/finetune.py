"""Steps of a training beside the bare passes of its objective in a plain loop."""

from collections.abc import Callable, Iterator
from copy import deepcopy

import torch
from torch import Tensor
from torch.nn import functional as F

from saliency_audit.data import from_tensors
from saliency_audit.models import Classifier, in_eval_mode
from saliency_audit.training import OBJECTIVES, Recipe
from saliency_audit.training.loop import train

OPTIONS = {
    "score-matching": {},
    "gradient-norm": {},
    "adversarial": {"penalty": "l2", "eps": 0.5},
    "jacobian": {"projections": 1},
}
NAMES = tuple(f"finetune-{name}" for name in OPTIONS)


def tool(name: str, model: Classifier, images: Tensor) -> Iterator[object]:
    """The trainings' own steps, endlessly."""
    data = from_tensors(images.repeat(256, 1, 1, 1).cpu(), torch.arange(256 * len(images)) % 1000)
    recipe = Recipe(epochs=1, batch_size=len(images), lr=1e-4, freeze_bn=True)
    yield from train(model, data, OBJECTIVES[name], recipe=recipe, options=OPTIONS[name])


def bare(name: str, model: Classifier, images: Tensor) -> Iterator[object]:
    """Forward and backward passes and the optimizer, endlessly; nothing else."""
    terms = {
        "score-matching": _score_matching,
        "gradient-norm": _gradient_norm,
        "adversarial": _adversarial,
        "jacobian": _jacobian,
    }[name]
    model.train()
    for module in model.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            module.eval()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4, momentum=0.9)
    labels = torch.arange(len(images), device=images.device)
    while True:
        terms(model, images, labels).backward()
        optimizer.step()
        optimizer.zero_grad()
        yield None


def _twice(model: Classifier, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Logits with dropout, and pixels with their logits without it."""
    training = model(images)
    with in_eval_mode(model):
        pixels = images.clone().requires_grad_()
        return training, pixels, model(pixels)


def _gradient_norm(model: Classifier, images: Tensor, labels: Tensor) -> Tensor:
    training, pixels, logits = _twice(model, images)
    own = logits.gather(1, labels[:, None]).sum()
    (gradient,) = torch.autograd.grad(own, pixels, create_graph=True)
    return F.cross_entropy(training, labels) + 1e-3 * gradient.square().sum() / len(images)


def _score_matching(model: Classifier, images: Tensor, labels: Tensor) -> Tensor:
    training, pixels, logits = _twice(model, images)
    own = logits.gather(1, labels[:, None])
    (gradient,) = torch.autograd.grad(own.sum(), pixels, create_graph=True)
    with in_eval_mode(model):
        moved = model(images + 0.01 * torch.randn_like(images)).gather(1, labels[:, None])
    trace = 2e4 * (moved - own)
    penalty = trace + 1e-4 * trace.square() + gradient.flatten(1).square().sum(1) / 2
    return F.cross_entropy(training, labels) + 1e-3 * penalty.mean()


def _jacobian(model: Classifier, images: Tensor, labels: Tensor) -> Tensor:
    training, pixels, logits = _twice(model, images)
    direction = F.normalize(torch.randn_like(logits), dim=1)
    (gradient,) = torch.autograd.grad(logits, pixels, direction, create_graph=True)
    return F.cross_entropy(training, labels) + gradient.square().sum() / len(images)


def _adversarial(model: Classifier, images: Tensor, labels: Tensor) -> Tensor:
    with in_eval_mode(model):
        pixels = images.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(F.cross_entropy(model(pixels), labels), pixels)
    moved = images + 0.5 * gradient / gradient.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
    return F.cross_entropy(model(moved), labels)


def pair(
    name: str, model: Classifier, images: Tensor
) -> tuple[Callable[[], object], Callable[[], object]]:
    """A step of the training, and its bare passes; the first of each have been made."""
    name = name.removeprefix("finetune-")
    ours = tool(name, _trainable(model), images)
    plain = bare(name, _trainable(model), images)
    # The first steps try the network and choose kernels.
    next(ours), next(ours), next(plain)
    return lambda: next(ours), lambda: next(plain)


def _trainable(model: Classifier) -> Classifier:
    return deepcopy(model).requires_grad_(True)
