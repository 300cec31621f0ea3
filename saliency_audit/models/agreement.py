"""How near a surrogate is to the model it stands for."""

from collections import Counter
from dataclasses import dataclass

import torch
from torch import Tensor

from saliency_audit.models.classifier import Classifier
from saliency_audit.models.gradients import in_batches, input_gradient
from saliency_audit.models.surrogates import Kind, surrogate


@dataclass(frozen=True)
class Agreement:
    """How near a surrogate is to the model it stands for.

    Attributes:
        predictions: share of images with the same prediction.
        cosine: between the gradient maps, ``(n,)``; NaN where either is all zero.
        replaced: calls of each activation that were replaced, by its name.
    """

    predictions: float
    cosine: Tensor
    replaced: Counter[str]


def agreement(
    model: Classifier,
    images: Tensor,
    targets: Tensor,
    *,
    kind: Kind,
    beta: float,
    scalar: str = "logit",
    batch_size: int | None = None,
) -> Agreement:
    """Measure a surrogate against the original model.

    Args:
        model: the classifier.
        images: ``(n, c, h, w)`` in [0, 1]; at least one.
        targets: explained classes, ``(n,)``.
        kind: of the surrogate.
        beta: of the surrogate.
        scalar: a name in ``SCALARS``, whose gradient maps are compared.
        batch_size: most images the model sees at once.

    Raises:
        UnsupportedError: the model holds TorchScript.
    """

    def measure() -> tuple[Tensor, Tensor]:
        with torch.no_grad():
            logits = in_batches(lambda x, _: model(x), images, targets, batch_size)
        gradients = input_gradient(model, images, targets, scalar=scalar, batch_size=batch_size)
        return logits, gradients.flatten(1)

    logits, gradients = measure()
    with surrogate(model, kind, beta=beta) as context:
        smooth_logits, smooth_gradients = measure()
    norms = gradients.norm(dim=1) * smooth_gradients.norm(dim=1)
    return Agreement(
        predictions=float(model.kept(smooth_logits, logits).double().mean()),
        cosine=(gradients * smooth_gradients).sum(1) / norms,
        replaced=context.replaced,
    )
