"""Do the most salient pixels lie where people looked most?"""

import torch
from torch import Tensor

from saliency_audit.errors import InputError
from saliency_audit.maps import is_defined, magnitude
from saliency_audit.metrics.view import Measured, View


def top_odds(shown: Tensor, k: int | Tensor) -> Tensor:
    """Probability of each pixel to be among the k largest when ties are decided by lot.

    The mean of 0 and 1 over all orders of the tied pixels: what drawing the order many times would
    give, without its noise.

    Args:
        shown: ``(n, h, w)``.
        k: pixels, one number or ``(n,)``.

    Returns:
        ``(n, h, w)`` float64, adding up to k.

    >>> top_odds(torch.tensor([[[3.0, 1.0, 1.0, 0.0]]]), 2)
    tensor([[[1.0000, 0.5000, 0.5000, 0.0000]]], dtype=torch.float64)
    """
    flat = shown.flatten(1)
    count = torch.as_tensor(k, device=flat.device).expand(len(flat)).unsqueeze(1)
    last = flat.sort(dim=1, descending=True).values.gather(1, count - 1)
    above, tied = flat > last, flat == last
    left = count - above.sum(1, keepdim=True)
    return (above + tied * (left.double() / tied.sum(1, keepdim=True))).view_as(shown)


def overlap(a: Tensor, b: Tensor, k: int | Tensor) -> Tensor:
    """Pixels that two maps have in common among their k largest, ties decided by separate lots.

    Unrelated maps share ``k * k / pixels`` on average, however many pixels are tied.

    Args:
        a: ``(n, h, w)``.
        b: same shape.
        k: pixels, one number or ``(n,)``.

    Returns:
        ``(n,)`` float64 in [0, k]; NaN where a map is undefined.
    """
    both = (top_odds(a, k) * top_odds(b, k)).sum((1, 2))
    return both.where(is_defined(a) & is_defined(b), torch.nan)


def gaze_overlap(view: View, *, top: tuple[float, ...] = (0.05, 0.1)) -> list[Measured]:
    r"""Share of the most salient pixels that are among those looked at most.

    .. math:: |T_q(S) \cap T_q(G)|\,/\,|T_q(S)|

    with :math:`T_q` the share q of the pixels with the largest values, at least one. Tied pixels
    are taken by lot, separately in the two maps, and the value is the mean over all lots: pixels
    that are tied in both, such as the zeros of both, count no more than chance.

    Args:
        view: one batch of images, their maps and annotations.
        top: shares q.

    Returns:
        For each share, values in [0, 1], higher is better; a map that has nothing to do with the
        image gets q on average. NaN where there is no annotation, or it or the map's magnitude is
        the same everywhere. Source: P1 C.3, which resizes both to 448 pixels; here the annotation
        has the size of the image.

    Raises:
        InputError: there are no annotations, or a share is not between 0 and 1.
    """
    for share in top:
        if not 0 < share < 1:
            raise InputError(option="top", value=share, fix="give a share between 0 and 1")
    shown, marked = magnitude(view.saliency.double()), view.needed("annotations")
    pixels = shown[0].numel()
    counts = {share: max(1, round(share * pixels)) for share in top}
    return [
        Measured(overlap(shown, marked, k) / k, setting=f"top={share:g}")
        for share, k in counts.items()
    ]
