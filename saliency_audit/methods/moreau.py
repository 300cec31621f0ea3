"""MoreauGrad and its sparse kin (Zhang & Farnia 2023): gradients of the Moreau envelope."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from saliency_audit.errors import InputError
from saliency_audit.methods._refusals import refuse_graph
from saliency_audit.methods.smoothgrad import noise_scale
from saliency_audit.models import Classifier, gradients_at, input_gradient
from saliency_audit.seeding import random_numbers

AVERAGED = 100
"""The last iterates, whose mean is the answer."""


def points(*, samples: int, proximal_steps: int, **others: object) -> int:
    """Gradients that one map takes."""
    del others
    return samples * proximal_steps


def soft_threshold(values: Tensor, threshold: float) -> Tensor:
    """The proximal operator of ``threshold`` times the L1 norm: magnitudes lessened by it, or 0.

    >>> soft_threshold(torch.tensor([-3.0, 0.5, 2.0]), 1.0)
    tensor([-2.,  0.,  1.])
    """
    return values.sign() * (values.abs() - threshold).clamp(min=0)


def group_threshold(values: Tensor, threshold: float, *, side: int) -> Tensor:
    """The proximal operator of ``threshold`` times the L2 norms of groups, added up.

    Args:
        values: ``(n, c, h, w)``.
        threshold: by which the norm of each group is lessened; a shorter group becomes 0.
        side: of the groups: squares of all channels, from the upper left corner on. Where a side
            of the image is no multiple of theirs, the last ones are cut off.

    >>> group_threshold(torch.tensor([[[[3.0, 4.0, 0.3]]]]), 1.0, side=2)
    tensor([[[[2.4000, 3.2000, 0.0000]]]])
    """
    height, width = values.shape[2:]
    squares = F.pad(values.square().sum(1), (0, -width % side, 0, -height % side))
    rows, columns = squares.shape[1] // side, squares.shape[2] // side
    norms = squares.reshape(-1, rows, side, columns, side).sum((2, 4)).sqrt()
    # A group of length 0 stays so, whatever it is multiplied by.
    factor = (1 - threshold / norms.clamp_min(torch.finfo(norms.dtype).tiny)).clamp(min=0)
    spread = factor.repeat_interleave(side, 1).repeat_interleave(side, 2)
    return values * spread[:, None, :height, :width]


def why_zero(model: Classifier, image: Tensor, target: Tensor, *, scalar: str) -> str:
    """Why the penalty left nothing of a map.

    Args:
        model: the classifier.
        image: ``(1, c, h, w)`` in [0, 1].
        target: its explained class.
        scalar: a name in ``SCALARS``.
    """
    slope = model.std * input_gradient(model, image, target, scalar=scalar)
    return (
        "its penalty is above every slope (of the gradient itself, in the network's own units, the "
        f"largest value is {float(slope.abs().max()):.2g}, and all together are "
        f"{float(slope.norm()):.2g} long); give a smaller --moreau-eta"
    )


def _envelope_gradient(
    model: Classifier,
    images: Tensor,
    targets: Tensor,
    *,
    prox: Callable[[Tensor], Tensor],
    scalar: str,
    generators: Sequence[torch.Generator],
    batch_size: int | None,
    samples: int,
    noise_level: float,
    lam: float,
    proximal_steps: int,
    step_size: float,
) -> Tensor:
    """Minus the minimiser over lambda: what all three methods answer; see `moreau`."""
    if step_size > lam:
        raise InputError(
            option="moreau_step_size",
            value=step_size,
            fix=f"with --moreau-lambda {lam:g} longer steps than that run away; give less",
        )
    pixels = images.detach()
    sigma = noise_scale(pixels, noise_level)
    unit = model.std.to(pixels.dtype)
    moved, total = torch.zeros_like(pixels), torch.zeros_like(pixels)
    averaged = min(AVERAGED, proximal_steps)

    def noisy(_: int) -> Tensor:
        noise = random_numbers(torch.randn, pixels.shape, generators, pixels.dtype)
        return pixels + unit * moved + sigma * noise

    for step in range(proximal_steps):
        gradient = torch.zeros_like(pixels)
        for block in gradients_at(
            model, noisy, samples, targets, scalar=scalar, batch_size=batch_size
        ):
            gradient = gradient + block.sum(0)
        slope = unit * gradient / samples + moved / lam
        moved = prox(moved - step_size * slope)
        if step >= proximal_steps - averaged:
            total = total + moved
    return -total / (averaged * lam)


def moreau(
    model: Classifier,
    images: Tensor,
    targets: Tensor,
    *,
    scalar: str = "logit",
    graph: bool = False,
    generators: Sequence[torch.Generator],
    batch_size: int | None = None,
    samples: int = 32,
    noise_level: float = 0.1,
    lam: float = 1.0,
    proximal_steps: int = 300,
    step_size: float = 0.1,
) -> Tensor:
    r"""Gradient of the Moreau envelope of the smoothed scalar: the slope that lasts nearby.

    .. math:: e(x) = \min_\delta \tilde s_y(x + \delta) + \frac{\|\delta\|_2^2}{2\lambda}, \quad
        \nabla e(x) = -\delta^* / \lambda

    where :math:`\tilde s_y` is the scalar's mean over noisy copies, drawn anew in each step of
    gradient descent from :math:`\delta = 0`. Both x and :math:`\delta` are in units of the
    network's own input (pixels over its std), as in the public code. The answer has the sign and
    scale of a gradient; that code returns :math:`\delta^*` itself, which is :math:`-\lambda` times
    it. Descent settles where the step is at most 1 / (L + 1 / lambda), L the Lipschitz constant of
    the smoothed gradient; where it runs away the map is NaN and counts as undefined. The minimum
    lies as far from the image as lambda times a slope: a network of steep outputs is looked at
    nearby only with a lambda (and a step) well below 1.

    Args:
        model: the classifier.
        images: ``(n, c, h, w)`` in [0, 1].
        targets: explained classes, ``(n,)``.
        scalar: a name in ``SCALARS``.
        graph: refused: the gradient of many steps is not kept.
        generators: one per image.
        batch_size: most noisy copies the model sees at once.
        samples: noisy copies of an image in a step.
        noise_level: standard deviation of the noise as a fraction of the image's range.
        lam: lambda, how far around the image the envelope looks.
        proximal_steps: of the descent; the answer is the mean of the last 100 iterates.
        step_size: of the descent.

    Returns:
        ``(n, c, h, w)``, signed, in units of the scalar per unit of the network's input. Source:
        Zhang & Farnia, MoreauGrad, ICCV 2023; defaults of their public code.

    Raises:
        UnsupportedError: ``graph`` was asked for.
        InputError: ``step_size`` is above ``lam``.
    """
    refuse_graph("moreau", graph)
    return _envelope_gradient(
        model,
        images,
        targets,
        prox=lambda moved: moved,
        scalar=scalar,
        generators=generators,
        batch_size=batch_size,
        samples=samples,
        noise_level=noise_level,
        lam=lam,
        proximal_steps=proximal_steps,
        step_size=step_size,
    )


def sparse_moreau(
    model: Classifier,
    images: Tensor,
    targets: Tensor,
    *,
    scalar: str = "logit",
    graph: bool = False,
    generators: Sequence[torch.Generator],
    batch_size: int | None = None,
    samples: int = 32,
    noise_level: float = 0.1,
    lam: float = 1.0,
    proximal_steps: int = 300,
    step_size: float = 0.1,
    eta: float = 5e-3,
) -> Tensor:
    r"""MoreauGrad with an L1 penalty: small values are exactly zero.

    .. math:: -\frac1\lambda \arg\min_\delta \tilde s_y(x + \delta) +
        \frac{\|\delta\|_2^2}{2\lambda} + \eta \|\delta\|_1

    by proximal gradient descent, whose every step ends with `soft_threshold`. See `moreau` for
    units, sign and convergence. On a linear scalar it is the soft threshold of the gradient.

    Args:
        model: the classifier.
        images: ``(n, c, h, w)`` in [0, 1].
        targets: explained classes, ``(n,)``.
        scalar: a name in ``SCALARS``.
        graph: refused.
        generators: one per image.
        batch_size: most noisy copies the model sees at once.
        samples: noisy copies of an image in a step.
        noise_level: standard deviation of the noise as a fraction of the image's range.
        lam: lambda, how far around the image the envelope looks.
        proximal_steps: of the descent; the answer is the mean of the last 100 iterates.
        step_size: of the descent.
        eta: weight of the penalty, in units of the map.

    Returns:
        ``(n, c, h, w)``, signed; all zero where eta is larger than any slope. Source: Zhang &
        Farnia, MoreauGrad, ICCV 2023.

    Raises:
        UnsupportedError: ``graph`` was asked for.
        InputError: ``step_size`` is above ``lam``.
    """
    refuse_graph("sparse-moreau", graph)
    return _envelope_gradient(
        model,
        images,
        targets,
        prox=lambda moved: soft_threshold(moved, step_size * eta),
        scalar=scalar,
        generators=generators,
        batch_size=batch_size,
        samples=samples,
        noise_level=noise_level,
        lam=lam,
        proximal_steps=proximal_steps,
        step_size=step_size,
    )


def group_moreau(
    model: Classifier,
    images: Tensor,
    targets: Tensor,
    *,
    scalar: str = "logit",
    graph: bool = False,
    generators: Sequence[torch.Generator],
    batch_size: int | None = None,
    samples: int = 32,
    noise_level: float = 0.1,
    lam: float = 1.0,
    proximal_steps: int = 300,
    step_size: float = 0.1,
    eta: float = 5e-2,
    side: int | None = None,
) -> Tensor:
    r"""MoreauGrad with a penalty on squares: whole squares are exactly zero.

    .. math:: -\frac1\lambda \arg\min_\delta \tilde s_y(x + \delta) +
        \frac{\|\delta\|_2^2}{2\lambda} + \eta \sum_S \|\delta_S\|_2

    by proximal gradient descent, whose every step ends with `group_threshold`. See `moreau` for
    units, sign and convergence.

    Args:
        model: the classifier.
        images: ``(n, c, h, w)`` in [0, 1].
        targets: explained classes, ``(n,)``.
        scalar: a name in ``SCALARS``.
        graph: refused.
        generators: one per image.
        batch_size: most noisy copies the model sees at once.
        samples: noisy copies of an image in a step.
        noise_level: standard deviation of the noise as a fraction of the image's range.
        lam: lambda, how far around the image the envelope looks.
        proximal_steps: of the descent; the answer is the mean of the last 100 iterates.
        step_size: of the descent.
        eta: weight of the penalty, in units of the map.
        side: of a square S, which all channels share; None is a sixteenth of the image's shorter
            side, 14 at 224.

    Returns:
        ``(n, c, h, w)``, signed; all zero where eta is larger than the slope of any square.
        Source: Zhang & Farnia, MoreauGrad, ICCV 2023.

    Raises:
        UnsupportedError: ``graph`` was asked for.
        InputError: ``step_size`` is above ``lam``.
    """
    refuse_graph("group-moreau", graph)
    square = side or max(1, round(min(images.shape[2:]) / 16))
    return _envelope_gradient(
        model,
        images,
        targets,
        prox=lambda moved: group_threshold(moved, step_size * eta, side=square),
        scalar=scalar,
        generators=generators,
        batch_size=batch_size,
        samples=samples,
        noise_level=noise_level,
        lam=lam,
        proximal_steps=proximal_steps,
        step_size=step_size,
    )
