"""Does the map find what is known to decide: a patch that a copy of the model was trained on?"""

import torch
from torch import Tensor

from saliency_audit.data.trigger import Laid
from saliency_audit.errors import InputError
from saliency_audit.maps import is_defined, magnitude, top_pixels
from saliency_audit.metrics.view import Measured, View, shared

LEARNED = 0.9
"""Share of patched training images that must follow the trigger; below it a copy has not learned
what its maps are asked about."""


def known_answer(
    view: View,
    *,
    patch_side: int | None = None,
    patch_opacity: float = 0.7,
    plant_steps: int = 400,
    plant_lr: float = 0.001,
) -> list[Measured]:
    r"""Share of a map's most salient pixels that lie in the patch that decides the class.

    .. math:: |T_k(S(x')) \cap P|\,/\,k,\quad k = |P|

    with :math:`x'` the image with a patch on the pixels :math:`P` at a place of its own, and
    :math:`S` the map of the patch's class by a copy of the model that was trained to go by the
    patch alone (`training.plant`). The right answer is known, since the class of the image was
    another one without the patch. It judges the method on this architecture, not the given model:
    of that, nobody knows the pixels.

    Args:
        view: one batch of images, and what gives the trained copy.
        patch_side: in pixels; None means a fifth of the shorter side of the images.
        patch_opacity: how much of the pattern stands in place of the image.
        plant_steps: of the training.
        plant_lr: its learning rate.

    Returns:
        ``known-answer`` in [0, 1], higher is better; ``share`` in its setting is what a map
        without information gets. NaN where the map is undefined or its magnitude the same
        everywhere, where the copy does not follow the patch, and for all images where it follows
        less than nine in ten on its training images. With them, once for all methods,
        ``known-answer-trigger``, 1 where the copy's class is the patch's, and
        ``known-answer-agreement``, 1 where without the patch it is that of the given model.
        Source: ours, after BackX.

    Raises:
        InputError: there is nothing to train on, or an option that means nothing.
    """
    planted = view.needed("train")(
        view.model,
        patch_side=patch_side,
        patch_opacity=patch_opacity,
        plant_steps=plant_steps,
        plant_lr=plant_lr,
        seed=view.seed,
    )

    def classes(images: Tensor) -> Tensor:
        with torch.no_grad():
            parts = torch.split(images, view.batch_size)
            return torch.cat([planted.model(part).argmax(1) for part in parts])

    def lay() -> tuple[Laid, Tensor, Tensor]:
        own = classes(view.images)
        laid = planted.trigger.laid_on(view.images, own, view.generators("known-answer"))
        return laid, own, classes(laid.images) == laid.classes

    pixels = view.images.shape[2] * view.images.shape[3]
    count = planted.trigger.side**2
    setting = (
        f"side={planted.trigger.side};opacity={patch_opacity:g};steps={plant_steps};"
        f"lr={plant_lr:g};share={count / pixels:.6g}"
    )
    first = ("known-answer", setting) not in view.known
    laid, own, follows = shared(view.known, ("known-answer", setting), lay)
    maps = view.explain(planted.model, laid.images, laid.classes, names=view.names)
    shown = magnitude(maps.double())
    top = top_pixels(shown.nan_to_num(), count, seed=view.seed)
    recall = (top & laid.inside).sum((1, 2)).double() / count
    tests = is_defined(shown) & follows & (planted.learned >= LEARNED)
    found = [
        Measured(
            recall.where(tests, torch.nan),
            setting=setting,
            pictures={"patch": laid.images[0], "map": maps[0].mean(0)} if view.draw else {},
            roles=("patched", "patched-map"),
        )
    ]
    if first:
        agrees = own == view.logits.argmax(1)
        found += [
            Measured(follows.double(), "known-answer-trigger", setting, saliency=""),
            Measured(agrees.double(), "known-answer-agreement", setting, saliency=""),
        ]
    return found


def refuse_known_answer(shape: tuple[int, ...], classes: int, **options: float | None) -> None:
    """Refuse a patch that does not fit on the images, or leaves nothing of them.

    Raises:
        InputError: it does not.
    """
    del classes
    side, shorter = options.get("patch_side"), min(shape[1:])
    if side is not None and side >= shorter:
        raise InputError(
            option="patch_side",
            value=side,
            fix=f"a patch on images of {shape[1]} x {shape[2]} is smaller than that",
        )
