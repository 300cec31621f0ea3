"""How much of a map is left as more and more of the weights are random."""

from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
from torch import Tensor

from saliency_audit.maps import is_defined
from saliency_audit.metrics.similarity import (
    VERSIONS,
    Randomiser,
    Similarity,
    check_draws,
    evenly_spaced,
    mean_over_draws,
)
from saliency_audit.metrics.view import Measured, View

NAME = "sanity-cascade"
Seen = TypeVar("Seen")


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
    model, is dissimilar for no good reason.

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
        norm and the spread the last stage. The answer, ``randomised=mean``, is the mean over the
        stages: 1 for a map that sees no model, 0 for one that keeps nothing once the last layer
        is random; at the last stage alone, a map that gives way only with the first layers would
        pass. Curves are over the number of random layers from 0
        (the map and itself). NaN where a map is undefined, whichever draw it is of. The spread
        comes once a batch, with the first method that sees the model.
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
    first = ("logit-spread", options, tuple(counts)) not in view.known and not view.control

    def look(maps: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        spread = _spread(view) if first else norm
        return similarity(maps), _norm(maps) / norm, spread, maps[0].mean(0)

    if view.control:
        seen = [(itself, norm / norm, norm, view.saliency[0].mean(0))] * len(counts) * draws
    else:
        seen = _cascade(view, weights, counts, draws, look)
    alike, norms, spreads = (mean_over_draws([one[i] for one in seen], draws) for i in range(3))
    pictures = {
        _stage(count, len(layers)): one[3]
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
                check=NAME + version,
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
            check=NAME + version,
            setting=options + similarity.setting(version) + f"stages={len(counts)};randomised=mean",
        )
        for k, version in enumerate(VERSIONS)
    ]
    everything = options + _stage(len(layers), len(layers))
    results.append(
        Measured(
            norms[-1],
            check=f"{NAME}-map-norm",
            setting=everything,
            x=x,
            curve=over(norms, norm / norm),
        )
    )
    if first:
        view.known["logit-spread", options, tuple(counts)] = True
        given = _standard_deviation(view.logits)
        given = given.where(given > 0, torch.nan)
        spread = spreads / given
        results.append(
            Measured(
                spread[-1],
                check=f"{NAME}-logit-spread",
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


def _spread(view: View) -> Tensor:
    with torch.no_grad():
        logits = [view.model(part) for part in torch.split(view.images, view.batch_size)]
    return _standard_deviation(torch.cat(logits))


def _standard_deviation(logits: Tensor) -> Tensor:
    deviation: Tensor = logits.double().std(1)
    return deviation
