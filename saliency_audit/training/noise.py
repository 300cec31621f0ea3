"""Gaussian noise: what training on images that no attack has searched for does."""

from dataclasses import replace

from saliency_audit.training.cross_entropy import cross_entropy
from saliency_audit.training.step import Loss, Step, at_least


def noise(step: Step, *, sigma: float = 0.1) -> Loss:
    r"""Cross-entropy at :math:`\mathrm{clip}(x + \sigma v, 0, 1)`, :math:`v \sim N(0, I)`.

    Args:
        step: one batch.
        sigma: standard deviation in pixel values.

    Returns:
        The one term "cross-entropy" in nats, and logits of the noisy images.

    Raises:
        InputError: sigma is below 0.

    Source: the usual control of adversarial training; none of the papers trains on it. One draw
    per image and step.
    """
    at_least("sigma", sigma, 0)
    noisy = (step.images + sigma * step.noise("noise")).clamp(0, 1)
    return cross_entropy(replace(step, images=noisy))
