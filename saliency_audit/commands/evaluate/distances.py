"""The distributions of distances to the manifold of images, as in P3 Figure 1."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from saliency_audit.report.charts import Panel, Style, draw_panels, style
from saliency_audit.report.page import SMALL, numbered
from saliency_audit.report.wording import MEAN
from saliency_audit.stats.groups import Values
from saliency_audit.stats.kernel import kernel_density

_CHECK = "manifold-distance"
_POINTS = 400
_FEWEST = 8
"""Values that a distribution is drawn of."""
_CLEAN: Style = {"color": "#444444", "linestyle": (0, (4, 2)), "linewidth": 1.6}
_NOISE: Style = {"linestyle": (0, (1, 1.3)), "linewidth": 1.3, "alpha": 0.75}


def draw_distances(results: pd.DataFrame, summary: pd.DataFrame, folder: Path) -> list[Path]:
    """Distributions of the distances of examples, of noise and of clean images, for all models.

    Args:
        results: rows of ``results.csv``.
        summary: has the medians.
        folder: where to.

    Returns:
        ``manifold-distance.png``; none where fewer than 8 images have each.

    Raises:
        AuditError: the file cannot be written.
    """
    found = _values(results)
    if not found:
        return []
    styles = _styles(found)
    clean = next((own for (check, _), own in found.items() if check.endswith("-clean")), None)
    ends = np.concatenate(list(found.values()))
    low, high = float(ends.min()), float(ends.max())
    room = (high - low) / 8
    across = np.linspace(max(0.0, low - room), high + room, _POINTS)

    def draw(axes: Axes) -> None:
        for (key, own), line in zip(found.items(), styles.values(), strict=True):
            heights = kernel_density(own, across)
            axes.plot(across, heights, **{"linewidth": 1.6, **line})
            if not key[0].endswith("-noise"):
                axes.fill_between(across, heights, color=line["color"], alpha=0.08, linewidth=0)
        axes.set_ylim(bottom=0)
        if clean is not None and clean.max() > clean.min():
            start, span = float(clean.min()), float(clean.max() - clean.min())
            beside = axes.secondary_xaxis(
                "top", functions=(partial(_share, start, span), partial(_distance, start, span))
            )
            beside.set_xlabel("of the clean images: 0 the nearest, 1 the farthest", size=SMALL)
            beside.tick_params(labelsize=SMALL, length=2, color="#999999", labelcolor="#444444")

    examples = next((own for (check, _), own in found.items() if check == _CHECK), None)
    several = "models" if len({model for _, model in found}) > 1 else "the model"
    return [
        draw_panels(
            [
                Panel(
                    draw,
                    x="L2 distance to the projection on the manifold (values in [-1, 1])",
                    y="density",
                )
            ],
            numbered(folder, _CHECK, 0),
            title=f"How far from images do adversarial examples of {several} lie?",
            footnote="Kernel densities (Gaussian, Scott's width) over all clean images, and "
            "over those whose class the attack changed. Below the names: median [95 % bootstrap "
            "interval]. Dotted: noise of the length of each example's change. The upper scale is "
            "that of P3 Figure 1."
            + ("" if examples is not None else " Too few attacks changed the class to be drawn."),
            legend=dict(zip(map(_name, found), styles.values(), strict=True)),
            words={_name(key): _median(summary, *key) for key in found},
            large=True,
        )
    ]


def _share(start: float, span: float, distance: Values) -> Values:
    return (distance - start) / span


def _distance(start: float, span: float, share: Values) -> Values:
    return start + share * span


def _values(results: pd.DataFrame) -> dict[tuple[str, str], Values]:
    """Defined values by check and model: the clean images once, then each model's."""
    good = results[(results["status"] == "ok") & np.isfinite(results["value"].astype(float))]
    found: dict[tuple[str, str], Values] = {}
    for name in (f"{_CHECK}-clean", _CHECK, f"{_CHECK}-noise"):
        of_check = good[good["check"] == name]
        for model, own in of_check.groupby("model", sort=False, observed=True):
            # No model decides where clean images are.
            first = not (name.endswith("-clean") and found)
            if first and len(own) >= _FEWEST:
                found[name, str(model)] = own["value"].to_numpy(float)
    return found


def _styles(found: Mapping[tuple[str, str], object]) -> dict[tuple[str, str], Style]:
    models = list(dict.fromkeys(model for _, model in found))
    looks: dict[tuple[str, str], Style] = {}
    for check, model in found:
        look = dict(style(models.index(model)))
        if check.endswith("-clean"):
            look = dict(_CLEAN)
        elif check.endswith("-noise"):
            look = {"color": look["color"], **_NOISE}
        looks[check, model] = {**look, "marker": ""}
    return looks


def _name(key: tuple[str, str]) -> str:
    check, model = key
    return {"-clean": "clean images", "-noise": f"noise · {model}"}.get(
        check.removeprefix(_CHECK), model
    )


def _median(summary: pd.DataFrame, check: str, model: str) -> str:
    own = summary[(summary["check"] == f"{check}-median") & (summary["model"] == model)]
    return MEAN(dict(own.iloc[0])) if len(own) == 1 else ""
