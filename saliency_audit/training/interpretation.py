"""Interpretation regularisation (P4 eq. 3-4)."""

import torch
from torch.nn import functional as F

from saliency_audit.errors import lookup
from saliency_audit.training.reduction import reduced
from saliency_audit.training.step import Loss, Step, at_least, of_labels, squares, watched


def interpretation(step: Step, *, weight: float = 0.07, reduction: str = "minibatch") -> Loss:
    r"""Cross-entropy plus ``weight`` times the distance to a teacher's maps I.

    .. math:: \lambda \| I(x) - |\nabla_x f_y(x)| \|_2

    Args:
        step: one batch, with the teacher's maps as targets (see `teacher_maps`).
        weight: :math:`\lambda`, >= 0.
        reduction: "minibatch", one norm over all images of the step (as P4's code does it, which
            its weights belong to); "per-sample", the mean of the images' norms (eq. 3 as printed).
            Where images are equally far off, the second takes :math:`\sqrt n` times the weight.

    Returns:
        The terms "cross-entropy", in nats, and "interpretation"; seen is "map-distance", the mean
        over the images of the distance, in logits per unit of pixel value. Source: P4 eq. 3, read
        as its code does: gradients of logits, not of probabilities (the norms of Table 3 allow
        nothing else), and their magnitude, as the targets have no sign.

    Raises:
        InputError: an option that means nothing.
    """
    at_least("weight", weight, 0)
    lookup("reduction", dict.fromkeys(("minibatch", "per-sample")), reduction)
    assert step.targets is not None
    with watched(step) as batch:
        own = of_labels(batch.steady, step.labels).sum()
        (gradient,) = torch.autograd.grad(own, batch.pixels, create_graph=True)
        squared = squares(step.targets - gradient.abs())
        terms = {
            "cross-entropy": F.cross_entropy(batch.training, step.labels),
            "interpretation": weight * reduced(squared, reduction),
        }
    seen = {"map-distance": squared.detach().sqrt().mean()}
    return Loss(terms, batch.training.detach(), seen)
