"""Over what distance does the gradient tell what the model's output does?"""

from dataclasses import replace

import torch

from saliency_audit.errors import InputError
from saliency_audit.metrics.perturbation import logits
from saliency_audit.metrics.sensitivity import noise_in_parts
from saliency_audit.metrics.similarity import pearson
from saliency_audit.metrics.view import Measured, View
from saliency_audit.models import input_gradient


def first_order_fidelity(
    view: View, *, levels: tuple[float, ...] = (0.5, 2.0, 8.0), perturbations: int = 64
) -> list[Measured]:
    r"""Correlation of what the gradient predicts of noise with what noise does.

    .. math:: \mathrm{corr}_k \big(\langle \nabla f_y(x), d_k\rangle,\ f_y(x + d_k) - f_y(x)\big),
        \quad d_k \sim U(-\tfrac{l}{255}, \tfrac{l}{255})

    over N draws, of the logit, whatever the run's scalar. Each draw is scaled to each size, so that
    the profile of an image is one path; nothing is cut to [0, 1].

    Args:
        view: one batch of images.
        levels: l, the largest change of a value in levels of an 8-bit file.
        perturbations: N.

    Returns:
        For each size in ascending order, values in [-1, 1], higher is better; 1 for a linear
        logit. The curve over the size goes with the last. Real networks differ widely: it tells
        over what distance a gradient means anything, and has no limit. NaN where the logit or its
        gradient is constant. Ours.

    Raises:
        InputError: an option that means nothing.
    """
    sizes = sorted(set(levels))
    if not sizes or not sizes[0] > 0:
        raise InputError(
            option="levels", value=sizes[0] if sizes else "", fix="give numbers above 0"
        )
    refuse_few((), 0, perturbations=perturbations)
    model, images, targets = view.model, view.images, view.targets
    gradient = input_gradient(model, images, targets, batch_size=view.batch_size).double()
    before = model.explained("logit", view.logits, targets).double()
    predicted, changes = [], []
    rows = range(len(images))
    for part, noise in noise_in_parts(
        view, "first-order-fidelity", rows, perturbations, torch.rand
    ):
        step = (2 * noise - 1) / 255
        predicted.append((gradient[part] * step.double()).flatten(1).sum(1))
        after = [
            model.explained(
                "logit", logits(model, images[part] + size * step, view.batch_size), targets[part]
            )
            for size in sizes
        ]
        changes.append(torch.stack(after).double() - before[part])
    # Of the prediction the size does not matter.
    foreseen = torch.cat(predicted).view(perturbations, -1).T
    seen = torch.cat(changes, dim=1).view(len(sizes), perturbations, -1).mT
    values = torch.stack([pearson(foreseen, one) for one in seen], dim=1)
    found = [
        Measured(values[:, i], setting=f"levels={size:g};perturbations={perturbations}")
        for i, size in enumerate(sizes)
    ]
    return [*found[:-1], replace(found[-1], x=sizes, curve=values)]


def refuse_few(shape: tuple[int, ...], classes: int, *, perturbations: int = 64) -> None:
    """Refuse draws through which a line goes whatever they are.

    Args:
        shape: of an image; any will do.
        classes: likewise.
        perturbations: as given.

    Raises:
        InputError: fewer than 3.
    """
    del shape, classes
    if perturbations < 3:
        raise InputError(option="perturbations", value=perturbations, fix="give at least 3")
