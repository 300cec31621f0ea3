"""How steep are the logits of the explained class and of the others?"""

import torch
from torch import Tensor

from saliency_audit.metrics.view import Measured, View
from saliency_audit.models import Classifier, differentiating, in_batches, input_gradient


def gradient_norm_target(view: View) -> list[Measured]:
    r"""L2 norm :math:`\|\nabla_x f_y\|_2` over the pixels, whatever the run's scalar.

    Args:
        view: one batch of images.

    Returns:
        Values >= 0, logits per unit of pixel value ([0, 1]); 0 where the logit does not depend on
        the image. Neither end is better. Source: P4 Table 3.
    """
    gradient = input_gradient(view.model, view.images, view.targets, batch_size=view.batch_size)
    return [Measured(gradient.flatten(1).double().norm(dim=1))]


def gradient_norm_others(view: View) -> list[Measured]:
    r"""Mean of the L2 norms of the other logits' gradients.

    .. math:: \frac{1}{C - 1} \sum_{j \ne y} \|\nabla_x f_j\|_2

    Exact: one forward pass, and a backward pass for each other class, 999 of them for 1,000
    classes.

    Args:
        view: one batch of images.

    Returns:
        Values >= 0, logits per unit of pixel value ([0, 1]). Neither end is better. Source: P4
        Table 3, which leaves open how the wrong classes are taken together.
    """

    def compute(images: Tensor, targets: Tensor) -> Tensor:
        return _mean_norm(view.model, images, targets)

    return [Measured(in_batches(compute, view.images, view.targets, view.batch_size))]


def _mean_norm(model: Classifier, images: Tensor, targets: Tensor) -> Tensor:
    total: Tensor = images.new_zeros(len(images), dtype=torch.float64)
    with differentiating(images, graph=False) as pixels:
        logits: Tensor = model(pixels)
        classes = int(logits.shape[1])
        if not logits.requires_grad:
            return total
        for step in range(1, classes):
            # So many classes further on, each image has had all but its own.
            other = ((targets + step) % classes).unsqueeze(1)
            (gradient,) = torch.autograd.grad(
                logits.gather(1, other).sum(),
                pixels,
                retain_graph=step < classes - 1,
                allow_unused=True,
                materialize_grads=True,
            )
            total += gradient.flatten(1).double().norm(dim=1)
    return total / (classes - 1)
