"""How steep is the explained class's logit?"""

from saliency_audit.metrics.view import Measured, View
from saliency_audit.models import input_gradient


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
