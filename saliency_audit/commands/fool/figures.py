"""The pictures of ``fool``: maps before and after."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import pandas as pd

from saliency_audit.catalogue.tricks import AIMS, aim_of
from saliency_audit.report.figures import PanelRow, Tile, draw_maps
from saliency_audit.report.gallery import Gallery, images_with, tile

_BEFORE = "stage=before"
_COSINE = "cos: cosine of the map's magnitude with the picture; 1 is the picture itself."
_AVERAGED = "Maps of several colour channels are averaged."
_PICTURE = AIMS["picture"].check
_SHORT = {aim.check: aim.short for aim in AIMS.values()}

Shown = Mapping[tuple[str, ...], float]
"""How much of what is wanted a map shows, by (check, image, saliency, scalar, setting)."""


def short_names(tricks: Iterable[str]) -> dict[str, str]:
    """A name for each setting of a trick: the trick's own, with the options that tell two apart.

    >>> short_names(["trick=loss-sine;eps=0.1", "trick=shift;shift=head", "trick=shift;shift=line"])
    {'trick=loss-sine;eps=0.1': 'loss-sine', 'trick=shift;shift=head': 'shift-head', \
'trick=shift;shift=line': 'shift-line'}
    """
    parts = {setting: setting.split(";") for setting in dict.fromkeys(tricks)}
    names = {}
    for setting, (trick, *options) in parts.items():
        same = [set(others) for name, *others in parts.values() if name == trick]
        own = [option for option in options if not all(option in others for others in same)]
        names[setting] = "-".join(part.split("=")[-1] for part in (trick, *own))
    return names


def draw_trick(
    gallery: Gallery, values: Shown, verdicts: pd.DataFrame, folder: Path, name: str
) -> list[Path]:
    """Every method before and after one trick, on one image.

    Args:
        gallery: the maps.
        values: for the captions.
        verdicts: of this trick.
        folder: where to.
        name: of the trick, and of the first file.

    Returns:
        The files; none without maps to draw.
    """
    rows, drawn = [], ""
    pictured = all(aim_of(trick).check == _PICTURE for trick in verdicts["trick"])
    for trick, saliency, scalar, word in _keys(verdicts, "verdict"):
        for image in images_with(gallery, "after", saliency, scalar, trick)[:1]:
            drawn = drawn or image
            check, made = aim_of(trick).check, (image, saliency, scalar)
            aimed = tile(gallery, "wanted", *made, trick)
            cells = [
                tile(gallery, "image", image, "", "", trick) or tile(gallery, "image", image),
                _map(gallery, values, check, "before", *made, _BEFORE),
                _map(gallery, values, check, "after", *made, trick),
                tile(gallery, "picture", "") if check == _PICTURE else aimed,
            ]
            rows.append(PanelRow(f"{saliency}\n{scalar}", cells, word))
    return draw_maps(
        rows,
        folder,
        name,
        title=f"Saliency maps before and after {name}",
        columns=["image", "map before", "map after", "picture" if pictured else "wanted"],
        footnote=f"Image {drawn}. {_notes(verdicts['trick'])} The coloured word is the verdict "
        "over all images, not this one alone." + gallery.legend,
    )


def draw_examples(
    gallery: Gallery, values: Shown, verdicts: pd.DataFrame, folder: Path
) -> list[Path]:
    """Several images and one map of each, before and after every trick.

    Args:
        gallery: the maps.
        values: for the captions.
        verdicts: of all tricks.
        folder: where to.

    Returns:
        ``examples.png``; none without maps to draw.
    """
    columns: dict[tuple[str, ...], str] = {}
    wanted: dict[str, tuple[str, ...]] = {}
    names: dict[str, None] = {}
    tricks = short_names(verdicts["trick"])
    for _, own in verdicts.groupby("trick", sort=False):
        # The map that most images have; the first of them.
        found = {(t, a, b): images_with(gallery, "after", a, b, t) for t, a, b in _keys(own)}
        trick, saliency, scalar = max(found, key=lambda made: len(found[made]))
        names |= dict.fromkeys(found[trick, saliency, scalar])
        check = aim_of(trick).check
        columns[check, "before", saliency, scalar, _BEFORE] = f"{saliency}\n{scalar}, before"
        columns[check, "after", saliency, scalar, trick] = f"after\n{tricks[trick]}"
        if check == _PICTURE:
            wanted[check] = ()
        elif aim_of(trick).drawn:
            wanted.setdefault(check, (saliency, scalar, trick))
    rows = [
        PanelRow(
            name,
            [
                tile(gallery, "image", name),
                *(
                    _map(gallery, values, check, role, name, *made)
                    for check, role, *made in columns
                ),
                *(
                    tile(gallery, "wanted", name, *made) if made else tile(gallery, "picture", "")
                    for made in wanted.values()
                ),
            ],
        )
        for name in names
    ]
    return draw_maps(
        rows,
        folder,
        "examples",
        title="The same map on several images",
        columns=[
            "image",
            *columns.values(),
            *("wanted" if m else "picture" for m in wanted.values()),
        ],
        footnote=_notes(verdicts["trick"]) + gallery.legend,
    )


def _notes(tricks: Iterable[str]) -> str:
    """What the captions are."""
    aims = {aim_of(trick).check: aim_of(trick) for trick in tricks}
    others = [f"{aim.short}: {aim.says}." for check, aim in aims.items() if check != _PICTURE]
    return " ".join([*([_COSINE] if _PICTURE in aims else []), *others, _AVERAGED])


def _keys(verdicts: pd.DataFrame, *more: str) -> list[tuple[str, ...]]:
    names = ["trick", "saliency", "scalar", *more]
    return list(verdicts[names].astype(str).itertuples(index=False, name=None))


def _map(gallery: Gallery, values: Shown, check: str, role: str, *made: str) -> Tile | None:
    """A map with how much of what is wanted it shows below."""
    value = values.get((check, *made))
    caption = "" if value is None else f"{_SHORT[check]} {value:.3f}"
    return tile(gallery, role, *made, caption=caption)
