"""Does a network that is trained anew miss the pixels that the map says matter?"""

from collections.abc import Sequence

from saliency_audit.data.replacement import Replacement, Unit
from saliency_audit.metrics.retraining import FRACTIONS, Bench, area_against_random, rising
from saliency_audit.metrics.view import Measured


def roar(
    bench: Bench,
    *,
    fractions: Sequence[float] = FRACTIONS,
    repeats: int = 3,
    replaced: Unit = "pixel",
) -> list[Measured]:
    r"""Remove and retrain: accuracy that is lost once the most salient pixels are gone.

    .. math:: \mu_{ROAR} = \sum_p w_p\,(a_{random}(p) - a_{map}(p))

    with a(p) the accuracy of a network that was trained, and is tested, on images whose most
    salient share p has the training images' mean colour, and w the weights of the trapezoid rule.
    What replaced pixels do to a model that never saw such images plays no part, as it does in
    deletion. But which pixels went can give the class away: ``roar-mask-only`` is the accuracy of
    a network that sees the pattern alone. Where it is far above chance, the accuracy that is left
    says little about the pixels.

    Args:
        bench: trains.
        fractions: p, in (0, 1).
        repeats: trainings of each; of one number they start from the same weights.
        replaced: pixels in all channels, or single values of one channel (Hooker et al.).

    Returns:
        ``roar`` in [-1, 1], one value a repeat, higher is better, 0 for random maps; beside it
        ``roar-accuracy`` and ``roar-mask-only`` of each share, in [0, 1]. Source: P3 4.2 after
        Hooker et al. 2019. The random map replaces exactly the share, where P3 throws a coin for
        each pixel, and ties are ordered by lot.
    """
    shares = rising(fractions)
    removals = [Replacement(bench.saliency, p, "top", replaced) for p in shares]
    return area_against_random(bench, removals, repeats, sign=-1, check="roar")


def kar(
    bench: Bench,
    *,
    fractions: Sequence[float] = FRACTIONS,
    repeats: int = 3,
    replaced: Unit = "pixel",
) -> list[Measured]:
    r"""Keep and retrain: accuracy that is left when only the most salient pixels stay.

    .. math:: \mu_{KAR} = \sum_p w_p\,(a_{map}(p) - a_{random}(p))

    with a(p) the accuracy where the *least* salient share p is replaced; else as `roar`.

    Args:
        bench: trains.
        fractions: p, in (0, 1); of the pixels that are replaced, so that 1 - p is kept.
        repeats: trainings of each.
        replaced: pixels in all channels, or single values of one channel.

    Returns:
        ``kar`` in [-1, 1], one value a repeat, higher is better, 0 for random maps; beside it
        ``kar-accuracy`` and ``kar-mask-only``. Source: P3 4.2.
    """
    shares = rising(fractions)
    removals = [Replacement(bench.saliency, p, "bottom", replaced) for p in shares]
    return area_against_random(bench, removals, repeats, sign=1, check="kar")
