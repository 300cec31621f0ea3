"""How alike two maps are."""

from math import isfinite

import torch
from torch import Tensor

from saliency_audit.errors import InputError
from saliency_audit.maps import is_defined, mass_center, top_pixels


def cosine(saliency: Tensor, reference: Tensor) -> Tensor:
    r"""Cosine similarity :math:`\langle a, b\rangle / (\|a\|_2 \|b\|_2)` of each pair of maps.

    Computed in double precision, so that equal maps give 1 to within 1e-15 whatever their scale.

    Args:
        saliency: ``(n, ...)``.
        reference: same shape.

    Returns:
        ``(n,)`` float64 in [-1, 1]; NaN where a map is undefined (constant, NaN or infinite).

    >>> cosine(torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]]))
    tensor([0.], dtype=torch.float64)
    """
    a, b = saliency.flatten(1).double(), reference.flatten(1).double()
    value = torch.nn.functional.cosine_similarity(a, b, dim=1, eps=0.0)
    return _defined(value, saliency, reference)


def pearson(saliency: Tensor, reference: Tensor) -> Tensor:
    """Pearson correlation of two maps' entries (P2 S3.4, PCC).

    Args:
        saliency: ``(n, ...)``; one entry a pixel, so reduce channels before.
        reference: same shape.

    Returns:
        ``(n,)`` float64 in [-1, 1]; NaN where a map is undefined (constant, NaN or infinite).

    >>> a = torch.tensor([[1.0, 2.0, 4.0]])
    >>> pearson(a, 3 - a).round(decimals=6)
    tensor([-1.], dtype=torch.float64)
    """
    a, b = (_centred(maps.flatten(1).double()) for maps in (saliency, reference))
    value = torch.nn.functional.cosine_similarity(a, b, dim=1, eps=0.0)
    return _defined(value, saliency, reference).clamp(-1, 1)


def average_ranks(values: Tensor) -> Tensor:
    """Rank of every entry of each row, from 0; ties share the average of their ranks.

    Args:
        values: ``(n, k)``.

    Returns:
        ``(n, k)`` float64.

    >>> average_ranks(torch.tensor([[5.0, 1.0, 5.0]]))
    tensor([[1.5000, 0.0000, 1.5000]], dtype=torch.float64)
    """
    ordered, order = _sorted(values)
    at = torch.arange(values.shape[1], device=values.device).expand_as(order)
    # Where the ties of the entry begin and end.
    same = ordered[:, 1:] == ordered[:, :-1]
    first, last = at.clone(), at.clone()
    first[:, 1:].masked_fill_(same, 0)
    last[:, :-1].masked_fill_(same, values.shape[1])
    first = first.cummax(1).values
    last = last.flip(1).cummin(1).values.flip(1)
    ranks = torch.empty_like(values, dtype=torch.float64)
    return ranks.scatter_(1, order, (first + last).double() / 2)


def _sorted(values: Tensor) -> tuple[Tensor, Tensor]:
    """Rows in ascending order and where each entry was."""
    if values.dtype != torch.float32 or values.device.type != "cpu":
        ordered, order = values.sort(dim=1)
        return ordered, order
    # The bits of floats, read as integers, sort alike but for the sign; torch sorts single rows of
    # integers several times as fast. Adding 0 makes -0 equal to 0.
    bits = (values + 0.0).contiguous().view(torch.int32)
    bits = bits ^ ((bits >> 31) & 0x7FFFFFFF)
    rows = [row.sort() for row in bits]
    return torch.stack([row.values for row in rows]), torch.stack([row.indices for row in rows])


def spearman(saliency: Tensor, reference: Tensor) -> Tensor:
    """Correlation of the ranks of two maps' entries (P2 S3.4), ties at average rank.

    Args:
        saliency: ``(n, ...)``; one entry a pixel, so reduce channels before.
        reference: same shape.

    Returns:
        ``(n,)`` float64 in [-1, 1]; NaN where a map is undefined (constant, NaN or infinite).

    >>> a = torch.tensor([[1.0, 2.0, 3.0]])
    >>> spearman(a, a.exp()), spearman(a, -a)
    (tensor([1.], dtype=torch.float64), tensor([-1.], dtype=torch.float64))
    """
    a, b = (_centred(average_ranks(maps.flatten(1))) for maps in (saliency, reference))
    value = (a * b).sum(1) / (a.square().sum(1) * b.square().sum(1)).sqrt()
    return _defined(value, saliency, reference).clamp(-1, 1)


def mse(saliency: Tensor, reference: Tensor) -> Tensor:
    """Mean squared difference of two maps, each scaled to add up to 1 (Dombrowski; P2 S3.4).

    Args:
        saliency: ``(n, h, w)``, >= 0.
        reference: same shape, >= 0.

    Returns:
        ``(n,)`` float64, >= 0, of the order of one over the squared number of pixels; NaN where a
        map is undefined (constant, NaN or infinite).

    >>> mse(torch.tensor([[[0.0, 2.0]]]), torch.tensor([[[5.0, 0.0]]]))
    tensor([1.], dtype=torch.float64)
    """
    a, b = (maps.double() for maps in (saliency, reference))
    a, b = (maps / maps.sum((1, 2), keepdim=True) for maps in (a, b))
    value = (a - b).square().mean((1, 2))
    return _defined(value, saliency, reference)


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
        option="k",
        value=int(k) if isfinite(k) and k == int(k) else k,
        fix=f"give a share between 0 and 1, or a number of pixels from 1 to {pixels}",
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
    return _defined(value, saliency, reference)


def mass_center_shift(saliency: Tensor, reference: Tensor) -> Tensor:
    """Distance of the centres of mass of two maps, in pixels (Ghorbani et al. 2019).

    Args:
        saliency: ``(n, h, w)``, >= 0.
        reference: same shape, >= 0.

    Returns:
        ``(n,)`` float64, from 0 to the diagonal; NaN where a map is undefined (constant, NaN or
        infinite).

    >>> mass_center_shift(torch.tensor([[[0.0, 1.0]]]), torch.tensor([[[1.0, 0.0]]]))
    tensor([1.], dtype=torch.float64)
    """
    value: Tensor = (mass_center(saliency.double()) - mass_center(reference.double())).norm(dim=1)
    return _defined(value, saliency, reference)


def mass_center_way(saliency: Tensor, reference: Tensor) -> Tensor:
    """How far the centre of mass went, beside the way it could have gone (Heo et al. 2019).

    Args:
        saliency: ``(n, h, w)``, >= 0.
        reference: same shape, >= 0.

    Returns:
        ``(n,)`` float64 in [0, 1]: 0 where it stayed, 1 where all mass is in the corner farthest
        from where the centre was; NaN where a map is undefined (constant, NaN or infinite).

    >>> mass_center_way(torch.tensor([[[0.0, 1.0]]]), torch.tensor([[[1.0, 0.0]]]))
    tensor([1.], dtype=torch.float64)
    """
    was = mass_center(reference.double())
    last = torch.tensor(saliency.shape[1:], device=was.device) - 1
    farthest = torch.maximum(was, last - was).norm(dim=1)
    value: Tensor = (mass_center(saliency.double()) - was).norm(dim=1) / farthest
    return _defined(value, saliency, reference)


def mass_in_target(saliency: Tensor, region: Tensor) -> Tensor:
    """Share of the map's mass that lies in a region (the targeted attack of Ghorbani et al. 2019).

    Args:
        saliency: ``(n, h, w)``, >= 0.
        region: ``(n, h, w)`` in [0, 1], 1 inside and 0 outside; may be constant.

    Returns:
        ``(n,)`` float64 in [0, 1]; NaN where the map is undefined (constant, NaN or infinite) or
        the region is not finite.

    >>> mass_in_target(torch.tensor([[[3.0, 1.0]]]), torch.tensor([[[0.0, 1.0]]]))
    tensor([0.2500], dtype=torch.float64)
    """
    mass = saliency.double()
    value = (mass * region).sum((1, 2)) / mass.sum((1, 2))
    return value.where(is_defined(saliency) & region.isfinite().all((1, 2)), torch.nan)


def _centred(rows: Tensor) -> Tensor:
    return rows - rows.mean(1, keepdim=True)


def _defined(value: Tensor, saliency: Tensor, reference: Tensor) -> Tensor:
    """The values, NaN where either map is undefined."""
    return value.where(is_defined(saliency) & is_defined(reference), torch.nan)
