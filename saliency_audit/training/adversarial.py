"""Norm-regularised adversarial training (P1)."""

from dataclasses import replace
from math import sqrt

import torch
from torch import Tensor

from saliency_audit.budget import accumulated, check_range, lengths
from saliency_audit.errors import InputError, lookup
from saliency_audit.models import input_gradient
from saliency_audit.training.cross_entropy import cross_entropy
from saliency_audit.training.penalties import PENALTIES, Options, Penalty
from saliency_audit.training.step import Loss, Step, at_least, steady

STEP = 0.3
"""P1's."""
DIMENSIONS = 3 * 224 * 224
"""Of P1's images."""


def adversarial(
    step: Step,
    *,
    penalty: str = "l2",
    eps: float | None = None,
    eps2: float = 0.05,
    steps: int = 1,
    step_size: float | None = None,
    group: int = 14,
    joint_channels: bool = False,
    attack_momentum: float = 0.0,
    replay: int = 1,
    clamp: bool = False,
) -> Loss:
    r"""The cross-entropy at images moved by what gains most, loss less a penalty on the change.

    .. math:: \min_\theta \mathbb E\, l(x + \delta), \quad
        \delta = \arg\max_\delta l(x + \delta) - h(\delta)

    To first order its gradient in the weights is that of :math:`l(x) + h^*(\nabla_x l(x))`: the
    penalty h on the change is a norm h* of the map (`PENALTIES`). The inner problem is solved in
    closed form for the linearised loss, or by steps from there, the network in eval mode and in
    fp32. Weights are then trained in training mode on the moved images alone, with their true
    labels.

    A step is :math:`\delta \leftarrow \operatorname{prox}_{th}(\delta + a d)`: along the sign of
    the gradient (l1), the gradient of length 1 (l2, elastic, weighted), of length 1 in each group,
    or its largest pixel (linf); then to the nearest point of the ball, or, where h is no ball,
    the proximal step that belongs to :math:`t = a / \|g\|_2`.

    Args:
        step: one batch; ``annotations`` for "weighted", ``memory`` for ``replay``.
        penalty: the norm of the map: "l1" (FGSM), "l2", "linf", "group" (L2,1), "elastic", or
            "weighted", :math:`\sum_i e_i g_i^2` with :math:`e_i = \epsilon (1 - A_i / \max A)`:
            energy of the map off what people marked.
        eps: :math:`\epsilon`, >= 0, in pixel units: radius of the ball, or weight in h*. None
            means 0.01 for l1, group and elastic, 0.5 for l2, linf and weighted.
        eps2: :math:`\epsilon_2` of the elastic net.
        steps: 1 takes the closed form (one gradient); more are taken from there (P1: 7), each one
            more gradient.
        step_size: a, in pixel units. None means 0.3, that is 0.3 eps for l1, 0.3 in L2 norm for
            the others, and 0.3 :math:`\sqrt{D / 150528}` for elastic and weighted: as much per
            pixel on D pixels as on P1's images. With ``replay`` it is eps for balls.
        group: side of the patches in pixels.
        joint_channels: a patch is one group of all channels, not one for each.
        attack_momentum: of MI-FGSM, from step to step.
        replay: m > 1 is free training: the loop shows each batch m times, each time for one step
            of the optimiser, and the same backward pass moves the images for the next time: in
            training mode, and in the precision that is trained in.
        clamp: keep moved images in [0, 1]; P1 does not.

    Returns:
        The one term "cross-entropy", at the moved images. Seen: "map-norm", the mean h* of the
        gradients at the images (not with ``replay``), and "change", the mean
        :math:`\|\delta\|_2`.

    Raises:
        InputError: options that mean nothing, or not together.

    Source: P1 B.3, B.4 (start, steps and their length are the paper's; its code starts at 0 and
    takes steps of 1 for groups), C.2.3; Dong et al. 2018. The gradient is that of each image's own
    loss. For elastic, P1's code climbs the gradient of loss less h; the proximal step instead
    rests at the closed form where the loss is linear, and does not swing about it. Free training:
    P1 C.2.2, Shafahi et al. 2019: the change persists from batch to batch, a smaller batch uses
    the first of it, and it is updated after it was used. Its gradient is read as n times that of
    the batch's mean loss. Accumulation in k parts divides that loss by k; only elastic sees it, as
    a step whose second term is k times too small.
    """
    known = lookup("penalty", PENALTIES, penalty)
    eps = known.eps if eps is None else eps
    _check(penalty, eps, steps, step_size, group, attack_momentum, replay)
    chosen = known.build(Options(eps, eps2, group, joint_channels, step.annotations))
    if step_size is None:
        step_size = _step_size(penalty, eps, step.images[0].numel(), free=replay > 1)
    if replay > 1:
        return _free(step, chosen, step_size, clamp)

    def moved(change: Tensor) -> Tensor:
        images = step.images + change
        return images.clamp(0, 1) if clamp else images

    with steady(step.model):
        gradient = input_gradient(step.model, step.images, step.labels, scalar="loss")
        norm = chosen.conjugate(gradient).mean()
        images = moved(chosen.solution(gradient))
        velocity = torch.zeros_like(images)
        for _ in range(steps if steps > 1 else 0):
            gradient = input_gradient(step.model, images, step.labels, scalar="loss")
            velocity = accumulated(gradient, velocity, attack_momentum)
            images = moved(_climbed(chosen, images - step.images, gradient, velocity, step_size))
    change = lengths(images - step.images).mean()
    loss = cross_entropy(replace(step, images=images))
    return replace(loss, seen={"map-norm": norm, "change": change})


def _climbed(
    penalty: Penalty, change: Tensor, gradient: Tensor, velocity: Tensor, step_size: float
) -> Tensor:
    t = (step_size / lengths(gradient)).nan_to_num(0)
    return penalty.prox(change + step_size * penalty.direction(velocity), t)


def _free(step: Step, penalty: Penalty, step_size: float, clamp: bool) -> Loss:
    count = len(step.images)
    kept = step.memory.get("delta", step.images[:0])
    if len(kept) < count:
        kept = torch.cat([kept, torch.zeros_like(step.images[len(kept) :])])
    change = kept[:count].clone().requires_grad_()
    images = step.images + change
    loss = cross_entropy(replace(step, images=images.clamp(0, 1) if clamp else images))

    def after() -> None:
        if change.grad is None:
            raise RuntimeError("the images have no gradient yet; call after() after backward()")
        gradient = count * change.grad
        with torch.no_grad():
            updated = _climbed(penalty, change, gradient, gradient, step_size)
        step.memory["delta"] = torch.cat([updated, kept[count:]])

    return replace(loss, seen={"change": lengths(change.detach()).mean()}, after=after)


def _step_size(penalty: str, eps: float, dimensions: int, *, free: bool) -> float:
    if penalty in ("elastic", "weighted"):
        return STEP * sqrt(dimensions / DIMENSIONS)
    if free:
        return eps
    return STEP * eps if penalty == "l1" else STEP


def _check(
    penalty: str,
    eps: float,
    steps: int,
    step_size: float | None,
    group: int,
    momentum: float,
    replay: int,
) -> None:
    at_least("eps", eps, 0)
    if penalty == "l1":
        # Its changes are those of the linf ball.
        check_range(eps, "linf")
    at_least("steps", steps, 1)
    at_least("group", group, 1)
    at_least("attack_momentum", momentum, 0)
    at_least("replay", replay, 1)
    if step_size is not None:
        at_least("step_size", step_size, 0)
    if replay > 1 and steps > 1:
        raise InputError(f"--steps is {steps}, but --replay {replay} takes its own; give --steps 1")
    if replay > 1 and penalty == "weighted":
        raise InputError(
            "--penalty weighted differs from image to image, and what --replay keeps does not; "
            "give --replay 1"
        )
    if momentum and steps == 1:
        raise InputError(
            f"--attack-momentum is {momentum:g}, but --steps is 1; give --steps 2 or more"
        )
