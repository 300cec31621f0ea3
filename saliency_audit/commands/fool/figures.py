"""The pictures of ``fool``: maps before and after."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import pandas as pd

from saliency_audit.report.figures import PanelRow, Tile, draw_maps
from saliency_audit.report.gallery import Gallery, images_with, tile

_BEFORE = "stage=before"
_NOTE = (
    "cos: cosine of the map's magnitude with the picture; 1 is the picture itself. "
    "Maps of several colour channels are averaged."
)

Cosines = Mapping[tuple[str, ...], float]
"""Cosine of a map with the picture, by (image, saliency, scalar, setting)."""


def short_names(tricks: Iterable[str]) -> dict[str, str]:
    """A name for each setting of a trick: the trick's own, with its options where two share it.

    >>> short_names(["trick=loss-sine;eps=0.1", "trick=shift;shift=head", "trick=shift;shift=line"])
    {'trick=loss-sine;eps=0.1': 'loss-sine', 'trick=shift;shift=head': 'shift-head', \
'trick=shift;shift=line': 'shift-line'}
    """
    values = {
        setting: [part.split("=")[-1] for part in setting.split(";")]
        for setting in dict.fromkeys(tricks)
    }
    first = [parts[0] for parts in values.values()]
    return {
        setting: parts[0] if first.count(parts[0]) == 1 else "-".join(parts)
        for setting, parts in values.items()
    }


def draw_trick(
    gallery: Gallery, cosines: Cosines, verdicts: pd.DataFrame, folder: Path, name: str
) -> list[Path]:
    """Every method before and after one trick, on one image.

    Args:
        gallery: the maps.
        cosines: for the captions.
        verdicts: of this trick.
        folder: where to.
        name: of the trick, and of the first file.

    Returns:
        The files; none without maps to draw.
    """
    rows, drawn = [], ""
    for trick, saliency, scalar, word in _keys(verdicts, "verdict"):
        for image in images_with(gallery, "after", saliency, scalar, trick)[:1]:
            drawn = drawn or image
            cells = [
                tile(gallery, "image", image),
                _map(gallery, cosines, "before", image, saliency, scalar, _BEFORE),
                _map(gallery, cosines, "after", image, saliency, scalar, trick),
                tile(gallery, "picture", ""),
            ]
            rows.append(PanelRow(f"{saliency}\n{scalar}", cells, word))
    return draw_maps(
        rows,
        folder,
        name,
        title=f"Saliency maps before and after {name}",
        columns=["image", "map before", "map after", "picture"],
        footnote=f"Image {drawn}. {_NOTE} The coloured word is the verdict over all images, not "
        "this one alone.",
    )


def draw_examples(
    gallery: Gallery, cosines: Cosines, verdicts: pd.DataFrame, folder: Path
) -> list[Path]:
    """Several images and one map of each, before and after every trick.

    Args:
        gallery: the maps.
        cosines: for the captions.
        verdicts: of all tricks.
        folder: where to.

    Returns:
        ``examples.png``; none without maps to draw.
    """
    columns: dict[tuple[str, str, str, str], str] = {}
    names: dict[str, None] = {}
    tricks = short_names(verdicts["trick"])
    for _, own in verdicts.groupby("trick", sort=False):
        # The map that most images have; the first of them.
        found = {(t, a, b): images_with(gallery, "after", a, b, t) for t, a, b in _keys(own)}
        trick, saliency, scalar = max(found, key=lambda made: len(found[made]))
        names |= dict.fromkeys(found[trick, saliency, scalar])
        columns["before", saliency, scalar, _BEFORE] = f"{saliency}\n{scalar}, before"
        columns["after", saliency, scalar, trick] = f"after\n{tricks[trick]}"
    rows = [
        PanelRow(
            name,
            [
                tile(gallery, "image", name),
                *(_map(gallery, cosines, role, name, *made) for role, *made in columns),
                tile(gallery, "picture", ""),
            ],
        )
        for name in names
    ]
    return draw_maps(
        rows,
        folder,
        "examples",
        title="The same map on several images",
        columns=["image", *columns.values(), "picture"],
        footnote=_NOTE,
    )


def _keys(verdicts: pd.DataFrame, *more: str) -> list[tuple[str, ...]]:
    names = ["trick", "saliency", "scalar", *more]
    return list(verdicts[names].astype(str).itertuples(index=False, name=None))


def _map(gallery: Gallery, cosines: Cosines, role: str, *made: str) -> Tile | None:
    """A map with its cosine below."""
    cosine = cosines.get(made)
    return tile(gallery, role, *made, caption="" if cosine is None else f"cos {cosine:.3f}")
