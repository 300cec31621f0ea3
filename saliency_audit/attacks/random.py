"""Noise of the same size: the control that every attack must beat."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from saliency_audit.budget import Norm, lengths, per_image, project, rounded
from saliency_audit.errors import InputError
from saliency_audit.models import Classifier
from saliency_audit.seeding import random_numbers

BISECTIONS = 24


def random(
    model: Classifier,
    explain: Any,
    aim: Any,
    images: Tensor,
    targets: Tensor,
    *,
    eps: float | Tensor | None,
    steps: int = 1,
    step_size: float | None = None,
    generators: Sequence[torch.Generator],
    norm: Norm = "linf",
) -> Tensor:
    """Add noise that uses the whole budget, as an attack does.

    Args:
        model: not used.
        explain: not used.
        aim: not used.
        images: ``(n, c, h, w)`` on the 8-bit grid.
        targets: not used.
        eps: budget in pixel units, one for all or ``(n,)``.
        steps: not used.
        step_size: not used.
        generators: one per image.
        norm: "linf": plus or minus eps at random in every value; "l2": normal noise, scaled so
            that its length is eps after rounding.

    Returns:
        ``(n, c, h, w)``, within the budget and on the 8-bit grid. The class may have changed.

    Raises:
        InputError: no budget.
    """
    del model, explain, aim, targets, steps, step_size
    if eps is None:
        raise InputError("random needs a budget; give --eps, such as --eps 8/255")
    noise = random_numbers(torch.randn, images.shape, generators, images.dtype)
    size = torch.as_tensor(eps, device=images.device).to(images.dtype).expand(len(images))
    if norm == "linf":
        moved = project(images + per_image(size, images) * noise.sign(), images, eps=eps, norm=norm)
        return rounded(moved, images, eps=eps, norm=norm)
    # Cutting to [0, 1] and rounding change the length: the scale at which it is eps is searched.
    least, most = torch.zeros_like(size), torch.ones_like(size)
    for _ in range(BISECTIONS):
        scale = (least + most) / 2
        short = lengths(_added(images, scale, noise) - images) <= size
        least, most = scale.where(short, least), most.where(short, scale)
    return _added(images, least, noise)


def _added(images: Tensor, scale: Tensor, noise: Tensor) -> Tensor:
    moved = images + per_image(scale, images) * noise
    return rounded(moved.clamp(0, 1), images, eps=None, norm="l2")
