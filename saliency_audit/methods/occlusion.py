"""Occlusion (Zeiler & Fergus 2014), by Captum."""

from collections.abc import Sequence
from warnings import catch_warnings, simplefilter

import torch
from captum.attr import Occlusion
from torch import Tensor

from saliency_audit.errors import InputError
from saliency_audit.methods._refusals import refuse_graph
from saliency_audit.models import Classifier, in_batches

AT_ONCE = 32
"""Images and occlusions of them in one pass where no batch size is given."""


def windows(height: int, width: int, *, window: int | None, stride: int | None) -> tuple[int, int]:
    """Side and step of the window in pixels, where they are not given as the method has them."""
    side = window or max(1, round(min(height, width) / 8))
    return side, stride or max(1, side // 2)


def occlusion(
    model: Classifier,
    images: Tensor,
    targets: Tensor,
    *,
    scalar: str = "logit",
    graph: bool = False,
    generators: Sequence[torch.Generator] = (),
    batch_size: int | None = None,
    window: int | None = None,
    stride: int | None = None,
    baseline: float | None = None,
) -> Tensor:
    """Drop of the scalar when a window is covered, averaged over the windows on each pixel.

    Args:
        model: the classifier, of any format.
        images: ``(n, c, h, w)`` in [0, 1].
        targets: explained classes, ``(n,)``.
        scalar: a name in ``SCALARS``.
        graph: refused.
        generators: not used.
        batch_size: most occluded images the model sees at once.
        window: side of the window in pixels; None is an eighth of the image's shorter side.
        stride: step of the window in pixels; None is half the window.
        baseline: pixel value of the cover; None is the mean colour, which the normalisation maps
            to 0.

    Returns:
        ``(n, 1, h, w)``, signed, in units of the scalar.

    Raises:
        UnsupportedError: ``graph`` was asked for.
        InputError: a window larger than the image, or windows that leave pixels out.
    """
    del generators
    refuse_graph("occlusion", graph)
    channels, height, width = images.shape[1:]
    side, step = windows(height, width, window=window, stride=stride)
    if side > min(height, width):
        raise InputError(
            option="occlusion_window",
            value=side,
            fix=f"images have {height}x{width} pixels, so give {min(height, width)} or less",
        )
    if step > side:
        raise InputError(
            option="occlusion_stride",
            value=step,
            fix=f"the window has {side} pixels; give {side} or less, or some are never covered",
        )
    start = model.mean.to(images.dtype)
    if baseline is not None:
        start = torch.full_like(start, baseline)
    explain = Occlusion(lambda x, y: model.explained(scalar, model(x), y))

    def compute(part: Tensor, classes: Tensor) -> Tensor:
        with catch_warnings():
            simplefilter("ignore")  # Captum warns of its own hooks.
            saliency: Tensor = explain.attribute(
                part.detach(),
                sliding_window_shapes=(channels, side, side),
                strides=(channels, step, step),
                baselines=start.expand(1, channels, height, width),
                additional_forward_args=classes,
                perturbations_per_eval=max(1, (batch_size or AT_ONCE) // len(part)),
            )
        return saliency.detach().mean(1, keepdim=True).to(part.dtype)

    return in_batches(compute, images, targets, batch_size)
