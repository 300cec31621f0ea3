"""PGD adversarial training (P3, P4)."""

from dataclasses import replace
from typing import cast, get_args

from saliency_audit.ascent import ascend
from saliency_audit.budget import Norm, check_range
from saliency_audit.budget import random_start as drawn
from saliency_audit.errors import InputError, lookup
from saliency_audit.training.cross_entropy import cross_entropy
from saliency_audit.training.step import Loss, Step, at_least, steady


def pgd(
    step: Step,
    *,
    eps: float = 8 / 255,
    norm: str = "linf",
    steps: int = 7,
    step_size: float | None = None,
    loss: str = "xent",
    kappa: float | None = None,
    attack_momentum: float = 0.0,
    random_start: bool = True,
) -> Loss:
    r"""The cross-entropy at the images that projected gradient descent finds within a budget.

    .. math:: \min_\theta \mathbb E \max_{\|\delta\| \le \epsilon} l(x + \delta)

    Images are searched with the network in eval mode and in fp32, so that its statistics stay,
    dropout is off and the signs of small gradients are right; weights are then trained in training
    mode on the images found alone, with their true labels. Each step costs one forward and one
    backward pass.

    Args:
        step: one batch.
        eps: :math:`\epsilon`, >= 0, in pixel units of [0, 1].
        norm: of the budget, "linf" (steps along the gradient's sign) or "l2" (along the gradient
            of length 1).
        steps: of the search.
        step_size: in pixel units; None means 2.5 eps / steps.
        loss: what the search climbs, "xent" or "cw" (see `attack_loss`).
        kappa: "cw" grows no further than this; None lets it grow.
        attack_momentum: of MI-FGSM.
        random_start: start at a point drawn uniformly from the ball, not at the image.

    Returns:
        The one term "cross-entropy", at the images found, which are in [0, 1].

    Raises:
        InputError: options that mean nothing, or not together.

    Source: Madry et al. 2018; P4 eq. 5, whose training takes 7 steps (its eq. 5 prints the loss
    where the gradient is meant); P3 B, which takes 40 in [-1, 1] and a step of 2 (L2) or 0.02.
    Neither says what mode the network is in; theirs has only one.
    """
    lookup("norm", dict.fromkeys(get_args(Norm)), norm)
    ball = cast(Norm, norm)
    at_least("eps", eps, 0)
    check_range(eps, norm)
    at_least("steps", steps, 1)
    at_least("attack_momentum", attack_momentum, 0)
    if step_size is not None:
        at_least("step_size", step_size, 0)
    if kappa is not None and loss == "xent":
        raise InputError(f"--kappa is {kappa:g}, but --loss is xent; give --loss cw")
    start = None
    if random_start:
        start = drawn(step.images, eps=eps, norm=ball, generators=step.generators("pgd"))
    with steady(step.model):
        images = ascend(
            step.model,
            step.images,
            step.labels,
            eps=eps,
            steps=steps,
            step_size=2.5 * eps / steps if step_size is None else step_size,
            norm=ball,
            start=start,
            loss=loss,
            kappa=kappa,
            momentum=attack_momentum,
        )
    return cross_entropy(replace(step, images=images))
