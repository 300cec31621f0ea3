"""How far adversarial examples lie from the manifold of images (P3 2.1, Figure 1)."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from saliency_audit.budget import lengths
from saliency_audit.errors import InputError, UnsupportedError
from saliency_audit.metrics.perturbation import logits
from saliency_audit.metrics.view import Measured, View
from saliency_audit.setting import eps_text

STEP = 1 / 6
"""Of the budget: P3's steps of 2 in a ball of 12."""


def manifold_distance(view: View, *, eps: float = 6.0, attack_steps: int = 40) -> list[Measured]:
    r"""Distance of adversarial examples to their projection on the manifold, and of controls.

    .. math:: d_\pi(x) = \|x - \mathrm{dec}(\mathrm{enc}(x))\|_2

    in the unit of P3, whose images are in [-1, 1]: twice the length in pixel units. enc gives the
    mean of the latent. The examples leave the predicted class: l2 PGD on the cross-entropy from
    the image itself, steps of a sixth of the budget. Images that keep their class under the attack
    have no example, as the attacked network says (P3's code asks the standard one), and are
    undefined.

    Three checks: the examples (``manifold-distance``); the images as they are (``-clean``); and
    images with normal noise of the length of each example's change (``-noise``), which no network
    has chosen. An example nearer than its noise goes along the manifold.

    Args:
        view: one batch of images, the attack, and ``manifold`` in ``beside``.
        eps: budget in pixel units, half of P3's.
        attack_steps: of PGD.

    Returns:
        Values >= 0; NaN where the attack failed (not of the clean ones). Neither end is better of
        a network; lower says that its gradients keep closer to the images. Source: P3 2.1.

    Raises:
        InputError: a budget that no image in 8 bits can use, or fewer than 1 step.
        UnsupportedError: there is no attack.
    """
    refuse_budget((), eps=eps)
    if attack_steps < 1:
        raise InputError(option="attack_steps", value=attack_steps, fix="give at least 1")
    if view.attack is None:
        raise UnsupportedError(
            "manifold-distance needs an attack; `saliency-audit evaluate` has one"
        )
    manifold, outputs = view.needed("manifold"), view.model.outputs
    clean, attacked, noisy = (torch.full((len(view.images),), torch.nan) for _ in range(3))
    for rows in torch.split(torch.arange(len(view.images)), view.batch_size):
        images, names = view.images[rows], [view.names[i] for i in rows.tolist()]
        clean[rows] = manifold.distance(images).cpu().float()
        examples = view.attack(
            view.model,
            images,
            names=names,
            eps=eps,
            steps=attack_steps,
            step_size=STEP * eps,
            norm="l2",
            from_random=False,
        )
        seen = logits(view.model, examples, view.batch_size)
        left = outputs.changed(seen, outputs.prediction(view.logits[rows])).cpu()
        attacked[rows] = _where(left, manifold.distance(examples))
        noise = view.attack(
            view.model,
            images,
            attack="random",
            names=names,
            eps=lengths(examples - images),
            norm="l2",
        )
        noisy[rows] = _where(left, manifold.distance(noise))
    of = f"manifold={manifold.design.kind}"
    by = f"eps={eps_text(eps)};norm=l2;attack-steps={attack_steps};{of}"
    return [
        Measured(attacked, setting=by),
        Measured(clean, "manifold-distance-clean", of),
        Measured(noisy, "manifold-distance-noise", by),
    ]


def _where(left: Tensor, distances: Tensor) -> Tensor:
    return distances.cpu().float().where(left, torch.nan)


def refuse_budget(
    shape: tuple[int, ...], classes: int = 0, *, eps: float = 6.0, **options: Mapping[str, Any]
) -> None:
    """Refuse a budget that no image in 8 bits can use.

    Raises:
        InputError: it is.
    """
    del shape, classes, options
    if not eps >= 1 / 256:
        raise InputError(option="eps", value=eps, fix="images have 8 bits, so give 1/255 or more")
