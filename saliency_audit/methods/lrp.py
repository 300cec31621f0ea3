"""Layer-wise relevance propagation (Bach et al. 2015) through every function a network calls."""

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from saliency_audit.methods._calls import exact
from saliency_audit.methods._refusals import (
    refuse,
    refuse_graph,
    refuse_softplus,
    refuse_torchscript,
)
from saliency_audit.methods._relevance import EPSILON, Relevance
from saliency_audit.models import Classifier, in_batches

TOLERANCE = 1e-2
"""Largest relative gap in conservation at which the map is still shown."""


def lrp(
    model: Classifier,
    images: Tensor,
    targets: Tensor,
    *,
    scalar: str = "logit",
    graph: bool = False,
    generators: Sequence[torch.Generator] = (),
    batch_size: int | None = None,
    rule: Literal["z-plus", "epsilon"] = "z-plus",
) -> Tensor:
    r"""Relevance of the logits, handed down function by function in proportion to contributions.

    "z-plus" takes z^B with the bounds of the pixels in the first layer (Montavon et al. 2017) and
    :math:`\alpha=1, \beta=0` without biases in the others (Bach et al. 2015, equation 60;
    Dombrowski et al. 2019), with the terms :math:`x_i w_{ij}` that are positive; where there is
    none, the negative ones take it, and of a unit driven by its bias alone all that it sees takes
    the same (the flat rule), so that relevance is conserved. "epsilon" takes
    :math:`\epsilon = 10^{-9}` everywhere, as Captum does by default, which on ReLU networks is
    input x gradient (Ancona et al. 2018); its biases take their share. Logit j starts with
    :math:`f_j \, \partial s_y / \partial f_j`: for the logit, :math:`f_y` in y and 0 elsewhere.

    A batch normalisation is one with the layer before it; where there is none, "z-plus" passes
    relevance through it unchanged. So do activations and the other normalisations (Achtibat et al.
    2024). Terms of a sum share in proportion, in "z-plus" those of the sum's sign. Of max-pooling
    the winner takes all; of a product with a gate (sigmoid, softmax: squeeze-and-excitation,
    attention) the other factor (Arras et al. 2017, Ali et al. 2022), of another product each half.

    Args:
        model: the classifier; an eager module or a ``torch.export`` program.
        images: ``(n, c, h, w)`` in [0, 1].
        targets: explained classes, ``(n,)``.
        scalar: a name in ``SCALARS``.
        graph: refused.
        generators: not used.
        batch_size: most images the model sees at once.
        rule: which rules the linear layers have.

    Returns:
        ``(n, c, h, w)``, signed, in units of the scalar. Sums to what the logits start with, in
        "epsilon" together with what biases took.

    Raises:
        UnsupportedError: ``graph`` was asked for, the format is TorchScript, the network runs
            softplus in place of what its layers say, relevance reaches a function without a rule,
            or it is not conserved: constants such as a class token took some.
    """
    del generators
    method = "lrp"
    refuse_graph(method, graph)
    refuse_softplus(method, model)
    refuse_torchscript(method, model)
    mean, std = (colour.to(images.dtype) for colour in (model.mean, model.std))

    def compute(part: Tensor, classes: Tensor) -> Tensor:
        relevances = Relevance(plus=rule == "z-plus", device=part.device)
        leaves: list[Tensor] = []

        def begin(_: Any, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            leaf = inputs[0].detach().clone().requires_grad_()
            leaves.append(leaf)
            low, high = (((end - mean) / std).to(leaf.dtype) for end in (0.0, 1.0))
            return relevances.begin(leaf, low, high), *inputs[1:]

        handle = network.network.register_forward_pre_hook(begin)
        with torch.enable_grad():
            try:
                with relevances:
                    logits = network(part.detach())
            finally:
                handle.remove()
            scores = logits.detach().requires_grad_()
            value = model.explained(scalar, scores, classes).sum()
            (weights,) = torch.autograd.grad(value, scores)
            start = scores.detach() * weights
            relevance, absorbed = torch.autograd.grad(
                logits,
                (leaves[0], relevances.absorbed),
                start,
                allow_unused=True,
                materialize_grads=True,
            )
        if relevances.unruled:
            refuse(method, model, f"it has no rule for {min(relevances.unruled)}")
        _refuse_loss(model, relevance.flatten(1).sum(1), start, absorbed, rule)
        return relevance.to(part.dtype)

    with exact(model, method) as network:
        return in_batches(compute, images, targets, batch_size)


def _refuse_loss(
    model: Classifier, sums: Tensor, start: Tensor, absorbed: Tensor, rule: str
) -> None:
    """Refuse maps that do not sum to what relevance started with."""
    due, scale = start.sum(1), start.abs().sum(1)
    if rule == "epsilon":
        # What biases took is known of all images together.
        sums, due, scale = (x.sum(0, keepdim=True) for x in (sums, due, scale))
        sums = sums + absorbed
    gap = (sums - due).abs()
    if bool((gap > TOLERANCE * scale).any()) or not bool(sums.isfinite().all()):
        worst = int((gap - TOLERANCE * scale).argmax())
        reason = (
            "the rest ends in constants beside the image, such as a class token"
            if rule == "z-plus"
            else f"with biases; activations are near {EPSILON:g}, or their sums near 0"
        )
        refuse(
            "lrp",
            model,
            f"relevance sums to {sums[worst]:.4g} instead of {due[worst]:.4g} ({reason})",
        )
