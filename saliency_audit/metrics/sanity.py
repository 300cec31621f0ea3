"""How much of a map is left when weights are random: which layers, and how alike two maps are."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, TypeVar

import torch
from torch import Tensor

from saliency_audit.errors import InputError
from saliency_audit.maps import is_defined, magnitude
from saliency_audit.metrics.hog import cell_side, hog
from saliency_audit.metrics.similarity import average_ranks
from saliency_audit.metrics.ssim import WINDOW, refuse_ssim, ssim
from saliency_audit.metrics.view import Measured, View, shared
from saliency_audit.models import (
    Randomisation,
    WeightLayer,
    randomised,
    resolve_randomisation,
    weight_layers,
)

Seen = TypeVar("Seen")

VERSIONS = ("", "-signed", "-ssim", "-hog")
"""What each way to compare adds to the name of the check."""
UNREACHED = 0.01
"""Where drawing all weights moves the logits by less of their size, it drew none that matter."""


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
        raise InputError(
            option="stages", value=stages, fix="give 0 for every layer, or a number above 0"
        )
    if stages == 0 or stages >= count:
        return list(range(1, count + 1))
    if stages == 1:
        return [count]
    return [1 + round(i * (count - 1) / (stages - 1)) for i in range(stages)]


def refuse_sanity(shape: tuple[int, ...], classes: int, **options: Any) -> None:
    """Refuse options that mean nothing on any image.

    Raises:
        InputError: of the structural similarity.
    """
    del shape, classes
    refuse_ssim(options.get("window", WINDOW), options.get("ssim_range", 1.0))


def check_draws(draws: int) -> None:
    """Refuse to draw nothing.

    Raises:
        InputError: ``draws`` is below 1.
    """
    if draws < 1:
        raise InputError(option="draws", value=draws, fix="give at least 1")


def mean_over_draws(values: Sequence[Tensor], draws: int) -> Tensor:
    """Values of all stages of the first draw, then of the next, ...: ``(stages, ...)``.

    >>> mean_over_draws([torch.tensor(1.0), torch.tensor(2.0), torch.tensor(3.0)], 3)
    tensor([2.])
    """
    stacked = torch.stack(list(values))
    return stacked.view(draws, -1, *stacked.shape[1:]).mean(0)


def sanity_cascade(
    view: View,
    *,
    randomise: str = "auto",
    draws: int = 2,
    stages: int = 10,
    window: int = 7,
    ssim_range: float = 1.0,
) -> list[Measured]:
    """Similarity of the map to that of the model with its last k layers random, k up to all.

    A method whose map hardly changes does not show what the model has learned. The map is made
    again in the same way (method, class, noise), so that only the weights differ; the order of
    layers is that of `weight_layers`. Compared are, by rank correlation, the magnitudes
    (``sanity-cascade``), signed maps and histograms of oriented gradients, and magnitudes by
    structural similarity. As evidence come the norm of the random model's map and the spread of
    its logits, both relative to the given model's: a map that vanishes, or that of a constant
    model, is dissimilar for no good reason. And what drawing all weights did to the output: where
    the logits change by less than a hundredth of their size, the model does not stand in its
    weights, and its map says nothing about them.

    A control is compared with itself: it sees no model.

    Args:
        view: one batch.
        randomise: "reinit" draws each layer's own initialisation, "shuffle" permutes each weight,
            "auto" takes the first where it can; see `randomised`.
        draws: of random weights; values are means over them.
        stages: how many numbers of layers are tried, evenly spaced, 1 and all among them; 0 tries
            every number.
        window: of the structural similarity.
        ssim_range: likewise: 1 for maps scaled to [0, 1], 2 for [-1, 1].

    Returns:
        For every stage, from one layer to all, each way to compare, float64 in [-1, 1]; of the
        norm, the spread and the change of the output (distance of the logits over the size of the
        given ones, all less their mean over the classes; about 1 where the layers' own
        initialisation gives small logits, more where shuffled weights give large ones) the last
        stage. The answer, ``randomised=mean``, is the mean over the stages: 1 for a map that sees
        no model, 0 for one that keeps nothing once the last layer is random; at the last stage
        alone, a map that gives way only with the first layers would pass. Curves are over the
        number of random layers from 0 (the map and itself). NaN where a map is undefined,
        whichever draw it is of, or where the output hardly changes. Spread and change come once a
        batch, with the first method that sees the model.
        Source: Adebayo et al. 2018.

    Raises:
        InputError: an option has no such value.
        UnsupportedError: the model has no weights, or ``reinit`` does not work for one of them.
    """
    check_draws(draws)
    weights = Randomiser(view, randomise)
    layers = weights.layers
    counts = evenly_spaced(len(layers), stages)
    similarity = Similarity(view.saliency, window=window, ssim_range=ssim_range)
    itself = similarity(view.saliency)
    norm = _norm(view.saliency).where(is_defined(similarity.shown), torch.nan)
    options = f"randomise={weights.how};draws={draws};"
    reached = ("output-change", options, tuple(counts))
    first = reached not in view.known and not view.control

    def look(maps: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        spread, change = _outputs(view) if first else (norm, norm)
        return similarity(maps), _norm(maps) / norm, spread, change, maps[0].mean(0)

    if view.control:
        seen = [(itself, norm / norm, norm, norm, view.saliency[0].mean(0))] * len(counts) * draws
    else:
        seen = _cascade(view, weights, counts, draws, look)
    alike, norms, spreads, changes = (
        mean_over_draws([one[i] for one in seen], draws) for i in range(4)
    )
    if first:
        view.known[reached] = changes[-1]
    if not view.control:
        alike = alike.where(~(view.known[reached] < UNREACHED), torch.nan)
    pictures = {
        _stage(count, len(layers)): one[4]
        for count, one in zip(counts, seen, strict=False)
        if view.draw
    }

    def over(values: Tensor, start: Tensor) -> Tensor:
        return torch.cat([start.unsqueeze(0), values]).T

    x = [0, *counts]
    results = []
    for i, count in enumerate(counts):
        last = count == len(layers)
        stage = _stage(count, len(layers)) + ("" if last else f";layer={layers[count - 1].name}")
        results += [
            Measured(
                alike[i, k],
                check="sanity-cascade" + version,
                setting=options + similarity.setting(version) + stage,
                x=x if last else (),
                curve=over(alike[:, k], itself[k]) if last else None,
                pictures=pictures if last and not version else {},
            )
            for k, version in enumerate(VERSIONS)
        ]
    results += [
        Measured(
            alike[:, k].mean(0),
            check="sanity-cascade" + version,
            setting=options + similarity.setting(version) + f"stages={len(counts)};randomised=mean",
        )
        for k, version in enumerate(VERSIONS)
    ]
    everything = options + _stage(len(layers), len(layers))
    results.append(
        Measured(
            norms[-1],
            check="sanity-cascade-map-norm",
            setting=everything,
            x=x,
            curve=over(norms, norm / norm),
        )
    )
    if first:
        results.append(
            Measured(
                changes[-1],
                check="sanity-cascade-output-change",
                setting=everything,
                saliency="",
            )
        )
        given = _standard_deviation(view.logits)
        given = given.where(given > 0, torch.nan)
        spread = spreads / given
        results.append(
            Measured(
                spread[-1],
                check="sanity-cascade-logit-spread",
                setting=everything,
                saliency="",
                x=x,
                curve=over(spread, given / given),
            )
        )
    return results


def _cascade(
    view: View,
    weights: Randomiser,
    counts: Sequence[int],
    draws: int,
    look: Callable[[Tensor], Seen],
) -> list[Seen]:
    """``look(maps)`` at every stage of every draw, while the weights are random."""
    seen = []
    for draw in range(draws):
        with weights.draw(draw) as give_random_weights:
            for before, count in zip([0, *counts], counts, strict=False):
                for layer in weights.layers[before:count]:
                    give_random_weights(layer)
                maps = view.explain(view.model, view.images, view.targets, names=view.names)
                seen.append(look(maps))
    return seen


def _stage(count: int, layers: int) -> str:
    return "randomised=all" if count == layers else f"randomised={count}/{layers}"


def _norm(saliency: Tensor) -> Tensor:
    """L2 norm of each map, ``(n,)``; a map that vanishes has one, one with NaN has none."""
    norm: Tensor = saliency.double().flatten(1).norm(dim=1)
    return norm.where(norm.isfinite(), torch.nan)


def _outputs(view: View) -> tuple[Tensor, Tensor]:
    """Spread of the logits as they are now, and how far they are from the given ones, ``(n,)``."""
    with torch.no_grad():
        logits = torch.cat([view.model(part) for part in torch.split(view.images, view.batch_size)])
    given = view.logits.double() - view.logits.double().mean(1, keepdim=True)
    now = logits.double() - logits.double().mean(1, keepdim=True)
    return _standard_deviation(logits), (now - given).norm(dim=1) / given.norm(dim=1)


def _standard_deviation(logits: Tensor) -> Tensor:
    deviation: Tensor = logits.double().std(1)
    return deviation


def sanity_independent(
    view: View,
    *,
    randomise: str = "auto",
    draws: int = 2,
    stages: int = 10,
    window: int = 7,
    ssim_range: float = 1.0,
) -> list[Measured]:
    """Similarity of the map to that of the model with one layer random and the others kept.

    Layers that the logits do not depend on are left out. For the rest see `sanity_cascade`, which
    has the same options.

    Args:
        view: one batch.
        randomise: "reinit", "shuffle" or "auto".
        draws: of random weights; values are means over them.
        stages: how many layers are tried, evenly spaced, the last and the first among them; 0
            tries every layer.
        window: of the structural similarity.
        ssim_range: likewise: 1 for maps scaled to [0, 1], 2 for [-1, 1].

    Returns:
        For every layer that was tried, from the output on, and as the mean over them
        (``randomised=each``), each way to compare, float64 in [-1, 1]. Curves are over the number
        of the layer, 1 nearest to the output. NaN where a map is undefined, whichever it is of.
        Source: Adebayo et al. 2018.

    Raises:
        InputError: an option has no such value.
        UnsupportedError: the model has no weights, or ``reinit`` does not work for one of them.
    """
    check_draws(draws)
    weights = Randomiser(view, randomise)
    layers = [layer for layer in weights.layers if layer.used]
    numbers = evenly_spaced(len(layers), stages)
    tried = [layers[number - 1] for number in numbers]
    similarity = Similarity(view.saliency, window=window, ssim_range=ssim_range)
    if view.control:
        itself = similarity(view.saliency)
        alike = itself.expand(len(tried), *itself.shape)
    else:
        found = []
        for draw in range(draws):
            for layer in tried:
                with weights.draw(draw) as give_random_weights:
                    give_random_weights(layer)
                    maps = view.explain(view.model, view.images, view.targets, names=view.names)
                found.append(similarity(maps))
        alike = mean_over_draws(found, draws)
    results = []
    for k, version in enumerate(VERSIONS):
        options = f"randomise={weights.how};draws={draws};{similarity.setting(version)}"
        results += [
            Measured(
                alike[i, k],
                check="sanity-independent" + version,
                setting=f"{options}randomised=only;layer={layer.name}",
            )
            for i, layer in enumerate(tried)
        ]
        results.append(
            Measured(
                alike[:, k].mean(0),
                check="sanity-independent" + version,
                setting=f"{options}layers={len(tried)}/{len(layers)};randomised=each",
                x=numbers,
                curve=alike[:, k].T,
            )
        )
    return results
