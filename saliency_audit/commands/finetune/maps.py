"""The maps of ``finetune`` before and after, and the curves of its checks."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from saliency_audit.catalogue.entries import Check
from saliency_audit.catalogue.methods import CONTROLS
from saliency_audit.commands.evaluate.charts import draw_curves
from saliency_audit.commands.evaluate.columns import controls_last
from saliency_audit.report.figures import PanelRow, Tile, draw_maps
from saliency_audit.report.gallery import gallery_of, of_role, tile_of
from saliency_audit.report.page import numbered, of_pages, pages_of
from saliency_audit.setting import parts_of
from saliency_audit.types import Example

_METHODS, _TILES = 4, 8  # of a page that is still readable
_ROLES = {"before": "before", "swapped": "softplus alone", "after": "after"}
_CONTROL = "random"
_CAPTION = 20  # characters


def draw_before_after(examples: Sequence[Example], folder: Path) -> list[Path]:
    """The first images with every method's map before and after, and the random map once.

    Args:
        examples: roles "image" (setting ``label=...``), "before", "swapped" and "after"
            (``class=...``).
        folder: where to.

    Returns:
        ``before-after.png`` and further pages for many methods; none without maps.

    Raises:
        AuditError: a file cannot be written.
    """
    gallery = gallery_of(examples)
    images = {one.image: one for one in of_role(gallery, "image")}
    maps = {
        (role, one.image, one.saliency): one for role in _ROLES for one in of_role(gallery, role)
    }
    names = [name for name in images if any(image == name for _, image, _ in maps)]
    methods = [
        name for name in controls_last(method for *_, method in maps) if name not in CONTROLS
    ]
    roles = list(dict.fromkeys(role for role, *_ in maps))
    control = [(roles[-1], _CONTROL)] if any(method == _CONTROL for *_, method in maps) else []
    pages = [
        [*((role, method) for method in page for role in roles), *control]
        for page in pages_of(methods, min(_METHODS, _TILES // max(1, len(roles))))
    ]
    classed = any("class" in parts_of(one.setting) for one in maps.values())
    classes = " Below: of the image its label, of a map the class it explains." if classed else ""

    def shown(role: str, name: str, method: str) -> Tile | None:
        found = maps.get((role, name, method))
        of_class = parts_of(found.setting).get("class", "") if found else ""
        return tile_of(gallery, found, "" if method == _CONTROL else of_class)

    return [
        path
        for i, page in enumerate(pages)
        for path in draw_maps(
            [
                PanelRow(
                    name,
                    [
                        tile_of(gallery, images[name], _label(images[name])),
                        *(shown(role, name, method) for role, method in page),
                    ],
                )
                for name in names
            ],
            folder,
            "before-after",
            title="The maps before and after training" + of_pages(i, len(pages)),
            columns=[
                "image",
                *(
                    f"{method}\n(control)" if method == _CONTROL else f"{method}\n{_ROLES[role]}"
                    for role, method in page
                ),
            ],
            footnote="Maps of several colour channels are averaged, each in its own range: how "
            "strong a gradient is cannot be seen here, and cleaner is not truer. The random map "
            "sees no model." + classes,
            most=len(names),
            start=i,
        )
    ]


def draw_both(
    curves: pd.DataFrame, summary: pd.DataFrame, folder: Path, *, checks: Mapping[str, Check]
) -> dict[str, Path]:
    """Curves before and after in one chart, beside those of the random map on both models.

    Args:
        curves: ``model,saliency,check,x,mean,ci_low,ci_high,n``; the model after comes last.
        summary: of `summarise`, for the means in the legend.
        folder: where to.
        checks: for directions and bounds.

    Returns:
        The files by what they show, a check and a method each; none without curves.

    Raises:
        AuditError: a file cannot be written.
    """
    drawn: dict[str, Path] = {}
    names = list(dict.fromkeys(summary["model"]))
    role = {names[0]: "before", names[-1]: "after"} if names else {}
    for check in dict.fromkeys(curves["check"]):
        own, means = (_called(frame[frame["check"] == check], role) for frame in (curves, summary))
        methods = [name for name in controls_last(own["method"]) if name not in CONTROLS]
        for i, method in enumerate(methods):
            drawn[f"{check} of {method}"] = draw_curves(
                _beside(own, method),
                _beside(means, method),
                numbered(folder, check, i),
                name=check,
                check=checks.get(check),
            )
    return drawn


def _called(frame: pd.DataFrame, role: Mapping[str, str]) -> pd.DataFrame:
    """Lines named after method and model."""
    frame = frame[frame["model"].isin(role)]
    named = frame["saliency"] + " " + frame["model"].map(role)
    return frame.assign(method=frame["saliency"], saliency=named)


def _beside(frame: pd.DataFrame, method: str) -> pd.DataFrame:
    """The lines of a method, then those of the control."""
    return pd.concat([frame[frame["method"] == name] for name in (method, _CONTROL)])


def _label(image: Example) -> str:
    label = parts_of(image.setting).get("label", "")
    return f"label: {label}" if label and len(label) < _CAPTION - 6 else label
