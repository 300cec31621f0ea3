"""Guided backpropagation (Springenberg et al. 2014), by Captum."""

from collections.abc import Sequence

import torch
from captum.attr import GuidedBackprop
from torch import Tensor, nn

from saliency_audit.methods._captum import (
    RECTIFIERS,
    captum_quiet,
    private_copy,
    refuse,
    refuse_graph,
)
from saliency_audit.models import Classifier, in_batches

PASSED_THROUGH = (nn.ReLU, nn.Sigmoid, nn.Tanh, nn.Softmax, nn.LogSoftmax, nn.Hardsigmoid)


class _ScalarOf(nn.Module):
    def __init__(self, model: Classifier, scalar: str) -> None:
        super().__init__()
        self.model = model
        self.scalar = scalar

    def forward(self, images: Tensor, targets: Tensor) -> Tensor:
        return self.model.explained(self.scalar, self.model(images), targets)


def guided_backprop(
    model: Classifier,
    images: Tensor,
    targets: Tensor,
    *,
    scalar: str = "logit",
    graph: bool = False,
    generators: Sequence[torch.Generator] = (),
    batch_size: int | None = None,
) -> Tensor:
    """Gradient whose way back through each ReLU keeps only its positive part.

    Known to hardly depend on the model (it reconstructs edges), hence worth auditing.

    Args:
        model: the classifier; must be an eager module with ``nn.ReLU`` layers.
        images: ``(n, c, h, w)`` in [0, 1].
        targets: explained classes, ``(n,)``.
        scalar: a name in ``SCALARS``.
        graph: refused.
        generators: not used.
        batch_size: most images the model sees at once.

    Returns:
        ``(n, c, h, w)``, signed, in units of the scalar per unit of pixel value. Equals the
        gradient where every signal and weight is positive.

    Raises:
        UnsupportedError: ``graph`` was asked for, the format has no eager modules, or the network
            has rectifiers that are no ``nn.ReLU``: they would be passed like in the gradient.
    """
    del generators
    method = "guided-backprop"
    refuse_graph(method, graph)
    copy, trace = private_copy(model, images, method)
    functions = sorted(trace.functions & RECTIFIERS)
    if functions:
        refuse(method, model, f"it calls {functions[0]} as a function, not as a module")
    activations = [m for m in trace.layers if type(m).__module__ == "torch.nn.modules.activation"]
    others = [m for m in activations if not isinstance(m, PASSED_THROUGH)]
    if others:
        refuse(method, model, f"it rectifies with {type(others[0]).__name__}, not with nn.ReLU")
    if not any(isinstance(module, nn.ReLU) for module in activations):
        refuse(method, model, "it has no nn.ReLU, so the map would be the plain gradient")
    explain = GuidedBackprop(_ScalarOf(copy, scalar))

    def compute(part: Tensor, classes: Tensor) -> Tensor:
        with captum_quiet():
            saliency: Tensor = explain.attribute(
                part.detach().clone().requires_grad_(), additional_forward_args=classes
            )
        return saliency.detach()

    return in_batches(compute, images, targets, batch_size)
