"""Do the model's gradients add up to what its output does?"""

import torch
from torch import Tensor

from saliency_audit.errors import InputError
from saliency_audit.metrics.fill import filled
from saliency_audit.metrics.perturbation import logits
from saliency_audit.metrics.view import Measured, View
from saliency_audit.models import gradients_at

SHARE = 0.1
"""How much of the way to the image's mean colour. All the way, some honest networks are so crooked
that a hundred steps do not suffice."""
SCALARS = {"completeness": "logit", "completeness-log-prob": "log-prob"}
MIDPOINTS = 16
"""Steps of the way, unless told otherwise."""
HALF = 0.5
"""Beyond it, most of what the output does is not what gradients say."""
ROUNDING = 64
"""Units in the last place of the largest logit that a network's round-off may add up to."""


def completeness(view: View, *, midpoints: int = MIDPOINTS) -> list[Measured]:
    r"""Part of what the output does from the image to a lower contrast that no gradient tells.

    .. math:: \frac{\sum_k \big|\langle \nabla s_y(\tfrac{x_{k-1} + x_k}{2}), x_k - x_{k-1}\rangle
        - (s_y(x_k) - s_y(x_{k-1}))\big|}{\sum_k |s_y(x_k) - s_y(x_{k-1})|},
        \quad x_k = x + \tfrac{k}{10 N} (\bar x - x), \quad k = 1 \dots N

    Near 0 for every network that is continuous and differentiable almost everywhere: its gradients
    add up to its output. A network that rounds its output and adds something faint has the
    gradient of the latter alone: 1. Of the logit and of the log-probability, whatever the run's
    scalar.

    Step by step, not from end to end: on the way an output may turn and come back to where it
    was, and a relative error of what is left of it, next to nothing, may be of any size (1.4 of an
    honest network on one of 1,000 images, where this is 0.2).

    Args:
        view: one batch of images.
        midpoints: N.

    Returns:
        Values >= 0, lower is better; 0 for linear and quadratic scalars. At one half, half of what
        the output does is not what gradients say. NaN where the scalar does not change by more
        than N times its `round_off`: an image of one colour, or an output in steps too coarse for
        so short a way. Ours; the identity is that of Sundararajan et al. 2017, proposition 1.

    Raises:
        InputError: no midpoint.
    """
    if midpoints < 1:
        raise InputError(option="midpoints", value=midpoints, fix="give at least 1")
    images, model, targets = view.images, view.model, view.targets
    step = SHARE / midpoints * (filled(view, "image-mean") - images)
    outputs = [
        view.logits,
        *(logits(model, images + k * step, view.batch_size) for k in range(1, midpoints + 1)),
    ]
    found = []
    for check, scalar in SCALARS.items():
        values = [model.explained(scalar, one, targets).double() for one in outputs]
        changes = torch.stack(values).diff(dim=0)
        told = torch.cat(
            [
                (gradients.double() * step.double()).flatten(2).sum(2)
                for gradients in gradients_at(
                    model,
                    lambda k: images + (k + 0.5) * step,
                    midpoints,
                    targets,
                    scalar=scalar,
                    batch_size=view.batch_size,
                )
            ]
        )
        size = changes.abs().sum(0)
        least = midpoints * torch.stack([round_off(view, one, scalar) for one in outputs]).amax(0)
        error = ((told - changes).abs().sum(0) / size).where(size > least, torch.nan)
        found.append(Measured(error, check=check, setting=f"midpoints={midpoints}"))
    return found


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
