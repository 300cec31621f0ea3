"""How far can a little noise on the image change the map?"""

import torch

from saliency_audit.errors import InputError
from saliency_audit.maps import is_defined
from saliency_audit.metrics.infidelity import noise_in_parts
from saliency_audit.metrics.view import Measured, View


def max_sensitivity(view: View, *, radius: float = 0.02, perturbations: int = 10) -> list[Measured]:
    r"""Largest relative change of the signed map under noise on the image.

    .. math:: \max_{i \le N} \frac{\|\phi(x + d_i) - \phi(x)\|_F}{\|\phi(x)\|_F},
        \quad d_i \sim U[-r, r]

    with x + d cut to [0, 1]. The class is that of the clean image throughout, and a method that
    draws random numbers draws the same for all the images. The largest of a few draws is a lower
    bound: `attack` searches for worse ones.

    Args:
        view: one batch of images, their maps and the method.
        radius: r, pixel values.
        perturbations: N.

    Returns:
        Values >= 0, lower is better; 0 for a map that does not depend on the image, which is no
        merit. NaN where the map is undefined. Source: Yeh et al. 2019, divided by the norm of the
        map as in their code.

    Raises:
        InputError: an option that means nothing.
    """
    if not radius > 0:
        raise InputError(f"--radius is {radius:g}; give a number above 0")
    if perturbations < 1:
        raise InputError(f"--perturbations is {perturbations}; give at least 1")
    images, saliency = view.images, view.saliency.double()
    values = torch.full((len(images),), torch.nan, dtype=torch.float64, device=images.device)
    chosen = is_defined(saliency).nonzero().flatten().tolist()
    changes = []
    for part, noise in noise_in_parts(view, "max-sensitivity", chosen, perturbations, torch.rand):
        maps = view.explain(
            view.model,
            (images[part] + radius * (2 * noise - 1)).clamp(0, 1),
            view.targets[part],
            names=[view.names[i] for i in part],
        )
        changes.append((maps.double() - saliency[part]).flatten(1).norm(dim=1))
    if changes:
        size = saliency[chosen].flatten(1).norm(dim=1)
        values[chosen] = torch.cat(changes).view(perturbations, -1).amax(0) / size
    return [Measured(values, setting=f"radius={radius:g};perturbations={perturbations}")]
