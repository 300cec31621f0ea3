"""Noise of the same size: the control that every attack must beat."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from saliency_audit.attacks.budget import Norm, lengths, per_image, project, rounded
from saliency_audit.errors import InputError
from saliency_audit.models import Classifier


def random(
    model: Classifier,
    explain: Any,
    goal: Any,
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
        goal: not used.
        images: ``(n, c, h, w)`` on the 8-bit grid.
        targets: not used.
        eps: budget in pixel units, one for all or ``(n,)``.
        steps: not used.
        step_size: not used.
        generators: one per image.
        norm: "linf": plus or minus eps at random in every value; "l2": a random direction of
            length eps.

    Returns:
        ``(n, c, h, w)``, within the budget and on the 8-bit grid. The class may have changed.

    Raises:
        InputError: no budget.
    """
    del model, explain, goal, targets, steps, step_size
    if eps is None:
        raise InputError("random needs a budget; give --eps, such as --eps 8/255")
    noise = torch.stack(
        [
            torch.randn(image.shape, generator=generator, device=image.device)
            for image, generator in zip(images, generators, strict=True)
        ]
    ).to(images.dtype)
    size = per_image(torch.as_tensor(eps, device=images.device).to(images.dtype), images)
    noise = noise.sign() if norm == "linf" else noise / per_image(lengths(noise), noise)
    moved = project(images + size * noise, images, eps=eps, norm=norm)
    return rounded(moved, images, eps=eps, norm=norm)
