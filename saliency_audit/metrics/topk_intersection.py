"""Overlap of the most salient pixels of two maps."""

import torch
from torch import Tensor

from saliency_audit.errors import InputError
from saliency_audit.maps import is_defined, top_pixels


def pixel_count(k: float, pixels: int) -> int:
    """How many pixels ``--k`` means.

    Args:
        k: a share below 1, of which the nearest number of pixels is taken, at least one; or a
            whole number from 1 on.
        pixels: of a map.

    Raises:
        InputError: neither a share nor a count that the map has.

    >>> pixel_count(0.02, 784), pixel_count(1000, 50176)
    (16, 1000)
    """
    if 0 < k < 1:
        return max(1, round(k * pixels))
    if 1 <= k <= pixels and k == int(k):
        return int(k)
    raise InputError(
        f"--k is {k:.10g}; give a share between 0 and 1, or a number of pixels from 1 to {pixels}"
    )


def topk_intersection(saliency: Tensor, reference: Tensor, *, k: int, seed: int = 0) -> Tensor:
    r"""Share of the k most salient pixels that two maps have in common: :math:`|A \cap B| / k`.

    Ties are broken at random with the seed, in the same order for both maps, so that equal maps
    share everything. Two unrelated maps share k / (h * w) on average, and more where the k-th
    pixel is tied with the next in both: the order then picks the same pixels of each.

    Args:
        saliency: ``(n, h, w)``, one entry a pixel.
        reference: same shape.
        k: pixels, from 1 to h * w.
        seed: of the order of tied pixels.

    Returns:
        ``(n,)`` float64 in [0, 1]; NaN where a map is undefined (constant, NaN or infinite).
        Source: Ghorbani et al. 2019; P2 S3.4.

    Raises:
        InputError: k is not a number of pixels that the maps have.

    >>> a = torch.tensor([[[1.0, 2.0, 3.0]]])
    >>> topk_intersection(a, -a, k=2)
    tensor([0.5000], dtype=torch.float64)
    """
    pixels = saliency.shape[1] * saliency.shape[2]
    if not 1 <= k <= pixels:
        raise InputError(f"k is {k}; the maps have {pixels} pixels, so give 1 to {pixels}")
    both = top_pixels(saliency, k, seed=seed) & top_pixels(reference, k, seed=seed)
    value = both.sum((1, 2)).double() / k
    return value.where(is_defined(saliency) & is_defined(reference), torch.nan)
