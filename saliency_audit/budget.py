"""Where an attacked image may be: near the clean one, in [0, 1], on the 8-bit grid."""

from typing import Literal

import torch
from torch import Tensor

from saliency_audit.errors import InputError

Norm = Literal["linf", "l2"]
LEVELS = 255


def per_image(value: Tensor, like: Tensor) -> Tensor:
    """``(n,)`` shaped to multiply ``(n, ...)``."""
    return value.view(-1, *(1,) * (like.ndim - 1))


def lengths(changes: Tensor) -> Tensor:
    """L2 norm of each change, ``(n,)``."""
    size: Tensor = changes.flatten(1).norm(dim=1)
    return size


def project(images: Tensor, clean: Tensor, *, eps: float | Tensor | None, norm: Norm) -> Tensor:
    """The nearest images within the budget, then within [0, 1].

    Cutting to [0, 1] never leaves a ball around an image in [0, 1].

    Args:
        images: ``(n, c, h, w)``.
        clean: centres of the balls, in [0, 1].
        eps: radius in pixel units, one for all or ``(n,)``; None means no budget.
        norm: of the ball.

    Returns:
        ``(n, c, h, w)``.

    >>> project(torch.tensor([[0.9, 0.1]]), torch.tensor([[0.5, 0.0]]), eps=0.3, norm="linf")
    tensor([[0.8000, 0.1000]])
    """
    if eps is not None:
        change = images - clean
        radius = per_image(torch.as_tensor(eps, device=clean.device).to(clean.dtype), clean)
        if norm == "linf":
            change = torch.minimum(torch.maximum(change, -radius), radius)
        else:
            size = per_image(lengths(change), clean)
            change = change * (radius / size.clamp_min(1e-12)).clamp_max(1)
        images = clean + change
    return images.clamp(0, 1)


def rounded(images: Tensor, clean: Tensor, *, eps: float | Tensor | None, norm: Norm) -> Tensor:
    """The images in 8 bits a channel, as a file can hold them, still within the budget.

    Each pixel goes to its nearest level; in an L2 ball those that grew most by it go one level
    back, until the ball holds the image again.

    Args:
        images: ``(n, c, h, w)`` within the budget and in [0, 1].
        clean: centres of the balls, on the 8-bit grid.
        eps: radius in pixel units, one for all or ``(n,)``; None means no budget.
        norm: of the ball.

    Returns:
        ``(n, c, h, w)``, whole numbers over 255.
    """
    start = (clean.double() * LEVELS).round()
    change = images.double() * LEVELS - start
    levels = change.round()
    if eps is not None:
        # The slack is far below a level and above the round-off of fp32 pixels.
        radius = torch.as_tensor(eps, device=clean.device).double() * LEVELS + 1e-4
        if norm == "linf":
            most = per_image(radius.floor().expand(len(clean)), clean)
            levels = torch.minimum(torch.maximum(levels, -most), most)
        else:
            levels = _shortened(levels.flatten(1), change.flatten(1), radius.expand(len(clean)))
            levels = levels.view_as(change)
    return ((start + levels) / LEVELS).to(clean.dtype)


def _shortened(levels: Tensor, change: Tensor, radius: Tensor) -> Tensor:
    """Whole levels no longer than the radius, near a change that is not."""
    growth, order = (levels.abs() - change.abs()).sort(dim=1, descending=True)
    gain = (2 * levels.abs().gather(1, order) - 1).clamp_min(0)
    excess = (levels.square().sum(1) - radius.square()).unsqueeze(1)
    # A pixel goes back if those before it were not enough.
    back = (growth > 0) & (gain.cumsum(1) - gain < excess)
    steps = torch.zeros_like(levels).scatter_(1, order, back.to(levels.dtype))
    return levels - steps * levels.sign()


def accumulated(gradient: Tensor, velocity: Tensor, momentum: float) -> Tensor:
    r"""MI-FGSM's velocity, :math:`\mu m + g / \|g\|_1` (Dong et al. 2018); g without momentum.

    Args:
        gradient: ``(n, c, h, w)``.
        velocity: of the step before, likewise.
        momentum: :math:`\mu`.
    """
    if not momentum:
        return gradient
    size = per_image(gradient.abs().flatten(1).sum(1), gradient)
    return momentum * velocity + (gradient / size).nan_to_num()


def direction(gradient: Tensor, rule: str) -> Tensor:
    """Where a step goes: the gradient's "sign", or the "normalised" gradient, 0 where it is 0.

    >>> direction(torch.tensor([[3.0, -4.0], [0.0, 0.0]]), "normalised")
    tensor([[ 0.6000, -0.8000],
            [ 0.0000,  0.0000]])
    """
    if rule == "sign":
        return gradient.sign()
    # A length that underflows gives infinity, which is no direction either.
    return (gradient / per_image(lengths(gradient), gradient)).nan_to_num(0.0, 0.0, 0.0)


def random_start(
    clean: Tensor,
    *,
    eps: float | None,
    norm: Norm,
    generators: list[torch.Generator],
) -> Tensor:
    """A point drawn uniformly from each ball, cut to [0, 1]; without a budget the clean image.

    Args:
        clean: ``(n, c, h, w)``.
        eps: radius in pixel units.
        norm: of the ball.
        generators: one per image.
    """
    if eps is None:
        return clean.clone()
    drawn = []
    for image, generator in zip(clean, generators, strict=True):
        if norm == "linf":
            noise = torch.rand(image.shape, generator=generator, device=image.device) * 2 - 1
        else:
            noise = torch.randn(image.shape, generator=generator, device=image.device)
            share = torch.rand(1, generator=generator, device=image.device)
            noise = noise / noise.norm() * share ** (1 / image.numel())
        drawn.append(noise.to(clean.dtype))
    return (clean + eps * torch.stack(drawn)).clamp(0, 1)


def check_range(eps: float, norm: str) -> None:
    """Refuse a budget that is more than an image can change by.

    Raises:
        InputError: ``eps`` is above 1 in linf.
    """
    if norm == "linf" and eps > 1:
        raise InputError(
            option="eps",
            value=eps,
            fix="that is more than the whole range of an image, which is 0 to 1; for "
            f"{eps:g} of 255 levels give {eps:g}/255",
        )
