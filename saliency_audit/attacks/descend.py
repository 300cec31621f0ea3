"""The search for an image whose map does what a goal wants (Ghorbani; Dombrowski; MI-FGSM)."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from saliency_audit.attacks.kept import Kept
from saliency_audit.attacks.structured import prediction_change
from saliency_audit.budget import (
    Norm,
    accumulated,
    direction,
    project,
    random_start,
    rounded,
)
from saliency_audit.errors import InputError, lookup
from saliency_audit.maps import is_defined
from saliency_audit.models import Classifier, surrogate
from saliency_audit.seeding import random_numbers

Explain = Callable[..., Tensor]
"""``explain(images, graph=...)``: maps ``(n, h, w)``, magnitude, adding up to 1."""
Log = Callable[[int, Tensor, Tensor], None]
Rule = Literal["sign", "normalised", "adam"]
LOOKS = 10
"""How often a search looks at the original network, at least."""


@dataclass(frozen=True)
class Aim:
    """What a search wants of the maps of its images.

    Attributes:
        goal: of maps, ``(n,)``, lower is more of it; differentiable.
        criterion: of maps, what the best image is chosen by; None means the goal.
        floor: least value of the criterion; the search ends when every image has it.
        log: called with the step, the goal and the prediction's term, ``(n,)`` each, now and then.
    """

    goal: Callable[[Tensor], Tensor]
    criterion: Callable[[Tensor], Tensor] | None = None
    floor: float = -torch.inf
    log: Log = lambda step, goal, prediction: None

    def judged(self, maps: Tensor) -> Tensor:
        """The criterion; NaN, which is never better, where the map says nothing."""
        return (self.criterion or self.goal)(maps).where(is_defined(maps), torch.nan)


def descend(
    model: Classifier,
    explain: Explain,
    aim: Aim,
    images: Tensor,
    targets: Tensor,
    *,
    eps: float | None,
    steps: int,
    step_size: float | None = None,
    generators: Sequence[torch.Generator],
    norm: Norm = "linf",
    rule: Rule | None = None,
    smooth: Literal["exact-forward", "softplus", "none"] = "exact-forward",
    beta: float = 30.0,
    beta_growth: bool = False,
    momentum: float = 0.0,
    restarts: int = 1,
    random_step: bool = False,
    keep_prediction: bool = False,
    restore_class: bool = True,
    tick: Callable[[], None] = lambda: None,
) -> Tensor:
    r"""Follow the goal's gradient within the budget, and keep the best image on the way.

    Gradients are those of a smooth stand-in of the network, since a ReLU network has hardly any
    second derivative. What is kept is judged on the original network, after rounding to 8 bits:
    the prediction must be that of the clean image and the criterion below the clean image's.

    Args:
        model: the original network, frozen.
        explain: ``(images, graph=...) -> (n, h, w)``, maps that add up to 1.
        aim: what it wants.
        images: ``(n, c, h, w)`` on the 8-bit grid.
        targets: not used; ``explain`` knows them.
        eps: budget in pixel units; None for none.
        steps: of one start.
        step_size: in pixel units; None means 2.5 eps / steps, and 0.3 / steps without a budget,
            the length of Dombrowski's whole way.
        generators: one per image.
        norm: of the budget.
        rule: "sign" steps (Ghorbani), "normalised" steps along the gradient, or "adam"
            (Dombrowski); None means the first for linf and the second for l2.
        smooth: kind of the stand-in, or "none" for networks that are smooth already.
        beta: sharpness of the stand-in.
        beta_growth: from 10 to 100 instead, geometrically: :math:`10 \cdot 10^{i/N}` (Dombrowski).
        momentum: :math:`\mu` of MI-FGSM (Dong et al. 2018): m = mu m + g / ||g||_1.
        restarts: number of starts; the first is the clean image, the others random.
        random_step: take the first step at random, for goals that are stationary at the clean map.
        keep_prediction: add Dombrowski's term for the prediction to the goal.
        restore_class: where a step has changed the prediction, follow the cross-entropy back to it
            instead of the goal. The papers' attacks give up on such images.
        tick: called after each step.

    Returns:
        ``(n, c, h, w)``: the best images, within the budget and on the 8-bit grid; the clean
        image where none was better.

    Raises:
        InputError: momentum with "adam", whose own it would double.
        UnsupportedError: the network cannot be made smooth.
    """
    del targets
    rule = rule or ("sign" if norm == "linf" else "normalised")
    lookup("search", {known: known for known in get_args(Rule)}, rule)
    if momentum and rule == "adam":
        raise InputError(f"momentum is {momentum}, but adam has its own; search by sign steps")
    if step_size is None:
        step_size = 0.3 / steps if eps is None else 2.5 * eps / steps
    with torch.no_grad():
        kept = Kept(
            model,
            images,
            lambda candidates, _: aim.judged(explain(candidates, graph=False)),
            value=aim.judged(explain(images, graph=False)),
        )
        probabilities = model.outputs.probabilities(model(images)) if keep_prediction else None
        prediction = kept.prediction if restore_class else None
    look_every = max(1, steps // LOOKS)
    for start in range(restarts):
        pixels = (
            random_start(images, eps=eps, norm=norm, generators=list(generators))
            if start
            else images.clone()
        )
        adam = torch.optim.Adam([pixels], lr=step_size) if rule == "adam" else None
        velocity = torch.zeros_like(images)
        for step in range(steps):
            if random_step and not start and not step:
                gradient = _signs(images, generators)
            else:
                sharpness = 10 * 10 ** (step / steps) if beta_growth else beta
                gradient, value, change = _gradient(
                    model,
                    explain,
                    aim.goal,
                    pixels,
                    probabilities=probabilities,
                    prediction=prediction,
                    smooth=smooth,
                    beta=sharpness,
                )
                if step % look_every == 0 and not start:
                    aim.log(step, value, change)
            gradient = velocity = accumulated(gradient, velocity, momentum)
            if adam:
                pixels.grad = gradient
                adam.step()
            else:
                pixels = pixels - step_size * direction(gradient, rule)
            with torch.no_grad():
                # In place, since Adam holds on to the tensor.
                pixels.copy_(project(pixels, images, eps=eps, norm=norm))
                if (step + 1) % look_every == 0 or step + 1 == steps:
                    kept.offer(rounded(pixels, images, eps=eps, norm=norm))
            tick()
            if bool((kept.value <= aim.floor).all()):
                return kept.images
    return kept.images


def _gradient(
    model: Classifier,
    explain: Explain,
    goal: Callable[[Tensor], Tensor],
    images: Tensor,
    *,
    probabilities: Tensor | None,
    prediction: Tensor | None,
    smooth: Any,
    beta: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradient of what is minimised, the goal, and the prediction's term.

    Args:
        model: the network.
        explain: maps.
        goal: of the maps.
        images: where the search is.
        probabilities: of the clean images, to be kept; None where they need not be.
        prediction: of the clean images, to be restored; likewise.
        smooth: kind of the stand-in.
        beta: its sharpness.
    """
    pixels = images.detach().clone().requires_grad_()
    with nullcontext() if smooth == "none" else surrogate(model, smooth, beta=beta):
        with logits_of(model, pixels) as seen:
            value = goal(explain(pixels, graph=True))
        wanted, change = value, torch.zeros_like(value)
        if probabilities is not None or prediction is not None:
            # Maps that look at other points than the image itself take a pass more.
            logits = seen[0] if seen else model(pixels)
        if probabilities is not None:
            change = prediction_change(model.outputs.probabilities(logits), probabilities)
            wanted = value + change
        if prediction is not None:
            back = model.outputs.loss(logits, prediction)
            wanted = back.where(model.outputs.changed(logits, prediction), wanted)
        total = wanted.sum()
        if not total.requires_grad:
            return torch.zeros_like(images), value, change
        (gradient,) = torch.autograd.grad(total, pixels, allow_unused=True, materialize_grads=True)
    return gradient.nan_to_num(), value.detach(), change.detach()


@contextmanager
def logits_of(model: Classifier, pixels: Tensor) -> Iterator[list[Tensor]]:
    """Gathers the logits of these very images, whoever runs them through the model inside."""
    seen: list[Tensor] = []

    def note(_: Classifier, inputs: tuple[Tensor, ...], logits: Tensor) -> None:
        images = inputs[0]
        if images.data_ptr() == pixels.data_ptr() and images.shape == pixels.shape:
            seen.append(logits)

    handle = model.register_forward_hook(note)
    try:
        yield seen
    finally:
        handle.remove()


def _signs(images: Tensor, generators: Sequence[torch.Generator]) -> Tensor:
    """Plus or minus one for each value, from each image's own generator."""
    return random_numbers(partial(torch.randint, 2), images.shape, generators, images.dtype) * 2 - 1
