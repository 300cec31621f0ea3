"""Jacobian regularisation (P4 eq. 7)."""

import torch
from torch import Tensor
from torch.nn import functional as F

from saliency_audit.seeding import random_numbers
from saliency_audit.training.reduction import reduced
from saliency_audit.training.step import Loss, Step, at_least, squares, watched


def jacobian(
    step: Step, *, weight: float = 0.01, projections: int = 1, reduction: str = "squared"
) -> Loss:
    r"""Cross-entropy plus ``weight`` times the size of the Jacobian J of the logits in the image.

    .. math:: \|J\|_F^2 \approx \frac{C}{N} \sum_{k=1}^{N} \|v_k^\top J\|_2^2

    with :math:`v_k` uniform on the unit sphere of the C logits, each image's its own: unbiased
    (Hoffman et al. 2019). Its root, which the unsquared reductions take, is too low: by a fifth at
    most for "per-sample" and N = 1, by next to nothing for "minibatch", where the images' errors
    cancel.

    Args:
        step: one batch.
        weight: of the norm, >= 0.
        projections: N, backward passes a step; 0 takes the C logits one by one, exactly.
        reduction: "squared" (Hoffman), "per-sample" (P4 as printed), "minibatch" (as P4's code
            does it); see `reduced`.

    Returns:
        The terms "cross-entropy", in nats, and "jacobian"; seen is "jacobian-norm", the mean of
        :math:`\|J\|_F` over the images, in logits per unit of pixel value. Source: P4 eq. 7, whose
        weight is not printed; the default is Hoffman's.

    Raises:
        InputError: an option that means nothing.
    """
    at_least("weight", weight, 0)
    at_least("projections", projections, 0)
    with watched(step) as batch:
        classes = batch.steady.shape[1]
        if projections:
            directions = on_sphere(step.generators("jacobian"), projections, classes)
        else:
            basis = torch.eye(classes, device=batch.steady.device)
            directions = basis.unsqueeze(1).expand(classes, len(step.images), classes)
        squared = squared_norms(batch.steady, batch.pixels, directions)
        terms = {
            "cross-entropy": F.cross_entropy(batch.training, step.labels),
            "jacobian": weight * reduced(squared, reduction),
        }
    seen = {"jacobian-norm": squared.detach().sqrt().mean()}
    return Loss(terms, batch.training.detach(), seen)


def on_sphere(generators: list[torch.Generator], count: int, classes: int) -> Tensor:
    """Unit vectors, uniform over all directions, ``(count, n, classes)``.

    Args:
        generators: one per image.
        count: vectors per image.
        classes: their dimension.
    """
    vectors = random_numbers(torch.randn, (len(generators), count, classes), generators)
    return F.normalize(vectors.transpose(0, 1).contiguous(), dim=2)


def squared_norms(logits: Tensor, pixels: Tensor, directions: Tensor) -> Tensor:
    r"""What directions tell of each image's :math:`\|J\|_F^2`; all of it if they are a basis.

    Args:
        logits: ``(n, classes)``, each row from its own image.
        pixels: ``(n, c, h, w)``.
        directions: unit vectors, ``(count, n, classes)``.

    Returns:
        ``(n,)``, differentiable.
    """
    total = torch.zeros_like(logits[:, 0])
    # One backward pass after another: under vmap (is_grads_batched) max-pooling has a slow path.
    for direction in directions.to(logits.dtype):
        (gradient,) = torch.autograd.grad(logits, pixels, direction, create_graph=True)
        total = total + squares(gradient)
    return total * (logits.shape[1] / len(directions))
