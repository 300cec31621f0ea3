"""Which pixels do more for a network that is trained anew: the most or the least salient?"""

from collections.abc import Sequence

from saliency_audit.data.replacement import Replacement, Unit
from saliency_audit.metrics.retraining import FRACTIONS, Bench, rising
from saliency_audit.metrics.view import Measured


def diffroar(
    bench: Bench,
    *,
    fractions: Sequence[float] = FRACTIONS,
    repeats: int = 3,
    replaced: Unit = "pixel",
) -> list[Measured]:
    r"""Accuracy without the least salient pixels minus accuracy without the most salient ones.

    .. math:: DiffROAR(p) = a_{bottom}(p) - a_{top}(p)

    with a the accuracy of a network that was trained, and is tested, on images whose least or
    most salient share p has the training images' mean colour. Both start from the same weights
    and see the images in the same order, so a map in reverse has minus the value.

    Args:
        bench: trains.
        fractions: p, in (0, 1).
        repeats: trainings of each.
        replaced: pixels in all channels, or single values of one channel (Shah et al.).

    Returns:
        ``diffroar`` in [-1, 1], the mean over the shares, one value a repeat, higher is better, 0
        for random maps in expectation; beside it ``diffroar-at`` of each share. Source: P1 B.5
        after Shah et al. 2021, who replace by the data set's mean over all channels.
    """
    shares = rising(fractions)
    top = [Replacement(bench.saliency, p, "top", replaced) for p in shares]
    bottom = [Replacement(bench.saliency, p, "bottom", replaced) for p in shares]
    gained = bench.accuracies(bottom, repeats) - bench.accuracies(top, repeats)
    written = ",".join(f"{p:g}" for p in shares)
    return [
        Measured(gained.mean(1), "diffroar", f"removed={written}"),
        *(Measured(gained[:, i], "diffroar-at", f"removed={p:g}") for i, p in enumerate(shares)),
    ]
