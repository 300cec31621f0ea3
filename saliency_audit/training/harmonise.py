"""Attention-weighted harmonisation (P1 B.8)."""

from dataclasses import replace

from saliency_audit.budget import direction
from saliency_audit.errors import InputError
from saliency_audit.models import input_gradient
from saliency_audit.training.cross_entropy import cross_entropy
from saliency_audit.training.step import Loss, Step, at_least, steady


def harmonise(step: Step, *, eps: float = 0.5, clamp: bool = False) -> Loss:
    r"""The cross-entropy at images moved along the loss's gradient off what people marked.

    .. math:: \delta = \epsilon (\max A - 2 A) \odot \frac{g}{\|g\|_2}

    with A what people looked at or marked and g the gradient of each image's own loss, in eval
    mode and in fp32. The loss climbs where A is below half its maximum, which makes the map small
    there, and falls where it is above. An image whose A is the same everywhere (no annotation) says
    nothing on where, and would be moved downhill as a whole: it stays as it is.

    Args:
        step: one batch, with ``annotations``.
        eps: :math:`\epsilon`, >= 0, in pixel units: L2 norm of the change for A in {0, 1}.
        clamp: keep moved images in [0, 1]; P1 does not.

    Returns:
        The one term "cross-entropy", at the moved images. Seen: "annotated", the share of images
        that were moved.

    Raises:
        InputError: no annotations, or eps below 0.

    Source: P1 B.8. Its code writes 1 for the maximum of A. It is a heuristic rule: what would be
    the penalty of this change is negative on what people marked, and has no conjugate.
    """
    at_least("eps", eps, 0)
    if step.annotations is None:
        raise InputError("--objective harmonise needs --annotations; give what people marked")
    marked = step.annotations.unsqueeze(1)
    most = marked.amax((2, 3), keepdim=True)
    annotated = most > marked.amin((2, 3), keepdim=True)
    with steady(step.model):
        gradient = input_gradient(step.model, step.images, step.labels, scalar="loss")
    change = eps * annotated * (most - 2 * marked) * direction(gradient, "normalised")
    images = step.images + change
    loss = cross_entropy(replace(step, images=images.clamp(0, 1) if clamp else images))
    return replace(loss, seen={"annotated": annotated.float().mean()})
