"""Is the map a function of the image as it is stored?"""

import torch

from saliency_audit.errors import InputError
from saliency_audit.maps import is_defined
from saliency_audit.metrics.sensitivity import noise_in_parts
from saliency_audit.metrics.view import Measured, View

HALF_A_LEVEL = 0.5 / 255
"""An 8-bit file holds each value to so much on either side."""


def level_coherence(view: View, *, level_draws: int = 16) -> list[Measured]:
    r"""Share of the map's energy that all images have in common which are stored as this one.

    .. math:: \min\left(
        \frac{N \|\bar\phi\|^2 - \overline{\|\phi\|^2}}{(N - 1) \overline{\|\phi\|^2}},\
        \frac{\langle \phi(x), \bar\phi \rangle}{\|\phi(x)\| \, (\overline{\|\phi\|^2})^{1/2}}
        \right), \quad \phi_k = \phi(x_k), \quad
        x_k \sim U\big([x - \tfrac{0.5}{255}, x + \tfrac{0.5}{255}] \cap [0, 1]\big)

    The first is what the drawn maps have in common with each other, the second what the map that
    is shown has with them. Were the stored image one more draw, both would have the same
    expectation; a forgery that is steep at the levels alone, and flat right beside them, has all
    of the first and next to nothing of the second.

    Neither expectation depends on N: the energy of the mean map alone would be 1/N where no
    two maps agree. At black and white, noise goes inwards only; clamping it would put half of the
    draws on the border itself. The class is that of the stored image throughout, and a method that
    draws random numbers draws the same for all the images, so that only the image moves.

    Args:
        view: one batch of images, their maps and the method.
        level_draws: N. Maps of no common direction have a first term of 0 with a standard error of
            at most :math:`\sqrt{2 / (N (N - 1))}` (all along one line), 0.09 of one image at 16, so
            that none of them comes to one half by chance; and the smaller of both terms, so less.

    Returns:
        Values from -1 / (N - 1) to 1, higher is better; 1 for the gradient of a linear model, and
        for a map that does not depend on the image. Below one half, most of the map is not
        determined by the image. NaN where the map is undefined. Ours.

    Raises:
        InputError: fewer than 2 draws.
    """
    if level_draws < 2:
        raise InputError(option="level_draws", value=level_draws, fix="give at least 2")
    total = torch.zeros_like(view.saliency, dtype=torch.float64)
    energy = total.new_zeros(len(total))
    defined = is_defined(view.saliency)
    chosen = defined.nonzero().flatten().tolist()
    for part, noise in noise_in_parts(view, "level-coherence", chosen, level_draws, torch.rand):
        low = (view.images[part] - HALF_A_LEVEL).clamp_min(0)
        high = (view.images[part] + HALF_A_LEVEL).clamp_max(1)
        maps = view.explain(
            view.model,
            low + noise * (high - low),
            view.targets[part],
            names=[view.names[i] for i in part],
        ).double()
        # One by one: a part may hold an image twice.
        for i, one in zip(part, maps, strict=True):
            total[i] += one
            energy[i] += one.square().sum()
    together = total.flatten(1).square().sum(1)
    coherence = (together - energy) / ((level_draws - 1) * energy)
    shown = view.saliency.double()
    common = (shown * total / level_draws).flatten(1).sum(1)
    size = shown.flatten(1).norm(dim=1) * (energy / level_draws).sqrt()
    value = torch.minimum(coherence, common / size)
    return [Measured(value.where(defined, torch.nan), setting=f"level-draws={level_draws}")]
