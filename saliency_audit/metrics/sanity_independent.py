"""How much of a map is left when the weights of one layer are random."""

from saliency_audit.metrics.similarity import (
    VERSIONS,
    Randomiser,
    Similarity,
    check_draws,
    evenly_spaced,
    mean_over_draws,
)
from saliency_audit.metrics.view import Measured, View

NAME = "sanity-independent"


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
                check=NAME + version,
                setting=f"{options}randomised=only;layer={layer.name}",
            )
            for i, layer in enumerate(tried)
        ]
        results.append(
            Measured(
                alike[:, k].mean(0),
                check=NAME + version,
                setting=f"{options}layers={len(tried)}/{len(layers)};randomised=each",
                x=numbers,
                curve=alike[:, k].T,
            )
        )
    return results
