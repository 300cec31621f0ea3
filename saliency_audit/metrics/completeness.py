"""Do the model's gradients add up to what its output does?"""

from collections.abc import Callable, Iterator
from itertools import pairwise

import torch
from torch import Tensor

from saliency_audit.errors import InputError
from saliency_audit.metrics.fill import filled
from saliency_audit.metrics.perturbation import logits
from saliency_audit.metrics.view import Measured, View
from saliency_audit.models import gradients_at
from saliency_audit.seeding import random_numbers

SHARE = 0.1
"""How much of the way to the image's mean colour. All the way, some honest networks are so crooked
that a hundred steps do not suffice."""
HALF_A_LEVEL = 0.5 / 255
"""How far a random direction leads at most, in every value: what an 8-bit file rounds away."""
DIRECTIONS = 4
"""Of the random way."""
SCALARS = {"completeness": "logit", "completeness-log-prob": "log-prob"}
MIDPOINTS = 16
"""Steps of the way to a lower contrast, unless told otherwise."""
HALF = 0.5
"""Beyond it, most of what the output does is not what gradients say, or the reverse."""
ROUNDING = 64
"""Units in the last place of the largest logit that a network's round-off may add up to."""

Way = Callable[[], Iterator[Tensor]]
"""Points from the image on, ``(n, c, h, w)``; the same whenever it is called."""


def completeness(view: View, *, midpoints: int = MIDPOINTS) -> list[Measured]:
    r"""Part of what the output does on two ways that begin at the image, that no gradient tells.

    .. math:: \frac{\sum_k |t_k - c_k|}{\max(\sum_k |t_k|, \sum_k |c_k|)}, \quad
        t_k = \langle \nabla s_y(\tfrac{x_{k-1} + x_k}{2}), x_k - x_{k-1}\rangle, \quad
        c_k = s_y(x_k) - s_y(x_{k-1})

    ``way=contrast``: N steps to a lower contrast, :math:`x_k = x + \tfrac{k}{10 N} (\bar x - x)`.
    ``way=random``: half as many steps, in four random directions one after the other, each of
    which moves every value by up to half a level of an 8-bit image.

    Near 0 for every network that is continuous and differentiable almost everywhere: its gradients
    add up to its output. A network that rounds its output and adds something faint has the
    gradient of the latter alone: 1. So has a slope of something that never moves the output. Of
    the logit and of the log-probability, whatever the run's scalar.

    Over the larger of the two sums: over what the output does alone, one image on which that
    happens to be little (2.0 of an honest EfficientNet-Lite0, where this is 0.7) outweighs the
    others.

    Two ways, because whoever forges knows the first: a picture less its part along it, as the
    slope of something that never moves the output (x minus a copy of x without a gradient), has
    0.02 there on the bundled network, as the honest one has, and 1 on the random way. On that one
    alone, steps would be missed that are too far apart for it.

    Step by step, not from end to end: on the way an output may turn and come back to where it
    was, and a relative error of what is left of it, next to nothing, may be of any size (1.4 of an
    honest network on one of 1,000 images, where this is 0.2).

    Args:
        view: one batch of images.
        midpoints: N.

    Returns:
        Values in [0, 2], lower is better; 0 for linear and quadratic scalars. At one half, half
        of what the output does is not what gradients say, or the reverse. NaN where neither of the
        sums is more than the number of steps times the scalar's `round_off`: an image of one
        colour has no lower contrast, and an output may move in steps too coarse for so short a
        way. Ours; the identity
        is that of Sundararajan et al. 2017, proposition 1.

    Raises:
        InputError: no midpoint.
    """
    if midpoints < 1:
        raise InputError(option="midpoints", value=midpoints, fix="give at least 1")
    return [
        one
        for name, way in (
            ("contrast", lambda: contrast_way(view, midpoints)),
            ("random", lambda: random_way(view, max(midpoints // 2, 1))),
        )
        for one in _of_way(view, way, f"midpoints={midpoints};way={name}")
    ]


def contrast_way(view: View, steps: int) -> Iterator[Tensor]:
    """The image, and so many points on the way to its mean colour, `SHARE` of it in all."""
    step = SHARE / steps * (filled(view, "image-mean") - view.images)
    for k in range(steps + 1):
        yield view.images + k * step


def random_way(view: View, steps: int) -> Iterator[Tensor]:
    """The image, and so many points in random directions; values may leave [0, 1] by a few levels.

    Args:
        view: one batch of images; its seed and the names of the images decide.
        steps: points beside the image.
    """
    draws, points = view.generators("completeness"), view.images
    directions = min(DIRECTIONS, steps)
    yield points
    for k in range(steps):
        if k * directions % steps < directions:
            noise = random_numbers(torch.rand, points.shape, draws, points.dtype)
            step = directions / steps * HALF_A_LEVEL * (2 * noise - 1)
        points = points + step
        yield points


def _of_way(view: View, way: Way, setting: str) -> list[Measured]:
    outputs = [
        logits(view.model, point, view.batch_size) if k else view.logits
        for k, point in enumerate(way())
    ]
    found = []
    for check, scalar in SCALARS.items():
        values = [view.model.explained(scalar, one, view.targets).double() for one in outputs]
        changes = torch.stack(values).diff(dim=0)
        told = _told(view, way, len(changes), scalar)
        size = torch.maximum(told.abs().sum(0), changes.abs().sum(0))
        unit = torch.stack([round_off(view, one, scalar) for one in outputs]).amax(0)
        error = (told - changes).abs().sum(0) / size
        error = error.where(size > len(changes) * unit, torch.nan)
        found.append(Measured(error, check=check, setting=setting))
    return found


def _told(view: View, way: Way, steps: int, scalar: str) -> Tensor:
    """What the gradient half way says that each step does to the scalar, ``(steps, n)``."""
    pairs = pairwise(way())
    taken: list[Tensor] = []

    def midpoint(k: int) -> Tensor:
        del k
        start, end = next(pairs)
        taken.append((end - start).double())
        return (start + end) / 2

    told = []
    for gradients in gradients_at(
        view.model, midpoint, steps, view.targets, scalar=scalar, batch_size=view.batch_size
    ):
        told.append((gradients.double() * torch.stack(taken)).flatten(2).sum(2))
        taken.clear()
    return torch.cat(told)


def round_off(view: View, outputs: Tensor, scalar: str) -> Tensor:
    r"""How far the scalar may be off because the network computes in finite precision.

    .. math:: 64\, \varepsilon \max_j |f_j| \sum_j \Big|\frac{\partial s_y}{\partial f_j}\Big|

    and as many units of double precision, in which log-probabilities are computed. Of a model that
    runs in half precision, the unit is that of its type.

    Args:
        view: for the model and the classes.
        outputs: logits, ``(n, classes)``.
        scalar: a name in ``SCALARS`` of the models.

    Returns:
        ``(n,)`` float64.
    """
    dtype = view.model.coarse or outputs.dtype
    with torch.enable_grad():
        leaf = outputs.detach().requires_grad_()
        value = view.model.explained(scalar, leaf, view.targets).sum()
        (slope,) = torch.autograd.grad(value, leaf)
    unit = torch.finfo(dtype).eps * outputs.double().abs().amax(1) * slope.double().abs().sum(1)
    return ROUNDING * (unit + torch.finfo(torch.float64).eps)
