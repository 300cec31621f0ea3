r"""Penalties on a change of the image, and the norms of the map that they stand for (P1).

Training at the change that gains most, loss less penalty, adds the penalty's convex conjugate at
the loss's gradient g to what is minimised, to first order:

.. math:: h^*(g) = \max_\delta \langle g, \delta\rangle - h(\delta)
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from saliency_audit.budget import direction, lengths, per_image
from saliency_audit.errors import InputError

SLACK = 1 + 1e-5
"""Round-off of a change on the surface of its ball."""


class Penalty(Protocol):
    """A penalty h on changes ``(n, c, h, w)`` in pixel units; gradients have the same shape."""

    def conjugate(self, gradient: Tensor) -> Tensor:
        """The norm of each image's gradient, h*, ``(n,)``, >= 0: what is added to the loss."""
        ...

    def value(self, change: Tensor) -> Tensor:
        """The penalty of each change, ``(n,)``, >= 0; of a ball 0 inside and infinite outside."""
        ...

    def solution(self, gradient: Tensor) -> Tensor:
        """The change at which h* is attained, ``(n, c, h, w)``; 0 where the gradient is 0."""
        ...

    def direction(self, gradient: Tensor) -> Tensor:
        """Where a step of an iteration goes, of size 1 in the penalty's own measure, or 0."""
        ...

    def prox(self, change: Tensor, t: Tensor) -> Tensor:
        r"""The d that minimises :math:`\|d - \delta\|_2^2 / 2 + t h(d)`, with one t per image.

        Of a ball the nearest point in it, whatever t.
        """
        ...


@dataclass(frozen=True)
class Elastic:
    r""":math:`h(\delta) = \sum_i (|\delta_i| - e_1)_+^2 / 4 e_2`; conjugate to the elastic net.

    .. math:: h^*(g) = \sum_i e_1 |g_i| + e_2 g_i^2, \quad
        \delta^* = e_1 \operatorname{sign}(g) + 2 e_2 g

    With :math:`e_2 = 0` the penalty is the ball :math:`|\delta_i| \le e_1`. Source: P1 B.3, whose
    line for the elastic net prints the last term twice; this is the maximum.

    Attributes:
        first: :math:`e_1`.
        second: :math:`e_2`, one for all or ``(n, 1, h, w)``.
        rule: a step's length is that of its largest pixel ("sign") or its L2 norm ("normalised").
    """

    first: float
    second: float | Tensor
    rule: str = "normalised"

    def conjugate(self, gradient: Tensor) -> Tensor:
        """See `Penalty`."""
        return _total(self.first * gradient.abs() + self.second * gradient.square())

    def value(self, change: Tensor) -> Tensor:
        """See `Penalty`."""
        excess = (change.abs() - self.first).clamp_min(0)
        # 0 / 0 is a change within a ball.
        return _total((excess.square() / (4 * self._second(change))).nan_to_num(0, torch.inf))

    def solution(self, gradient: Tensor) -> Tensor:
        """See `Penalty`."""
        return self.first * gradient.sign() + 2 * self.second * gradient

    def direction(self, gradient: Tensor) -> Tensor:
        """See `Penalty`."""
        return direction(gradient, self.rule)

    def prox(self, change: Tensor, t: Tensor) -> Tensor:
        """See `Penalty`."""
        double = 2 * self._second(change)
        left = (double / (double + per_image(t, change))).nan_to_num(0)
        size = change.abs()
        excess = (size - self.first).clamp_min(0)
        return change.sign() * (size.clamp_max(self.first) + left * excess)

    def _second(self, like: Tensor) -> Tensor:
        return torch.as_tensor(self.second, dtype=like.dtype, device=like.device)


@dataclass(frozen=True)
class Groups:
    r"""Balls of the L2 norm, one for each group S of pixels; conjugate to the L2,1 norm.

    .. math:: \max_S \|\delta_S\|_2 \le \epsilon, \quad
        h^*(g) = \epsilon \sum_S \|g_S\|_2, \quad \delta^*_S = \epsilon g_S / \|g_S\|_2

    Source: P1 B.3. Groups are square patches of each colour channel (P1's code; the paper does not
    define them). They start at the upper left corner; where a side is no multiple of theirs, the
    last ones are cut off.

    Attributes:
        eps: radius of each ball.
        side: of a patch, in pixels; None makes the whole image one group.
        joint: a patch is one group of all channels, not one for each.
    """

    eps: float
    side: int | None = None
    joint: bool = False

    def conjugate(self, gradient: Tensor) -> Tensor:
        """See `Penalty`."""
        return self.eps * _total(self._norms(gradient))

    def value(self, change: Tensor) -> Tensor:
        """See `Penalty`."""
        return _outside(self._norms(change).flatten(1).amax(1), self.eps)

    def solution(self, gradient: Tensor) -> Tensor:
        """See `Penalty`."""
        return self.eps * self.direction(gradient)

    def direction(self, gradient: Tensor) -> Tensor:
        """See `Penalty`; each group's own has length 1."""
        return (gradient / self._spread(self._norms(gradient), gradient)).nan_to_num(0, 0, 0)

    def prox(self, change: Tensor, t: Tensor) -> Tensor:
        """See `Penalty`."""
        del t
        share = (self.eps / self._norms(change).clamp_min(1e-12)).clamp_max(1)
        return change * self._spread(share, change)

    def _norms(self, change: Tensor) -> Tensor:
        if self.side is None:
            return per_image(lengths(change), change)
        squares = change.square()
        if self.joint:
            squares = squares.sum(1, keepdim=True)
        # Divided by 1: the sum of each patch, of what there is of it at the borders.
        return F.avg_pool2d(squares, self.side, ceil_mode=True, divisor_override=1).sqrt()

    def _spread(self, values: Tensor, like: Tensor) -> Tensor:
        if self.side is None:
            return values
        rows = values.repeat_interleave(self.side, 2)[:, :, : like.shape[2]]
        return rows.repeat_interleave(self.side, 3)[..., : like.shape[3]]


@dataclass(frozen=True)
class Largest:
    r"""The ball of the L1 norm, :math:`\|\delta\|_1 \le \epsilon`; conjugate to the maximum.

    .. math:: h^*(g) = \epsilon \|g\|_\infty, \quad
        \delta^*_i = \epsilon \operatorname{sign}(g_i) \text{ at the largest } |g_i|

    Of several that are the largest, the first moves.

    Attributes:
        eps: radius.
    """

    eps: float

    def conjugate(self, gradient: Tensor) -> Tensor:
        """See `Penalty`."""
        return self.eps * gradient.abs().flatten(1).amax(1)

    def value(self, change: Tensor) -> Tensor:
        """See `Penalty`."""
        return _outside(_total(change.abs()), self.eps)

    def solution(self, gradient: Tensor) -> Tensor:
        """See `Penalty`."""
        return self.eps * self.direction(gradient)

    def direction(self, gradient: Tensor) -> Tensor:
        """See `Penalty`."""
        flat = gradient.flatten(1)
        largest = flat.abs().argmax(1, keepdim=True)
        signs = flat.gather(1, largest).sign()
        return torch.zeros_like(flat).scatter(1, largest, signs).view_as(gradient)

    def prox(self, change: Tensor, t: Tensor) -> Tensor:
        """See `Penalty`; all pixels shrink by what fits (Duchi et al. 2008)."""
        del t
        sizes = change.abs().flatten(1).sort(dim=1, descending=True).values
        excess = sizes.cumsum(1) - self.eps
        ranks = torch.arange(1, sizes.shape[1] + 1, device=sizes.device)
        kept = (sizes * ranks > excess).sum(1, keepdim=True).clamp_min(1)
        shrink = (excess.gather(1, kept - 1) / kept).clamp_min(0)
        return change.sign() * (change.abs() - per_image(shrink, change)).clamp_min(0)


@dataclass(frozen=True)
class Options:
    """What a penalty can be made of; see `adversarial`."""

    eps: float
    eps2: float
    group: int
    joint_channels: bool
    annotations: Tensor | None


@dataclass(frozen=True)
class Regulariser:
    """A norm of the map, by the name that ``--penalty`` knows it by.

    Attributes:
        build: the penalty that is conjugate to it.
        eps: default, in pixel units. P1's code has 0.01 for l1 and elastic (and for group, which
            hardly moves a patch), and 0.5 for images with attention.
    """

    build: Callable[[Options], Penalty]
    eps: float


def _elastic(options: Options) -> Elastic:
    if not options.eps2 > 0:
        raise InputError(
            f"--eps2 is {options.eps2:g}; give a number above 0, or --penalty l1 for none"
        )
    return Elastic(options.eps, options.eps2)


def _weighted(options: Options) -> Elastic:
    if options.annotations is None:
        raise InputError(
            "--penalty weighted needs --annotations; give what people marked, or another penalty"
        )
    marked = options.annotations.unsqueeze(1)
    most = marked.amax((2, 3), keepdim=True)
    # Where nothing is marked, nothing is known: those images stay.
    return Elastic(0.0, options.eps * (1 - marked / most).nan_to_num(0))


PENALTIES = {
    "l1": Regulariser(lambda options: Elastic(options.eps, 0.0, "sign"), 0.01),
    "l2": Regulariser(lambda options: Groups(options.eps), 0.5),
    "linf": Regulariser(lambda options: Largest(options.eps), 0.5),
    "group": Regulariser(
        lambda options: Groups(options.eps, options.group, options.joint_channels), 0.01
    ),
    "elastic": Regulariser(_elastic, 0.01),
    "weighted": Regulariser(_weighted, 0.5),
}
"""What ``finetune --objective adversarial --penalty`` can be."""


def _total(each: Tensor) -> Tensor:
    total: Tensor = each.flatten(1).sum(1)
    return total


def _outside(size: Tensor, eps: float) -> Tensor:
    return torch.where(size <= eps * SLACK, 0.0, torch.inf).to(size.dtype)
