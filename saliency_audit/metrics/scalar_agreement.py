"""Does the map of the logit show what predictions depend on?"""

from saliency_audit.metrics.similarity import cosine
from saliency_audit.metrics.view import Measured, View


def scalar_agreement(view: View) -> list[Measured]:
    r"""Cosine of the gradient of the logit with that of the centred logit.

    .. math:: \cos(\nabla f_y,\ \nabla (f_y - \tfrac1C \sum_j f_j))

    A function added to all logits changes no prediction and moves the first map alone (P0
    section 2), so a low value shows that the logit's map is mostly of what predictions do not
    depend on. It does not show who put it there: a little of it every network has.

    Args:
        view: one batch of images.

    Returns:
        Values in [-1, 1], higher is better, under the name of the gradient method. NaN where a map
        is undefined, such as that of a logit that does not depend on the image.
    """
    maps = [
        view.explain(
            view.model,
            view.images,
            view.targets,
            names=view.names,
            method="gradient",
            scalar=scalar,
        )
        for scalar in ("logit", "centred-logit")
    ]
    return [Measured(cosine(*maps), saliency="gradient")]
