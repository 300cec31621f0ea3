"""The maps of ``evaluate``, and the images and maps that its metrics made on their way."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from saliency_audit.commands.evaluate.columns import controls_last
from saliency_audit.report.figures import PanelRow, Tile, View, colours, draw_maps
from saliency_audit.report.gallery import Gallery, gallery_of, of_role, tile, tile_of
from saliency_audit.report.page import OVER_A_PICTURE, shorten
from saliency_audit.setting import parts_of
from saliency_audit.types import Example

_STAGES = 7  # of a page that is still readable
_RANGES = "Maps of several colour channels are averaged."


def draw_gallery(
    examples: Sequence[Example],
    folder: Path,
    said: Mapping[str, str] | None = None,
    view: View = "",
) -> list[Path]:
    """The first images and every method's map of them, a column for each image.

    Args:
        examples: images and maps; of several models, the first one's are drawn.
        folder: where to.
        said: by image, the class that its maps explain.
        view: how maps are scaled, see `colours`.

    Returns:
        ``maps.png`` and further pages; none without maps.

    Raises:
        AuditError: a file cannot be written.
    """
    gallery = gallery_of(examples, said, view)
    maps = _maps(gallery)
    names = list(dict.fromkeys(image for image, _ in maps))
    return draw_maps(
        [
            PanelRow(saliency, [tile_of(gallery, maps.get((image, saliency))) for image in names])
            for saliency in controls_last(saliency for _, saliency in maps)
        ],
        folder,
        "maps",
        title="The maps",
        columns=[shorten(name, OVER_A_PICTURE) for name in names],
        footnote=f"{_RANGES} random and sobel see no model.{gallery.legend}",
        first=PanelRow("image", [tile(gallery, "image", name) for name in names]),
    )


def draw_perturbed(
    examples: Sequence[Example], folder: Path, *, fills: Mapping[str, str] | None = None
) -> list[Path]:
    """What the model was shown of the first image, a row for each method and metric.

    Args:
        examples: with the role "perturbed".
        folder: where to.
        fills: what each metric replaces pixels by, where that is known.

    Returns:
        ``perturbed.png`` and further pages; none without such pictures.

    Raises:
        AuditError: a file cannot be written.
    """
    gallery = gallery_of(examples)
    return _draw_steps(
        gallery,
        "perturbed",
        folder,
        title="What the model was shown",
        first="image",
        start=lambda example: tile(gallery, "image", example.image),
        footnote=lambda checks, _: _of_steps(checks, fills or {}),
    )


def draw_patched(examples: Sequence[Example], folder: Path, view: View = "") -> list[Path]:
    """The first image with its patch, and every method's map of it.

    Args:
        examples: with the roles "patched" and "patched-map".
        folder: where to.
        view: how maps are scaled, see `colours`.

    Returns:
        ``patched.png`` and further pages; none without such maps.

    Raises:
        AuditError: a file cannot be written.
    """
    gallery = gallery_of(examples, view=view)
    maps = {example.saliency: example for example in of_role(gallery, "patched-map")}
    images = of_role(gallery, "patched")
    return draw_maps(
        [PanelRow(name, [tile_of(gallery, maps[name])]) for name in controls_last(maps)],
        folder,
        "patched",
        title="Maps whose right answer is the patch",
        columns=[shorten(image.image, OVER_A_PICTURE) for image in images[:1]],
        footnote=f"{_RANGES} The patch alone decides the class, to the copy.",
        first=PanelRow("image", [tile_of(gallery, image) for image in images[:1]]),
    )


def draw_randomised(examples: Sequence[Example], folder: Path, view: View = "") -> list[Path]:
    """Maps of the first image as more of the model's weights are random, a row for each method.

    Args:
        examples: with the role "randomised".
        folder: where to.
        view: how maps are scaled, see `colours`.

    Returns:
        ``randomised.png`` and further pages; none without such maps.

    Raises:
        AuditError: a file cannot be written.
    """
    gallery = gallery_of(examples, view=view)
    maps = _maps(gallery)
    return _draw_steps(
        gallery,
        "randomised",
        folder,
        title="The map as weights are drawn at random",
        first="given model",
        start=lambda example: tile_of(gallery, maps.get((example.image, example.saliency))),
        footnote=lambda _, rows: (
            f"{_RANGES} A map that looks the same in the last column does "
            "not need what the model has learned."
            + (" Grey: the map shows nothing." if any(map(_shows_nothing, rows)) else "")
        ),
    )


def _shows_nothing(row: PanelRow) -> bool:
    return any(cell and colours(cell) is None for cell in row.cells)


def _maps(gallery: Gallery) -> dict[tuple[str, str], Example]:
    """Maps by image and method."""
    return {(e.image, e.saliency): e for e in of_role(gallery, "map")}


def _of_steps(shown: Sequence[str], fills: Mapping[str, str]) -> str:
    """What pixels were replaced by, and what to look for, of the metrics of one picture.

    >>> _of_steps(["preservation"], {"preservation": "model-mean"}).split(". ")[0]
    'What each map had replaced by model-mean on the way along the curve'
    >>> _of_steps(["aopc", "insertion"], {"aopc": "noise", "insertion": "blur"}).split(". ")[1]
    'Replaced by noise (aopc), blur (insertion).'
    """
    known = {check: fills[check] for check in shown if check in fills}
    alike = len(known) == len(shown) and len(set(known.values())) == 1
    by = f" by {known[shown[0]]}" if alike else ""
    returned = ", or returned," if "insertion" in shown else ""
    each = ", ".join(f"{fill} ({check})" for check, fill in known.items())
    told_apart = f" Replaced by {each}." if known and not alike else ""
    hints = {
        "deletion": "loses the object at once under deletion",
        "preservation": "keeps it to the end under preservation"
        if "deletion" in shown
        else "keeps the object to the end under preservation",
    }
    told = " and ".join(hint for check, hint in hints.items() if check in shown)
    hint = f" A map that tells what the model uses {told}." if told else ""
    return f"What each map had replaced{by}{returned} on the way along the curve.{told_apart}{hint}"


def _draw_steps(
    gallery: Gallery,
    role: str,
    folder: Path,
    *,
    title: str,
    first: str,
    start: Callable[[Example], Tile | None],
    footnote: Callable[[Sequence[str], Sequence[PanelRow]], str],
) -> list[Path]:
    """Rows of a method under a metric, columns of its steps; metrics with equal steps together.

    ``footnote`` is of the metrics and the rows of a picture.
    """
    found: dict[str, dict[str, dict[str, Example]]] = {}
    for example in of_role(gallery, role):
        check, _, step = example.setting.removeprefix("check=").partition(";")
        found.setdefault(check, {}).setdefault(example.saliency, {})[step] = example
    groups: dict[tuple[str, ...], list[str]] = {}
    for check, own in found.items():
        groups.setdefault(tuple(_some(own.values())), []).append(check)
    only = f": {next(iter(found))}" if len(found) == 1 else ""
    drawn: list[Path] = []
    for steps, checks in groups.items():
        lines = [
            (check, saliency, found[check][saliency])
            for check in checks
            for saliency in controls_last(found[check])
        ]
        rows = [
            PanelRow(
                saliency if only else f"{saliency}\n{check}",
                [
                    start(next(iter(own.values()))),
                    *(tile_of(gallery, own.get(step)) for step in steps),
                ],
            )
            for check, saliency, own in lines
        ]
        image = next(iter(lines[0][-1].values())).image
        drawn += draw_maps(
            rows,
            folder,
            role,
            title=title + (only or f": {', '.join(checks)}"),
            columns=[first, *map(_step, steps)],
            footnote=f"Image {image}. {footnote(checks, rows)}",
            start=len(drawn),
        )
    return drawn


def _step(setting: str) -> str:
    """A step for people.

    >>> _step("removed=0.25"), _step("randomised=3/99"), _step("randomised=all"), _step("k=1")
    ('25 % replaced', '3 of 99 layers random', 'all layers random', 'k=1')
    """
    (key, value), *_ = parts_of(setting).items() or [("", setting)]
    words = {"removed": "replaced", "returned": "returned"}
    if key in words:
        return f"{100 * float(value):.3g} % {words[key]}"
    if key == "randomised":
        many = value == "all" or "/" in value
        return f"{value.replace('/', ' of ')}{' layers' if many else ''} random"
    return setting


def _some(lines: Iterable[Mapping[str, Example]]) -> list[str]:
    """The steps of all methods, at most ``_STAGES``, evenly, the last one always."""
    steps = list(dict.fromkeys(step for own in lines for step in own))
    if len(steps) <= _STAGES:
        return steps
    return [steps[round(i)] for i in np.linspace(0, len(steps) - 1, _STAGES)]
