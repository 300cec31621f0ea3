"""What the sanity checks have in common: which layers, and how alike two maps are."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

import torch
from torch import Tensor

from saliency_audit.errors import InputError
from saliency_audit.maps import is_defined, magnitude
from saliency_audit.metrics.hog import cell_side, hog
from saliency_audit.metrics.spearman import average_ranks
from saliency_audit.metrics.ssim import ssim
from saliency_audit.metrics.view import View, shared
from saliency_audit.models import (
    Randomisation,
    WeightLayer,
    randomised,
    resolve_randomisation,
    weight_layers,
)

VERSIONS = ("", "-signed", "-ssim", "-hog")
"""What each way to compare adds to the name of the check."""


class Similarity:
    """Compares maps with one set of maps, of which all is computed once that can be.

    ``similarity(maps)`` is ``(4, n)`` float64: rank correlation of magnitudes, of signed maps
    (channels averaged), structural similarity of magnitudes and rank correlation of their
    histograms of oriented gradients. NaN where either map is undefined.

    Args:
        saliency: the maps to compare with, ``(n, c, h, w)``.
        window: of the structural similarity.
        ssim_range: likewise, see `ssim`.
    """

    def __init__(self, saliency: Tensor, *, window: int, ssim_range: float) -> None:
        self.window = window
        self.ssim_range = ssim_range
        self.cell = cell_side(*saliency.shape[2:])
        self.shown = magnitude(saliency)
        self.ranks = self._ranks(saliency, self.shown)

    def __call__(self, saliency: Tensor) -> Tensor:
        """``(4, n)``, in the order of ``VERSIONS``."""
        shown = magnitude(saliency)
        ranks = zip(self.ranks, self._ranks(saliency, shown), strict=True)
        plain, signed, histograms = (
            (torch.linalg.vecdot(a, b) / (length_a * length_b)).clamp(-1, 1)
            for (a, length_a), (b, length_b) in ranks
        )
        structure = ssim(shown, self.shown, window=self.window, data_range=self.ssim_range)
        return torch.stack([plain, signed, structure, histograms])

    def setting(self, version: str) -> str:
        """The options that decide one of the numbers."""
        return {
            "-ssim": f"window={self.window};ssim_range={self.ssim_range:g};",
            "-hog": f"cell={self.cell};",
        }.get(version, "")

    def _ranks(self, saliency: Tensor, shown: Tensor) -> list[tuple[Tensor, Tensor]]:
        return [
            _centred_ranks(values)
            for values in (
                shown.flatten(1),
                saliency.mean(1).flatten(1),
                hog(shown, cell=self.cell),
            )
        ]


def _centred_ranks(values: Tensor) -> tuple[Tensor, Tensor]:
    """Ranks of each row less their mean, and their length; NaN where the row is undefined."""
    ranks = average_ranks(values).sub_((values.shape[1] - 1) / 2)
    length = torch.linalg.vecdot(ranks, ranks).sqrt()
    return ranks, length.where(is_defined(values), torch.nan)


class Randomiser:
    """The layers of a view's model in the order of a cascade, and how weights are drawn.

    Args:
        view: its model is run once on one image, whatever the number of methods and metrics.
        randomise: "auto", "reinit" or "shuffle".

    Attributes:
        layers: from the output to the input.
        how: what ``randomise`` means for this model.

    Raises:
        InputError: unknown ``randomise``.
        UnsupportedError: the model has no weights, or no initialisation where it is asked for.
    """

    def __init__(self, view: View, randomise: str) -> None:
        layers = shared(view.known, "weight-layers", lambda: weight_layers(view.model, view.images))
        self.layers = layers[::-1]
        self.how: Randomisation = shared(
            view.known,
            ("randomisation", randomise),
            lambda: resolve_randomisation(view.model, layers, randomise),
        )
        self._seed = view.seed

    def draw(self, number: int) -> AbstractContextManager[Callable[[WeightLayer], None]]:
        """Inside: layers can be given random weights; see `randomised`."""
        return randomised(how=self.how, seed=self._seed, draw=number)


def evenly_spaced(count: int, stages: int) -> list[int]:
    """``stages`` of the numbers 1 to ``count``, the first and the last among them.

    One stage is the last number; 0, or more stages than numbers, are all of them.

    Raises:
        InputError: ``stages`` is negative.

    >>> evenly_spaced(99, 4), evenly_spaced(3, 0), evenly_spaced(3, 1)
    ([1, 34, 66, 99], [1, 2, 3], [3])
    """
    if stages < 0:
        raise InputError(f"--stages is {stages}; give 0 for every layer, or a number above 0")
    if stages == 0 or stages >= count:
        return list(range(1, count + 1))
    if stages == 1:
        return [count]
    return [1 + round(i * (count - 1) / (stages - 1)) for i in range(stages)]


def check_draws(draws: int) -> None:
    """Refuse to draw nothing.

    Raises:
        InputError: ``draws`` is below 1.
    """
    if draws < 1:
        raise InputError(f"--draws is {draws}; give at least 1")


def mean_over_draws(values: Sequence[Tensor], draws: int) -> Tensor:
    """Values of all stages of the first draw, then of the next, ...: ``(stages, ...)``.

    >>> mean_over_draws([torch.tensor(1.0), torch.tensor(2.0), torch.tensor(3.0)], 3)
    tensor([2.])
    """
    stacked = torch.stack(list(values))
    return stacked.view(draws, -1, *stacked.shape[1:]).mean(0)
