r"""The mean gradient of a normalisation between two inputs, in closed form.

On the way :math:`d(t) = d_0 + t \delta` from one centred row of N numbers to another the variance
:math:`v(t) = A t^2 + B t + C` is a parabola, so the mean of the gradient of
:math:`d(t) / \sqrt{v(t)}` is made of four elementary integrals.
"""

from collections.abc import Callable
from math import prod, sqrt
from typing import Any

import torch
from torch import Tensor


class _Normalised(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, start: Tensor, eps: float, centred: bool) -> Tensor:
        ctx.save_for_backward(x, start)
        ctx.eps, ctx.centred = eps, centred
        rows = _centred(x) if centred else x
        return rows / (rows.square().mean(-1, keepdim=True) + eps).sqrt()

    @staticmethod
    def backward(ctx: Any, *signals: Tensor) -> tuple[Tensor, None, None, None]:
        # Differences of integrals, for which MPS has no better type.
        kind = torch.float32 if signals[0].device.type == "mps" else torch.float64
        ends = [tensor.to(kind) for tensor in ctx.saved_tensors]
        d, d0 = map(_centred, ends) if ctx.centred else ends
        way = d - d0
        signal = signals[0].to(kind)
        a = way.square().mean(-1, keepdim=True)
        half_b = (way * d0).mean(-1, keepdim=True)
        c = d0.square().mean(-1, keepdim=True) + ctx.eps
        i0, k0, k1, k2 = _integrals(a, half_b, c, a * ctx.eps)
        at_start = (signal * d0).mean(-1, keepdim=True)
        along = (signal * way).mean(-1, keepdim=True)
        gradient = (
            i0 * signal - d0 * (at_start * k0 + along * k1) - way * (at_start * k1 + along * k2)
        )
        if ctx.centred:
            gradient = _centred(gradient)
        return gradient.to(signals[0].dtype), None, None, None


def _centred(rows: Tensor) -> Tensor:
    return rows - rows.mean(-1, keepdim=True)


def _integrals(a: Tensor, half_b: Tensor, c: Tensor, least: Tensor) -> tuple[Tensor, ...]:
    """Of v^(-1/2), v^(-3/2), t v^(-3/2) and t^2 v^(-3/2) over t in [0, 1], v = a t^2 + b t + c."""
    # Where the ends are next to equal, the integrand is next to constant.
    still = a <= 1e-12 * c
    a = torch.where(still, 1.0, a)
    half_b = torch.where(still, 0.0, half_b)
    rest = torch.where(still, c, torch.maximum(a * c - half_b**2, least))
    end = (a + 2 * half_b + c).sqrt()
    begin = c.sqrt()
    i0 = (((a + half_b) / rest.sqrt()).asinh() - (half_b / rest.sqrt()).asinh()) / a.sqrt()
    k0 = ((a + half_b) / end - half_b / begin) / rest
    k1 = (c / begin - (half_b + c) / end) / rest
    k2 = (i0 - 2 * half_b * k1 - c * k0) / a
    flat = begin**-3
    parts = ((i0, 1 / begin), (k0, flat), (k1, flat / 2), (k2, flat / 3))
    return tuple(torch.where(still, limit, part) for part, limit in parts)


def layer_norm(
    x: Tensor,
    start: Tensor,
    normalized_shape: Any,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
    cudnn_enable: bool = True,
    *,
    centred: bool = True,
) -> Tensor:
    """``layer_norm`` whose way back is its mean gradient between ``start`` and ``x``."""
    del cudnn_enable
    shape = (*x.shape[: x.ndim - len(normalized_shape)], prod(normalized_shape))
    rows: Tensor = _Normalised.apply(x.reshape(shape), start.reshape(shape), eps, centred)
    result = rows.view_as(x)
    result = result if weight is None else result * weight
    return result if bias is None else result + bias


def rms_norm(
    x: Tensor,
    start: Tensor,
    normalized_shape: Any,
    weight: Tensor | None = None,
    eps: float | None = None,
) -> Tensor:
    """Likewise ``rms_norm``."""
    least = torch.finfo(x.dtype).eps if eps is None else eps
    return layer_norm(x, start, normalized_shape, weight, eps=least, centred=False)


def group_norm(
    x: Tensor,
    start: Tensor,
    num_groups: int,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
    cudnn_enabled: bool = True,
) -> Tensor:
    """Likewise ``group_norm``."""
    del cudnn_enabled
    rows: Tensor = _Normalised.apply(
        x.reshape(len(x), num_groups, -1), start.reshape(len(x), num_groups, -1), eps, True
    )
    result = rows.view_as(x)
    channels = (-1, *[1] * (x.ndim - 2))
    result = result if weight is None else result * weight.view(channels)
    return result if bias is None else result + bias.view(channels)


def normalize(
    x: Tensor, start: Tensor, p: float = 2.0, dim: int = 1, eps: float = 1e-12
) -> Tensor | None:
    """Likewise ``normalize`` to length 1; None for another norm."""
    if p != 2:
        return None
    count = x.shape[dim]
    rows: Tensor = _Normalised.apply(
        x.movedim(dim, -1), start.movedim(dim, -1), eps**2 / count, False
    )
    result: Tensor = rows.movedim(-1, dim) / sqrt(count)
    return result


NORMALISATIONS: dict[str, Callable[..., Tensor | None]] = {
    "layer_norm": layer_norm,
    "group_norm": group_norm,
    "rms_norm": rms_norm,
    "normalize": normalize,
}
"""By the name of the function of torch."""
