"""The pictures of ``fool``: maps before and after, and which of them could be forged."""

from collections.abc import Iterable, Mapping, Sequence
from math import isfinite
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from saliency_audit.report.figures import Cell, PanelRow, draw_maps, draw_table
from saliency_audit.types import Example

ROWS_A_PAGE = 12
_CAPTION_NOTE = (
    "cos: cosine of the map's magnitude with the picture; 1 is the picture itself. "
    "Maps of several colour channels are averaged."
)

Cosines = Mapping[tuple[str, str, str, str], float]
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


class Gallery:
    """The examples of a run, found by what they show.

    Args:
        examples: images, maps and pictures.
        cosines: of maps with the picture, for the captions.
    """

    def __init__(self, examples: Sequence[Example], cosines: Cosines) -> None:
        self._examples = examples
        self._cosines = cosines
        # One sign for the maps of a method, or before and after would differ in colours alone.
        self._signed = {
            (example.saliency, example.scalar) for example in examples if (example.pixels < 0).any()
        }

    def images(self, saliency: str, scalar: str, trick: str) -> list[str]:
        """Names of the images whose map after the trick is there."""
        return [
            example.image
            for example in self._examples
            if example.role == "after"
            and (example.saliency, example.scalar) == (saliency, scalar)
            and _made_by(trick, example.setting)
        ]

    def image(self, name: str) -> Cell | None:
        """An image as it is."""
        found = [e for e in self._examples if e.role == "image" and e.image == name]
        return Cell(found[0].pixels, "image") if found else None

    def picture(self, trick: str) -> Cell | None:
        """The picture that maps were to show."""
        found = [e for e in self._examples if e.role == "picture"]
        of_trick = [e for e in found if _made_by(trick, e.setting)] or found
        return Cell(of_trick[0].pixels, "image") if of_trick else None

    def map(self, role: str, image: str, saliency: str, scalar: str, trick: str) -> Cell | None:
        """The map of an image, before or after a trick."""
        found = [
            example
            for example in self._examples
            if (example.role, example.image) == (role, image)
            and (example.saliency, example.scalar) == (saliency, scalar)
        ]
        of_trick = [example for example in found if _made_by(trick, example.setting)]
        if role == "before":
            of_trick = of_trick or found
        if not of_trick:
            return None
        example = of_trick[0]
        kind: Literal["signed", "unsigned"] = (
            "signed" if (saliency, scalar) in self._signed else "unsigned"
        )
        cosine = self._cosines.get((image, saliency, scalar, example.setting), float("nan"))
        return Cell(example.pixels, kind, f"cos {cosine:.3f}" if isfinite(cosine) else "")


def draw_trick(
    gallery: Gallery, verdicts: pd.DataFrame, trick: str, folder: Path, name: str
) -> list[Path]:
    """Every method before and after one trick, on one image, ``ROWS_A_PAGE`` to a file.

    Args:
        gallery: the maps.
        verdicts: of this trick.
        trick: its setting.
        folder: where to.
        name: of the trick, and of the first file; the others add a number.

    Returns:
        The files; none without maps to draw.
    """
    drawn = [
        (row, image)
        for row in verdicts.itertuples()
        for image in gallery.images(str(row.saliency), str(row.scalar), trick)[:1]
    ]
    if not drawn:
        return []
    picture = gallery.picture(trick)
    rows = [
        PanelRow(
            f"{row.saliency}\n{row.scalar}",
            [
                gallery.image(image),
                gallery.map("before", image, str(row.saliency), str(row.scalar), trick),
                gallery.map("after", image, str(row.saliency), str(row.scalar), trick),
                picture,
            ],
            verdict=str(row.verdict),
        )
        for row, image in drawn
    ]
    pages = [rows[start : start + ROWS_A_PAGE] for start in range(0, len(rows), ROWS_A_PAGE)]
    return [
        draw_maps(
            page,
            folder / (f"{name}-{number}.png" if number > 1 else f"{name}.png"),
            title=f"Saliency maps before and after {name}"
            + (f" ({number} of {len(pages)})" if len(pages) > 1 else ""),
            columns=["image", "map before", "map after", *(["picture"] if picture else [])],
            footnote=f"Image {drawn[0][1]}. {_CAPTION_NOTE} The coloured word is the verdict "
            "over all images, not this one alone.",
        )
        for number, page in enumerate(pages, 1)
    ]


def draw_examples(gallery: Gallery, verdicts: pd.DataFrame, path: Path) -> Path | None:
    """Several images and one map of each, before and after every trick.

    Args:
        gallery: the maps.
        verdicts: of all tricks.
        path: the PNG.

    Returns:
        ``path``; None without maps to draw.
    """
    tricks = short_names(verdicts["trick"])
    columns: list[tuple[str, str, str, str]] = []
    names: dict[str, None] = {}
    for trick, own in verdicts.groupby("trick", sort=False):
        # The map that most images have; the first of them.
        pairs = [(str(row.saliency), str(row.scalar)) for row in own.itertuples()]
        found = [gallery.images(saliency, scalar, str(trick)) for saliency, scalar in pairs]
        saliency, scalar = pairs[max(range(len(pairs)), key=lambda i: len(found[i]))]
        names |= dict.fromkeys(gallery.images(saliency, scalar, str(trick)))
        if not columns or columns[-1][1:3] != (saliency, scalar):
            columns.append(("before", saliency, scalar, str(trick)))
        columns.append(("after", saliency, scalar, str(trick)))
    if not names:
        return None
    picture = gallery.picture(columns[0][3])
    return draw_maps(
        [
            PanelRow(
                name,
                [
                    gallery.image(name),
                    *(
                        gallery.map(role, name, saliency, scalar, trick)
                        for role, saliency, scalar, trick in columns
                    ),
                    picture,
                ],
            )
            for name in names
        ],
        path,
        title="The same map on several images",
        columns=[
            "image",
            *(
                f"{saliency}\n{scalar}, before" if role == "before" else f"after\n{tricks[trick]}"
                for role, saliency, scalar, trick in columns
            ),
            *(["picture"] if picture else []),
        ],
        footnote=_CAPTION_NOTE,
    )


def draw_verdicts(verdicts: pd.DataFrame, path: Path) -> Path:
    """A table of verdicts: methods down, tricks and scalars across.

    Args:
        verdicts: of all tricks, without controls.
        path: the PNG.

    Returns:
        ``path``.
    """
    tricks = short_names(verdicts["trick"])
    named = verdicts.assign(
        column=[
            f"{tricks[trick]}\n{scalar}"
            for trick, scalar in zip(verdicts["trick"], verdicts["scalar"], strict=True)
        ],
        number=[
            f"{before:.2f} → {after:.2f}" if np.isfinite([before, after]).all() else "–"
            for before, after in zip(verdicts["before"], verdicts["after"], strict=True)
        ],
    )
    methods = list(dict.fromkeys(named["saliency"]))
    # All scalars of one trick beside each other, whatever the order of the rows.
    across = [name for _, own in named.groupby("trick", sort=False) for name in own["column"]]
    across = list(dict.fromkeys(across))

    def grid(value: str) -> pd.DataFrame:
        table = named.pivot_table(
            index="saliency", columns="column", values=value, aggfunc="first", fill_value=""
        )
        return table.reindex(index=methods, columns=across, fill_value="")

    return draw_table(
        grid("number"),
        grid("verdict"),
        path,
        title="Which maps can be made to show another picture?",
        footnote="Columns: the trick and the explained scalar. Numbers: mean cosine of the map's "
        "magnitude with the picture, before → after the trick; 1 is the picture itself.",
    )


def _made_by(trick: str, setting: str) -> bool:
    return setting == trick or f"trick={trick}" in setting.split(";")
