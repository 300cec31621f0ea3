"""Projected gradient descent on the prediction (Madry et al. 2018; P2, P3, P4)."""

from collections.abc import Callable, Sequence
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from saliency_audit.ascent import Loss, ascend, attack_loss
from saliency_audit.attacks.kept import Kept
from saliency_audit.budget import Norm, random_start, rounded
from saliency_audit.errors import InputError, lookup
from saliency_audit.models import Classifier


def pgd(
    model: Classifier,
    explain: Any,
    aim: Any,
    images: Tensor,
    targets: Tensor,
    *,
    eps: float | None,
    steps: int,
    step_size: float | None = None,
    generators: Sequence[torch.Generator],
    norm: Norm = "linf",
    rule: Literal["sign", "normalised"] | None = None,
    loss: Loss = "xent",
    momentum: float = 0.0,
    restarts: int = 1,
    from_random: bool = True,
    tick: Callable[[], None] = lambda: None,
) -> Tensor:
    r"""Leave the prediction: :math:`x \leftarrow \Pi(x + a\,d)`, on the network as it is.

    Args:
        model: frozen.
        explain: not used.
        aim: not used.
        images: ``(n, c, h, w)`` on the 8-bit grid.
        targets: not used; what to leave is the prediction.
        eps: budget in pixel units.
        steps: of one start.
        step_size: in pixel units; None means 2.5 eps / steps.
        generators: one per image.
        norm: of the budget.
        rule: direction d: the gradient's "sign", or the "normalised" gradient,
            :math:`g / \|g\|_2`; None means the first for linf, the second for l2.
        loss: "xent" or "cw" (see `attack_loss`).
        momentum: of MI-FGSM.
        restarts: number of starts.
        from_random: start at a random point of the ball; otherwise the first start is the image.
        tick: called after each step.

    Returns:
        ``(n, c, h, w)``: of the images with another prediction the one of highest loss, within
        the budget and on the 8-bit grid; the clean image where the prediction stayed.

    Raises:
        InputError: no budget, or an unknown loss.
    """
    del explain, aim, targets
    lookup("loss", {known: known for known in get_args(Loss)}, loss)
    if eps is None:
        raise InputError("pgd needs a budget; give --eps, such as --eps 8/255")
    step_size = 2.5 * eps / steps if step_size is None else step_size
    kept = Kept(
        model,
        images,
        lambda _, logits: -attack_loss(logits, kept.prediction, loss=loss, outputs=model.outputs),
        value=images.new_full((len(images),), torch.inf),
        changed=True,
    )

    def offer(pixels: Tensor) -> None:
        kept.offer(rounded(pixels, images, eps=eps, norm=norm))
        tick()

    for start in range(restarts):
        drawn = start or from_random
        ascend(
            model,
            images,
            kept.prediction,
            eps=eps,
            steps=steps,
            step_size=step_size,
            norm=norm,
            start=random_start(images, eps=eps, norm=norm, generators=list(generators))
            if drawn
            else None,
            rule=rule,
            loss=loss,
            momentum=momentum,
            outputs=model.outputs,
            seen=offer,
        )
    return kept.images
