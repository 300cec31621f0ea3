"""The edge detector of the sanity checks (Adebayo et al. 2018): sees the image, not the model."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from saliency_audit.errors import UnsupportedError
from saliency_audit.models import Classifier


def sobel(
    model: Classifier,
    images: Tensor,
    targets: Tensor,
    *,
    scalar: str = "logit",
    graph: bool = False,
    generators: Sequence[torch.Generator] = (),
    batch_size: int | None = None,
) -> Tensor:
    r"""Magnitude of the grey image's Sobel gradient: :math:`\sqrt{g_x^2 + g_y^2}`.

    Grey is the mean of the channels; the border is mirrored, so along a side of one or two pixels
    there is no slope. The kernels are scaled so that a slope of a per pixel gives a.

    Args:
        model: not used.
        images: ``(n, c, h, w)`` in [0, 1].
        targets: not used.
        scalar: not used.
        graph: refused; the map explains no model.
        generators: not used.
        batch_size: not used.

    Returns:
        ``(n, 1, h, w)``, >= 0, in pixel values per pixel.

    Raises:
        UnsupportedError: ``graph`` was asked for.
    """
    del model, targets, scalar, generators, batch_size
    if graph:
        raise UnsupportedError("the sobel map explains no model and cannot be attacked")
    grey = images.detach().mean(1, keepdim=True)
    for axis, sides in ((2, (0, 0, 1, 1)), (3, (1, 1, 0, 0))):
        grey = F.pad(grey, sides, mode="reflect" if grey.shape[axis] > 1 else "replicate")
    slope = torch.tensor([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]]).to(grey) / 8
    edges = F.conv2d(grey, torch.stack([slope, slope.T])[:, None])
    # Along one or two pixels the neighbours on both sides are equal: what is left is round-off.
    long = torch.tensor([images.shape[3] > 2, images.shape[2] > 2])
    edges = edges * long.to(grey).view(1, 2, 1, 1)
    return edges.square().sum(1, keepdim=True).sqrt()
