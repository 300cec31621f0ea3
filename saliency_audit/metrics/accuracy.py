"""Is the prediction right, and does it stay so under attack?"""

from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from saliency_audit.errors import InputError, UnsupportedError
from saliency_audit.metrics.completeness import HALF, completeness
from saliency_audit.metrics.perturbation import logits
from saliency_audit.metrics.view import Measured, View
from saliency_audit.outputs import SOFTMAX, Outputs
from saliency_audit.setting import eps_text


def accuracy(logits: Tensor, labels: Tensor, *, outputs: Outputs = SOFTMAX) -> Tensor:
    """1 where the largest logit is the label's, else 0.

    Args:
        logits: ``(n, classes)``.
        labels: ``(n,)``, -1 where there is none.
        outputs: what the logits say.

    Returns:
        ``(n,)`` float64, 0 or 1; NaN where there is no label, and everywhere if outputs do not
        exclude each other: one label is not the set that would be right.

    >>> accuracy(torch.tensor([[0.0, 1.0], [0.0, 1.0]]), torch.tensor([1, -1]))
    tensor([1., nan], dtype=torch.float64)
    """
    known = (labels >= 0) & outputs.exclusive
    return (logits.argmax(1) == labels).double().where(known, torch.nan)


def clean_accuracy(view: View) -> list[Measured]:
    """As `accuracy`, of the images as they are."""
    return [Measured(accuracy(view.logits, view.labels, outputs=view.model.outputs))]


def robust_accuracy(
    view: View,
    *,
    eps: float = 8 / 255,
    attack_steps: int = 20,
    norm: str = "linf",
    restarts: int = 1,
) -> list[Measured]:
    """1 where the predicted class is the label, on the image and on what PGD makes of it.

    The attacked image is classified again here; the attack's own word is not taken. Images that
    are wrong already are not attacked. PGD finds some of the images that fool the model, so the
    value is an upper bound; more steps and starts lower it. An image that withstood is undefined
    if half of what the output does there, or more, is not what gradients say (`completeness`):
    then PGD had nothing to follow.

    Args:
        view: one batch of images, their labels and the attack: it starts at a random point of the
            ball, keeps to [0, 1] and ends on whole 8-bit values.
        eps: budget, pixel units.
        attack_steps: steps of one start.
        norm: of the budget, "linf" or "l2".
        restarts: number of starts.

    Returns:
        Values 0 or 1, higher is better; NaN where there is no label or no gradient.
        Source: P4 Table 1; Madry et al. 2018.

    Raises:
        InputError: an option that means nothing.
        UnsupportedError: there is no attack.
    """
    refuse_robust((), eps=eps, norm=norm)
    for option, count in (("attack_steps", attack_steps), ("restarts", restarts)):
        if count < 1:
            raise InputError(option=option, value=count, fix="give at least 1")
    if view.attack is None:
        raise UnsupportedError("robust-accuracy needs an attack; `saliency-audit evaluate` has one")
    right_of = partial(accuracy, outputs=view.model.outputs)
    values = right_of(view.logits, view.labels)
    right = (values == 1).nonzero().flatten()
    for rows in torch.split(right, view.batch_size) if len(right) else ():
        attacked = view.attack(
            view.model,
            view.images[rows],
            names=[view.names[i] for i in rows.tolist()],
            eps=eps,
            steps=attack_steps,
            norm=norm,
            restarts=restarts,
        )
        seen = logits(view.model, attacked, view.batch_size)
        values[rows] = right_of(seen, view.labels[rows])
        withstood = rows[values[rows] == 1]
        values[withstood] = values[withstood].masked_fill(_masked(view, withstood), torch.nan)
    setting = f"eps={eps_text(eps)};norm={norm};attack-steps={attack_steps};restarts={restarts}"
    return [Measured(values, setting=setting)]


def _masked(view: View, rows: Tensor) -> Tensor:
    """Whether gradients of the logit or its log-probability do not tell the output, ``(n,)``."""
    if not len(rows):
        return rows.bool()
    own = replace(
        view,
        images=view.images[rows],
        names=[view.names[i] for i in rows.tolist()],
        labels=view.labels[rows],
        targets=view.labels[rows],
        logits=view.logits[rows],
        known={},
    )
    return torch.stack([one.values > HALF for one in completeness(own)]).any(0)


def refuse_robust(
    shape: tuple[int, ...],
    classes: int = 0,
    *,
    eps: float = 8 / 255,
    norm: str = "linf",
    **options: Any,
) -> None:
    """Refuse a budget that no image in 8 bits can use.

    Raises:
        InputError: it is.
    """
    del shape, classes, options
    if norm not in ("linf", "l2"):
        raise InputError(option="norm", value=norm, fix="give linf or l2")
    if not eps >= 1 / 256:
        raise InputError(
            option="eps",
            value=eps,
            fix="images have 8 bits, so give 1/255 or more, such as 8/255",
        )
