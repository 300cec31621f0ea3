"""What replaces pixels: the colour or picture an image is covered with."""

from collections.abc import Callable

import torch
from torch import Tensor

from saliency_audit.data.blur import blur
from saliency_audit.errors import InputError
from saliency_audit.metrics.view import View, shared
from saliency_audit.seeding import random_numbers

BLUR, SIGMA, SIDE = 11, 5.0, 224
"""Window and standard deviation of the blur, pixels, for images of this side (RISE)."""


def fill_name(fill: str) -> str:
    """A fill as settings have it.

    Raises:
        InputError: neither a fill nor a number from 0 to 1.

    >>> fill_name("0.50"), fill_name("blur")
    ('0.5', 'blur')
    """
    if fill in _FILLS:
        return fill
    try:
        value = float(fill)
    except (TypeError, ValueError):
        value = -1.0
    if not 0 <= value <= 1:
        raise InputError(
            option="fill",
            value=fill,
            fix=f"give {', '.join(_FILLS)}, or a pixel value from 0 to 1",
        )
    return f"{value:g}"


def filled(view: View, fill: str) -> Tensor:
    """What the pixels of each image are replaced by.

    Args:
        view: one batch of images; keeps the pictures for whoever asks again.
        fill: ``image-mean`` (mean colour of each image), ``dataset-mean`` (of all images),
            ``zero`` (black), ``model-mean`` (the colour that the model's normalisation maps to
            0), ``blur`` (the image under a Gaussian, see `blurred`), ``noise`` (uniform, drawn from
            the seed for each image), or a number from 0 to 1.

    Returns:
        ``(n, c, h, w)`` in [0, 1] (the model's own colour may lie outside). A view of one colour
        where it is one: do not write to it.

    Raises:
        InputError: none of these, or the mean of all images is not known.
    """
    name = fill_name(fill)

    def paint() -> Tensor:
        picture = _FILLS[name](view) if name in _FILLS else _constant(view, float(name))
        return picture.to(view.images.dtype).expand_as(view.images)

    return shared(view.known, ("fill", name), paint)


def blurred(images: Tensor) -> Tensor:
    """Images under a Gaussian whose window is to the shorter side as `BLUR` pixels to `SIDE`.

    The window is rounded to an odd number of pixels, 3 at least; its shape stays: the standard
    deviation is `SIGMA` / `BLUR` of it, 1.36 pixels at 28. Beyond the border the outermost pixels
    go on.

    Args:
        images: ``(n, c, h, w)``.

    Returns:
        The same shape.

    >>> blurred(torch.ones(1, 1, 2, 5)).sum().round()
    tensor(10.)
    """
    scale = min(images.shape[2:]) / SIDE
    half = max(1, round((BLUR * scale - 1) / 2))
    return blur(images, half=half, sigma=SIGMA * (2 * half + 1) / BLUR)


def _constant(view: View, value: float) -> Tensor:
    return view.images.new_full((1, 1, 1, 1), value)


def _dataset_mean(view: View) -> Tensor:
    if view.dataset_mean is None:
        raise InputError("--fill dataset-mean needs the mean of all images; give image-mean")
    return view.dataset_mean.to(view.images.device).view(1, -1, 1, 1)


def _noise(view: View) -> Tensor:
    return random_numbers(torch.rand, view.images.shape, view.generators("fill"))


_FILLS: dict[str, Callable[[View], Tensor]] = {
    "image-mean": lambda view: view.images.mean((2, 3), keepdim=True),
    "dataset-mean": _dataset_mean,
    "zero": lambda view: _constant(view, 0.0),
    "model-mean": lambda view: view.model.mean,
    "blur": lambda view: blurred(view.images),
    "noise": _noise,
}
