"""The maps of ``finetune`` before and after, and the curves of its checks."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from saliency_audit.catalogue.entries import Check
from saliency_audit.catalogue.methods import CONTROLS
from saliency_audit.commands.evaluate.charts import draw_curves
from saliency_audit.commands.evaluate.columns import controls_last
from saliency_audit.commands.evaluate.figures import numbered, of_pages, pages_of
from saliency_audit.report.figures import Cell, PanelRow, draw_maps
from saliency_audit.setting import parts_of
from saliency_audit.types import Example

_METHODS = 4  # of a page that is still readable
_CONTROL = "random"
_CAPTION = 20  # characters


def draw_before_after(examples: Sequence[Example], folder: Path) -> list[Path]:
    """The first images with every method's map before and after, and the random map once.

    Args:
        examples: roles "image" (setting ``label=...``), "before" and "after" (``class=...``).
        folder: where to.

    Returns:
        ``before-after.png`` and further pages for many methods; none without maps.

    Raises:
        AuditError: a file cannot be written.
    """
    images = {one.image: one for one in examples if one.role == "image"}
    maps = {
        (one.role, one.image, one.saliency): one
        for one in examples
        if one.role in ("before", "after")
    }
    names = [name for name in images if any(image == name for _, image, _ in maps)]
    methods = [
        name for name in controls_last(method for *_, method in maps) if name not in CONTROLS
    ]
    signed = {one.saliency for one in maps.values() if (one.pixels < 0).any()}
    roles = [role for role in ("before", "after") if any(key[0] == role for key in maps)]
    shown = [
        [(role, method) for method in page for role in roles]
        for page in pages_of(methods, _METHODS)
    ]
    if any(method == _CONTROL for *_, method in maps):
        for page in shown:
            page.append((roles[-1], _CONTROL))
    classed = any("class" in parts_of(one.setting) for one in maps.values())
    classes = " Below: of the image its label, of a map the class it explains." if classed else ""

    def cell(role: str, name: str, method: str) -> Cell | None:
        found = maps.get((role, name, method))
        if found is None:
            return None
        explained = parts_of(found.setting).get("class", "") if method != _CONTROL else ""
        return Cell(found.pixels, "signed" if method in signed else "unsigned", explained)

    return [
        draw_maps(
            [
                PanelRow(
                    name,
                    [
                        Cell(images[name].pixels, "image", _label(images[name])),
                        *(cell(role, name, method) for role, method in page),
                    ],
                )
                for name in names
            ],
            numbered(folder, "before-after", i),
            title="The maps before and after training" + of_pages(i, len(shown)),
            columns=[
                "image",
                *(
                    f"{method}\n(control)" if method == _CONTROL else f"{method}\n{role}"
                    for role, method in page
                ),
            ],
            footnote="Maps of several colour channels are averaged, each in its own range: how "
            "strong a gradient is cannot be seen here, and cleaner is not truer. The random map "
            "sees no model." + classes,
        )
        for i, page in enumerate(shown)
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
