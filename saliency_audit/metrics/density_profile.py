"""Does the model's implicit density fall when an image becomes noisy?"""

from dataclasses import replace

import torch

from saliency_audit.errors import InputError
from saliency_audit.metrics.perturbation import logits
from saliency_audit.metrics.view import Measured, View
from saliency_audit.seeding import random_numbers


def density_profile(
    view: View, *, sigmas: tuple[float, ...] = (0.01, 0.02, 0.05, 0.1, 0.2)
) -> list[Measured]:
    r"""Log-ratio of the implicit density of a noisy image to that of the image.

    .. math:: \log\frac{p(x + \eta \mid y)}{p(x \mid y)} = f_y(x + \eta) - f_y(x),
        \quad \eta \sim N(0, \sigma^2)

    without cutting to [0, 1]. Each image has one draw, scaled to each sigma, so that its profile
    is one path. For small sigma the mean over images and draws is
    :math:`\sigma^2 / 2 \cdot \mathrm{tr} \nabla^2 f_y`.

    Not evidence against whoever owns the weights: logits are known up to a function added to all
    of them (P0 section 2), which changes no prediction and moves this number at will.

    Args:
        view: one batch of images.
        sigmas: standard deviations of the noise, pixel values.

    Returns:
        For each sigma in ascending order, log-ratios in nats, lower is better: a density that
        knows images falls with noise. The curve over sigma goes with the last. P0's figure shows
        the mean of the ratio itself, which overflows and hangs on few images; its logarithm,
        log-mean-exp, and the median follow from the values of all images. Source: P0 section
        5.1.1.

    Raises:
        InputError: no sigma, or one that is not above 0.
    """
    levels = sorted(set(sigmas))
    if not levels or not levels[0] > 0:
        raise InputError(
            option="sigma", value=levels[0] if levels else "", fix="give numbers above 0"
        )
    images = view.images
    noise = random_numbers(
        torch.randn, images.shape, view.generators("density-profile"), images.dtype
    )
    noisy = torch.cat([images + sigma * noise for sigma in levels])
    seen = logits(view.model, noisy, view.batch_size).view(len(levels), len(images), -1)
    classes = view.targets.view(-1, 1)
    after = seen.gather(2, classes.expand(len(levels), -1, -1)).squeeze(2).double()
    ratios = (after - view.logits.gather(1, classes).squeeze(1).double()).T
    found = [Measured(ratios[:, i], setting=f"sigma={level:g}") for i, level in enumerate(levels)]
    return [*found[:-1], replace(found[-1], x=levels, curve=ratios)]
