"""What a metric is handed that trains networks anew, and what its options must be."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from saliency_audit.data.replacement import Replacement
from saliency_audit.errors import InputError
from saliency_audit.metrics.view import Measured

FRACTIONS = (0.1, 0.3, 0.5, 0.7, 0.9)
CONTROL = "random"


@dataclass(frozen=True)
class Bench:
    """Networks that are trained anew on what one saliency method leaves of the images.

    Attributes:
        saliency: the method.
        fit: ``(replacement, number) -> accuracy`` in [0, 1] on the test images, of a network of
            the model's architecture with fresh weights that was trained on the training images;
            both are replaced alike. Trainings of one number start from the same weights and see
            the images in the same order. NaN where it is only asked which trainings there are.
    """

    saliency: str
    fit: Callable[[Replacement, int], float]

    def accuracies(self, replacements: Sequence[Replacement], repeats: int) -> Tensor:
        """Accuracies ``(repeats, len(replacements))``, float64."""
        rows = [[self.fit(one, number) for one in replacements] for number in range(repeats)]
        return torch.tensor(rows, dtype=torch.float64)


def rising(fractions: Sequence[float]) -> list[float]:
    """Each share once, in rising order."""
    return sorted(set(fractions))


def weights_of(removed: Sequence[float]) -> Tensor:
    """What each share counts in the area under a difference that is 0 at no and at all pixels.

    The trapezoid rule on 0, the shares and 1. Source: P3 4.2.

    >>> weights_of([0.1, 0.3, 0.5, 0.7, 0.9])
    tensor([0.1500, 0.2000, 0.2000, 0.2000, 0.1500], dtype=torch.float64)
    """
    ends = torch.tensor([0.0, *removed, 1.0], dtype=torch.float64)
    return (ends[2:] - ends[:-2]) / 2


def area_against_random(
    bench: Bench, removals: Sequence[Replacement], repeats: int, *, sign: int, check: str
) -> list[Measured]:
    """The area between a method's curve and that of the random map, and the points of both.

    Args:
        bench: see there.
        removals: what is replaced, by rising share.
        repeats: trainings of each.
        sign: 1 where a better map leaves a higher accuracy.
        check: name of the answer; "-accuracy" and "-mask-only" follow it.
    """
    removed = [one.share for one in removals]
    whole = bench.accuracies([Replacement()], repeats)
    own = bench.accuracies(removals, repeats)
    random = bench.accuracies([_by(CONTROL, one) for one in removals], repeats)
    # The pattern of what is gone is the same picture, whichever side of it goes.
    masks = bench.accuracies([_by(bench.saliency, one, mask=True) for one in removals], repeats)
    area = sign * ((own - random) * weights_of(removed)).sum(1)
    return [
        Measured(area, check, f"removed={','.join(f'{share:g}' for share in removed)}"),
        Measured(
            own[:, 0], f"{check}-accuracy", x=(0.0, *removed), curve=torch.cat([whole, own], 1),
            rows=False,
        ),
        Measured(masks[:, 0], f"{check}-mask-only", x=removed, curve=masks, rows=False),
        *(
            Measured(values[:, i], f"{check}-{name}", f"removed={share:g}")
            for name, values in (("accuracy", own), ("mask-only", masks))
            for i, share in enumerate(removed)
        ),
    ]  # fmt: skip


def _by(saliency: str, one: Replacement, *, mask: bool = False) -> Replacement:
    """The same replacement in the order of a method's maps."""
    if not mask:
        return Replacement(saliency, one.share, one.side, one.unit)
    share = one.share if one.side == "top" else 1 - one.share
    return Replacement(saliency, round(share, 12), "top", one.unit, mask=True)


def refuse_fractions(
    shape: tuple[int, ...],
    classes: int,
    *,
    fractions: Sequence[float] | None = None,
    **others: object,
) -> None:
    """Refuse shares of no pixel, or of all.

    Raises:
        InputError: one is.
    """
    del classes, others
    wanted = rising(FRACTIONS if fractions is None else fractions)
    pixels = shape[-1] * shape[-2]
    if wanted and (round(wanted[0] * pixels) < 1 or round(wanted[-1] * pixels) >= pixels):
        raise InputError(
            f"--fractions from {wanted[0]:g} to {wanted[-1]:g} of {pixels} pixels are none or "
            "all; give shares in between"
        )
