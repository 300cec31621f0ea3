"""What noise on the image does to the explained scalar and to the map."""

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from saliency_audit.errors import InputError
from saliency_audit.maps import is_defined
from saliency_audit.metrics.view import Measured, View, shared
from saliency_audit.seeding import random_numbers


def noise_in_parts(
    view: View, purpose: str, rows: Sequence[int], count: int, draw: Callable[..., Tensor]
) -> Iterator[tuple[list[int], Tensor]]:
    """Noise for several perturbations of each image, as many at a time as the model may see.

    The noise of an image is its own, whichever others are asked for.

    Args:
        view: one batch of images.
        purpose: what the noise is for.
        rows: images to perturb.
        count: perturbations of each.
        draw: `torch.rand` or `torch.randn`.

    Yields:
        Indices of images and their noise ``(m, c, h, w)``: the first perturbation of all rows,
        then the second, and so on.
    """
    draws, images = view.generators(purpose), view.images
    order = list(rows) * count
    for start in range(0, len(order), view.batch_size):
        part = order[start : start + view.batch_size]
        shape = (len(part), *images.shape[1:])
        yield part, random_numbers(draw, shape, [draws[i] for i in part], images.dtype)


def infidelity(view: View, *, sigma: float = 0.1, perturbations: int = 50) -> list[Measured]:
    r"""Mean squared error of predicting the scalar's drop under noise from the map.

    .. math:: \min_\beta \frac1N \sum_{i=1}^N
        \left(\beta \langle I_i, \phi\rangle - (f(x) - f(x - I_i))\right)^2,
        \quad I_i \sim N(0, \sigma^2)

    The best scale, :math:`\beta = \sum a_i b_i / \sum a_i^2` for predictions a and drops b, makes
    the value the same for all multiples of a map, its negative included. The noisy images are not
    cut to [0, 1]. A map of one channel says the same of each channel. All methods meet the same
    noise.

    Args:
        view: one batch of images and their maps; the run's scalar is f.
        sigma: standard deviation of the noise, pixel values.
        perturbations: N.

    Returns:
        Values >= 0 in units of the scalar squared, lower is better; 0 for the gradient of a linear
        scalar. NaN where the map is undefined, or the scalar does not change at all. Source: Yeh
        et al. 2019, definition 2.1, with the scaling of their code.

    Raises:
        InputError: an option that means nothing.
    """
    _check_noise("sigma", sigma, perturbations)
    model, images, targets = view.model, view.images, view.targets
    rows = range(len(images))

    def parts() -> Iterator[tuple[list[int], Tensor]]:
        for part, noise in noise_in_parts(view, "infidelity", rows, perturbations, torch.randn):
            yield part, sigma * noise

    def drops() -> Tensor:
        clean = model.explained(view.scalar, view.logits, targets).double()
        values = [
            clean[part]
            - model.explained(
                view.scalar, model.scores(images[part] - noise), targets[part]
            ).double()
            for part, noise in parts()
        ]
        return torch.cat(values).view(perturbations, -1)

    drop = shared(view.known, ("infidelity", view.scalar, sigma, perturbations), drops)
    saliency = view.saliency.double()
    predicted = torch.cat(
        [(noise.double() * saliency[part]).flatten(1).sum(1) for part, noise in parts()]
    ).view_as(drop)
    scale = (predicted * drop).sum(0) / predicted.square().sum(0)
    error = (scale * predicted - drop).square().mean(0)
    defined = is_defined(view.saliency) & (drop != 0).any(0)
    setting = f"sigma={sigma:g};perturbations={perturbations}"
    return [Measured(error.where(defined, torch.nan), setting=setting)]


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
    _check_noise("radius", radius, perturbations)
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


def _check_noise(option: str, size: float, perturbations: int) -> None:
    if not size > 0:
        raise InputError(option=option, value=size, fix="give a number above 0")
    if perturbations < 1:
        raise InputError(option="perturbations", value=perturbations, fix="give at least 1")
