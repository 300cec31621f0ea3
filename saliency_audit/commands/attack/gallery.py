"""What ``attack`` has to show of single images, worst first, and how budgets are called."""

from collections.abc import Sequence
from fractions import Fraction
from math import inf, nan
from typing import Literal

import numpy as np
import pandas as pd

from saliency_audit.report.figures import Cell
from saliency_audit.report.page import shorten
from saliency_audit.report.wording import is_number
from saliency_audit.setting import parts_of
from saliency_audit.types import Example

COLUMNS = (
    "image",
    "attacked image",
    "difference × 10",
    "map",
    "map of the attacked image",
)
SIMILARITY = "topk-intersection"
_CAPTIONS = (SIMILARITY, "prediction-kept", "attack-success", "linf-distance")

Made = tuple[str, str, str]
"""Saliency, scalar and setting that an image was made against."""


def budget(setting: str) -> str:
    """How far an attack was allowed to go, for people.

    >>> budget("attack=topk;eps=8/255"), budget("attack=pgd;eps=2;norm=l2")
    ('8/255', 'L2 2')
    >>> budget("attack=structured;eps=none")
    'no budget'
    """
    known = parts_of(setting)
    eps = known.get("eps", "none")
    if eps == "none":
        return "no budget"
    return f"L2 {eps}" if known.get("norm") == "l2" else eps


def size(setting: str) -> float:
    """The budget as a number; infinite without one.

    >>> size("attack=topk;eps=1/4"), size("attack=structured;eps=none")
    (0.25, inf)
    """
    try:
        return float(Fraction(parts_of(setting).get("eps", "none")))
    except (ValueError, ZeroDivisionError):
        return inf


def largest(verdicts: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The verdicts of each attack under the largest budget it was given."""
    found = {}
    for attack, own in verdicts.groupby("attack", sort=False):
        top = max(own["setting"], key=size)
        found[str(attack)] = own[own["setting"].map(budget) == budget(top)]
    return found


class AttackGallery:
    """The examples of a run, by what they were made against.

    Args:
        examples: images, attacked images, their maps and the wanted maps.
        results: rows of ``results.csv``, for captions and for which image is the worst.
    """

    def __init__(self, examples: Sequence[Example], results: pd.DataFrame) -> None:
        self._found: dict[tuple[str, str, str, str, str], Example] = {}
        for e in examples:
            self._found.setdefault((e.role, e.image, e.saliency, e.scalar, e.setting), e)
        self._targets = [e for e in examples if e.role == "target"]
        # One sign for the maps of a method, or before and after would differ in colours alone.
        self._signed = {
            (e.saliency, e.scalar)
            for e in examples
            if e.role in ("before", "after") and (e.pixels < 0).any()
        }
        shown = results[
            (results["status"] == "ok")
            & results["check"].isin(_CAPTIONS)
            & results["setting"].isin({e.setting for e in examples if e.role == "attacked"})
            & results["image"].isin({e.image for e in examples})
        ]
        keys = shown[["check", "image", "saliency", "scalar", "setting"]].itertuples(index=False)
        self._values = dict(zip(map(tuple, keys), shown["value"].astype(float), strict=True))

    def similarity(self, image: str, made: Made) -> float:
        """Intersection of the most salient pixels with those of the clean map; NaN if unknown."""
        return self._values.get((SIMILARITY, image, *made), nan)

    def worst(self, made: Made) -> list[str]:
        """Names of the images whose attacked image is there, that with the least left first."""
        names = [key[1] for key in self._found if key[0] == "attacked" and key[2:] == made]
        known = {name: self.similarity(name, made) for name in names}
        return sorted(names, key=lambda name: known[name] if is_number(known[name]) else inf)

    def cells(self, image: str, made: Made) -> list[Cell | None]:
        """An image, the attacked image, their difference and both maps: one per ``COLUMNS``."""
        clean = self._found.get(("image", image, "", "", ""))
        attacked = self._found.get(("attacked", image, *made))
        similarity = self.similarity(image, made)
        return [
            Cell(clean.pixels, "image", shorten(image, 20)) if clean else None,
            Cell(attacked.pixels, "image", self._outcome(image, made)) if attacked else None,
            _difference(clean, attacked),
            self._map("before", image, made),
            self._map(
                "after",
                image,
                made,
                caption=f"intersection {similarity:.2f}" if is_number(similarity) else "",
            ),
        ]

    def target(self, image: str, made: Made) -> Cell | None:
        """The map that was wanted of an image, if the attack wanted one."""
        saliency, scalar, setting = made
        wanted = parts_of(setting).items()
        for e in self._targets:
            given = parts_of(e.setting).items()
            # A target may be for one image, method or budget alone, or for all of them.
            if (
                e.image in ("", image)
                and e.saliency in ("", saliency)
                and e.scalar in ("", scalar)
                and (given <= wanted or wanted <= given)
            ):
                return Cell(e.pixels, "signed" if (e.pixels < 0).any() else "unsigned")
        return None

    def _map(self, role: str, image: str, made: Made, *, caption: str = "") -> Cell | None:
        found = self._found.get((role, image, *made))
        kind: Literal["signed", "unsigned"] = "signed" if made[:2] in self._signed else "unsigned"
        return Cell(found.pixels, kind, caption) if found else None

    def _outcome(self, image: str, made: Made) -> str:
        """What became of the class, and how far the image is from the clean one."""
        _, scalar, setting = made
        if self._values.get(("attack-success", image, "", scalar, setting)) == 0:
            return "no such image found"
        kept = self._values.get(("prediction-kept", image, "", scalar, setting), nan)
        word = {1.0: "class kept", 0.0: "class changed"}.get(kept, "")
        far = self._values.get(("linf-distance", image, "", scalar, setting), nan)
        steps = f"±{255 * far:.3g}/255" if is_number(far) else ""
        return ", ".join(filter(None, (word, steps)))


def _difference(clean: Example | None, attacked: Example | None) -> Cell | None:
    """The attacked image minus the clean one, ten times, around grey."""
    if clean is None or attacked is None or clean.pixels.shape != attacked.pixels.shape:
        return None
    return Cell(np.clip(0.5 + 10 * (attacked.pixels - clean.pixels), 0, 1), "image")
