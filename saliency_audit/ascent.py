"""Projected gradient ascent on a loss: what fools a classifier, and what robust ones train on."""

from collections.abc import Callable
from typing import Literal, get_args

import torch
from torch import Tensor

from saliency_audit.budget import Norm, accumulated, direction, project
from saliency_audit.errors import InputError, lookup
from saliency_audit.outputs import SOFTMAX, Outputs

Loss = Literal["xent", "cw"]


def attack_loss(
    logits: Tensor,
    classes: Tensor,
    *,
    loss: str = "xent",
    kappa: float | None = None,
    outputs: Outputs = SOFTMAX,
) -> Tensor:
    r"""What is maximised, one value per image.

    Args:
        logits: ``(n, classes)``.
        classes: to leave, ``(n,)``, or another prediction of ``outputs``.
        loss: "xent", the cross-entropy; "cw", :math:`\max_{j \ne y} f_j - f_y` (Carlini & Wagner
            2017), above 0 once the class has changed.
        kappa: "cw" grows no further than this; None lets it grow.
        outputs: how a prediction is read off logits.

    Returns:
        ``(n,)``.

    Raises:
        InputError: an unknown loss, or a kappa for one that has none.

    >>> attack_loss(torch.tensor([[-1.0, -3.0]]), torch.tensor([0]), loss="cw")
    tensor([-2.])
    """
    lookup("loss", {known: known for known in get_args(Loss)}, loss)
    if loss == "xent":
        if kappa is not None:
            raise InputError(f"kappa is {kappa:g}, but the loss is xent; give it to cw")
        return outputs.loss(logits, classes)
    lead = outputs.lead(logits, classes)
    return lead if kappa is None else lead.clamp_max(kappa)


def ascend(
    model: Callable[[Tensor], Tensor],
    clean: Tensor,
    classes: Tensor,
    *,
    eps: float,
    steps: int,
    step_size: float,
    norm: Norm,
    start: Tensor | None = None,
    rule: Literal["sign", "normalised"] | None = None,
    loss: str = "xent",
    kappa: float | None = None,
    momentum: float = 0.0,
    outputs: Outputs = SOFTMAX,
    seen: Callable[[Tensor], None] = lambda images: None,
) -> Tensor:
    r"""Climb the loss from a start: :math:`x \leftarrow \Pi(x + a\,d)`.

    Args:
        model: gives logits; each image for itself.
        clean: centres of the balls, ``(n, c, h, w)`` in [0, 1].
        classes: to leave, ``(n,)``, or another prediction of ``outputs``.
        eps: radius in pixel units.
        steps: number of them, each one forward and one backward pass.
        step_size: a, in pixel units.
        norm: of the ball.
        start: where to begin; None means at the clean images.
        rule: direction d: the gradient's "sign", or the "normalised" gradient,
            :math:`g / \|g\|_2`; None means the first for linf, the second for l2.
        loss: see `attack_loss`.
        kappa: likewise.
        momentum: of MI-FGSM (Dong et al. 2018).
        outputs: how a prediction is read off logits.
        seen: called with the images after each step.

    Returns:
        ``(n, c, h, w)``, detached, within the budget and in [0, 1]: the last step's. Source:
        Madry et al. 2018; P3 B, P4 eq. 5 (with the gradient in place of the loss).
    """
    rule = rule or ("sign" if norm == "linf" else "normalised")
    lookup("search", {"sign": None, "normalised": None}, rule)
    images = (clean if start is None else start).detach()
    velocity = torch.zeros_like(clean)
    for _ in range(steps):
        images = images.detach().requires_grad_()
        with torch.enable_grad():
            total = attack_loss(
                model(images), classes, loss=loss, kappa=kappa, outputs=outputs
            ).sum()
        (gradient,) = torch.autograd.grad(total, images)
        velocity = accumulated(gradient.nan_to_num(), velocity, momentum)
        with torch.no_grad():
            images = images + step_size * direction(velocity, rule)
            images = project(images, clean, eps=eps, norm=norm)
            seen(images)
    return images.detach()
