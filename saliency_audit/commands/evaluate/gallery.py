"""The maps of ``evaluate``, and the images and maps that its metrics made on their way."""

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from saliency_audit.commands.evaluate.columns import controls_last
from saliency_audit.commands.evaluate.figures import numbered, of_pages, pages_of
from saliency_audit.report.figures import Cell, PanelRow, colours, draw_maps
from saliency_audit.report.page import shorten
from saliency_audit.setting import parts_of
from saliency_audit.types import Example

_ROWS, _STAGES = 12, 7  # of a page that is still readable
_NAME = 17  # characters above a picture
_RANGES = "Maps of several colour channels are averaged."


def draw_gallery(examples: Sequence[Example], folder: Path) -> list[Path]:
    """The first images and every method's map of them, a column for each image.

    Args:
        examples: images and maps; of several models, the first one's are drawn.
        folder: where to.

    Returns:
        ``maps.png`` and further pages; none without maps.

    Raises:
        AuditError: a file cannot be written.
    """
    found = _Found(examples)
    names = found.names("map")
    rows = [
        PanelRow(saliency, [found.map(name, saliency) for name in names])
        for saliency in controls_last(found.saliencies("map"))
    ]
    images = PanelRow("image", [found.image(name) for name in names])
    pages = pages_of(rows, _ROWS)
    return [
        draw_maps(
            [images, *page],
            numbered(folder, "maps", i),
            title="The maps" + of_pages(i, len(pages)),
            columns=[shorten(name, _NAME) for name in names],
            footnote=f"{_RANGES} random and sobel see no model.",
        )
        for i, page in enumerate(pages)
    ]


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
    return _draw_steps(
        _Found(examples),
        "perturbed",
        folder,
        title="What the model was shown",
        first="image",
        footnote=lambda shown, _: _of_steps(list(shown), fills or {}),
    )


def draw_randomised(examples: Sequence[Example], folder: Path) -> list[Path]:
    """Maps of the first image as more of the model's weights are random, a row for each method.

    Args:
        examples: with the role "randomised".
        folder: where to.

    Returns:
        ``randomised.png`` and further pages; none without such maps.

    Raises:
        AuditError: a file cannot be written.
    """
    return _draw_steps(
        _Found(examples),
        "randomised",
        folder,
        title="The map as weights are drawn at random",
        first="given model",
        footnote=lambda _, rows: (
            f"{_RANGES} A map that looks the same in the last column does not need what the model "
            "has learned."
            + (
                " Grey: the map shows nothing."
                if any(cell and colours(cell) is None for row in rows for cell in row.cells)
                else ""
            )
        ),
    )


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


class _Found:
    """Examples by what they show, the first model's where there are several."""

    def __init__(self, examples: Sequence[Example]) -> None:
        self._kept: dict[tuple[str, str, str, str], Example] = {}
        for example in examples:
            key = (example.role, example.image, example.saliency, example.setting)
            self._kept.setdefault(key, example)
        # One kind of colours for all maps of a method.
        self._signed = {
            example.saliency
            for example in examples
            if example.role in ("map", "randomised") and (example.pixels < 0).any()
        }

    def of(self, role: str) -> list[Example]:
        return [example for (kind, *_), example in self._kept.items() if kind == role]

    def names(self, role: str) -> list[str]:
        return list(dict.fromkeys(example.image for example in self.of(role)))

    def saliencies(self, role: str) -> list[str]:
        return list(dict.fromkeys(example.saliency for example in self.of(role)))

    def image(self, name: str) -> Cell | None:
        found = self._kept.get(("image", name, "", ""))
        return Cell(found.pixels, "image") if found else None

    def map(self, name: str, saliency: str) -> Cell | None:
        found = self._kept.get(("map", name, saliency, ""))
        return self.shown(found) if found else None

    def shown(self, example: Example) -> Cell:
        kind: Literal["image", "signed", "unsigned"] = (
            "image"
            if example.role == "perturbed"
            else "signed"
            if example.saliency in self._signed
            else "unsigned"
        )
        return Cell(example.pixels, kind)


def _draw_steps(
    found: _Found,
    role: str,
    folder: Path,
    *,
    title: str,
    first: str,
    footnote: Callable[[Collection[str], Sequence[PanelRow]], str],
) -> list[Path]:
    """Rows of a method under a metric, columns of its steps; metrics with equal steps together.

    ``footnote`` is of the metrics and the rows of a page.
    """
    steps: dict[tuple[str, str], dict[str, Example]] = {}
    for example in found.of(role):
        check, _, step = example.setting.removeprefix("check=").partition(";")
        steps.setdefault((check, example.saliency), {})[step] = example
    order = controls_last(found.saliencies(role))
    groups: dict[tuple[str, ...], list[tuple[str, PanelRow]]] = {}
    every: dict[str, dict[str, None]] = {}
    for (check, _), own in steps.items():
        every.setdefault(check, {}).update(dict.fromkeys(own))
    only = f": {next(iter(every))}" if len(every) == 1 else ""
    for check, saliency in sorted(
        steps, key=lambda key: (list(every).index(key[0]), order.index(key[1]))
    ):
        across = tuple(_some(list(every[check])))
        own = steps[check, saliency]
        name = next(iter(own.values())).image
        start = found.image(name) if first == "image" else found.map(name, saliency)
        label = saliency if only else f"{saliency}\n{check}"
        cells = [found.shown(own[step]) if step in own else None for step in across]
        groups.setdefault(across, []).append((check, PanelRow(label, [start, *cells])))
    pages = [(across, page) for across, rows in groups.items() for page in pages_of(rows, _ROWS)]
    image = next(iter(found.names(role)), "")
    return [
        draw_maps(
            [row for _, row in page],
            numbered(folder, role, i),
            title=title + only + of_pages(i, len(pages)),
            columns=[first, *map(_step, across)],
            footnote=f"Image {image}. "
            + footnote(dict.fromkeys(check for check, _ in page), [row for _, row in page]),
        )
        for i, (across, page) in enumerate(pages)
    ]


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


def _some(steps: list[str]) -> list[str]:
    """At most ``_STAGES`` of them, evenly, the last one always."""
    if len(steps) <= _STAGES:
        return steps
    return [steps[round(i)] for i in np.linspace(0, len(steps) - 1, _STAGES)]
