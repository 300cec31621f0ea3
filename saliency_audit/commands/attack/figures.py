"""The pictures of ``attack``: the worst images with their maps, and how far maps moved."""

from collections.abc import Iterable
from functools import partial
from math import inf, nan
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from saliency_audit.commands.attack.tables import (
    SIMILARITY,
    attack_within,
    budget,
    by_evolution,
    several_scalars,
    size,
)
from saliency_audit.report.charts import Panel, Style, draw_dots, draw_panels, style
from saliency_audit.report.figures import PanelRow, Tile, draw_maps
from saliency_audit.report.gallery import Gallery, images_with, tile
from saliency_audit.report.page import shorten
from saliency_audit.report.wording import is_number, number
from saliency_audit.setting import parts_of

Made = tuple[str, str, str]
"""Saliency, scalar and setting that an image was made against."""
Values = dict[tuple[str, str, str, str, str], float]
"""Values of single images by check, image, saliency, scalar and setting."""

COLUMNS = (
    "image",
    "attacked image",
    "difference × 10",
    "map",
    "map of the\nattacked image",
    "wanted map",
)
_WORST = 4  # as many as every run keeps
_FRAGILE_FIRST = ("fragile", "shifted", "steady")
_NOISE: Style = {"color": "#8c8c8c", "marker": "o", "markerfacecolor": "white"}
_WORST_NOISE: Style = {**_NOISE, "marker": "d"}
_EVOLUTION: Style = {"color": "#222222", "marker": "^", "markerfacecolor": "white"}
_CHANCE: Style = {"color": "#555555", "linestyle": "--", "linewidth": 1.0}
_WORST_CASE = "worst-case"
_ENDS = ("", "_low", "_high")
_TERMS = {
    "map-term": "distance to the wanted map",
    "prediction-term": "change of the probabilities",
}


def pixels_compared(verdicts: pd.DataFrame) -> str:
    """Which pixels the similarity is of: their share is the chance level.

    >>> pixels_compared(pd.DataFrame({"chance": [float("nan"), 0.0204]}))
    '2 % most salient pixels'
    """
    known = [chance for chance in verdicts["chance"] if is_number(chance)]
    return f"{100 * known[0]:.2g} % most salient pixels" if known else "most salient pixels"


def values_of(gallery: Gallery, results: pd.DataFrame) -> Values:
    """What captions need to know of the images that are drawn."""
    keys = list(gallery.found)
    shown = results[
        (results["status"] == "ok")
        & results["check"].isin([SIMILARITY, "prediction-kept", "attack-success", "linf-distance"])
        & results["setting"].isin({setting for role, *_, setting in keys if role == "attacked"})
        & results["image"].isin({image for _, image, *_ in keys})
    ]
    names = ["check", "image", "saliency", "scalar", "setting"]
    found = map(tuple, shown[names].itertuples(index=False))
    return dict(zip(found, shown["value"].astype(float), strict=True))


def worst(gallery: Gallery, values: Values, made: Made) -> list[str]:
    """Names of the images whose attacked image is there, that with the least left first."""
    known = {
        image: values.get((SIMILARITY, image, *made), nan)
        for image in images_with(gallery, "attacked", *made)
    }
    return sorted(known, key=lambda image: known[image] if is_number(known[image]) else inf)


def tiles(gallery: Gallery, values: Values, image: str, made: Made) -> list[Tile | None]:
    """An image, the attacked image, their difference, both maps and the wanted one."""
    clean = tile(gallery, "image", image, caption=shorten(image, 20))
    attacked = tile(gallery, "attacked", image, *made, caption=_outcome(values, image, made))
    left = values.get((SIMILARITY, image, *made))
    kept = "" if left is None else f"kept {number(left)}"
    return [
        clean,
        attacked,
        _difference(clean, attacked),
        tile(gallery, "before", image, *made),
        tile(gallery, "after", image, *made, caption=kept),
        tile(gallery, "target", image, *made),
    ]


def _outcome(values: Values, image: str, made: Made) -> str:
    """What became of the prediction, and how far the image is from the clean one."""
    _, scalar, setting = made
    own = {
        check: values.get((check, image, "", scalar, setting), nan)
        for check in ("attack-success", "prediction-kept", "linf-distance")
    }
    if own["attack-success"] == 0:
        return "no such image found"
    word = {1.0: "prediction kept", 0.0: "prediction changed"}.get(own["prediction-kept"], "")
    far = own["linf-distance"]
    return ", ".join(filter(None, (word, f"±{255 * far:.3g}/255" if is_number(far) else "")))


def _difference(clean: Tile | None, attacked: Tile | None) -> Tile | None:
    """The attacked image minus the clean one, ten times, around grey."""
    if clean is None or attacked is None or clean.pixels.shape != attacked.pixels.shape:
        return None
    return Tile(np.clip(0.5 + 10 * (attacked.pixels - clean.pixels), 0, 1), "image")


def draw_attack(
    gallery: Gallery, values: Values, verdicts: pd.DataFrame, folder: Path, name: str
) -> list[Path]:
    """The worst image of every method under one attack.

    Args:
        gallery: the images and maps.
        values: for the captions.
        verdicts: of this attack under one budget.
        folder: where to.
        name: of the attack, and of the first file.

    Returns:
        The files; none without images to draw.

    Raises:
        AuditError: a file cannot be written.
    """
    several = several_scalars(verdicts)
    return draw_maps(
        [
            PanelRow("\n".join(made[: 1 + several]), tiles(gallery, values, image, made), str(word))
            for made, word in zip(_made(verdicts), verdicts["verdict"], strict=True)
            for image in worst(gallery, values, made)[:1]
        ],
        folder,
        name,
        title=f"{attack_within(verdicts['setting'].iloc[0])}: the worst image of each method",
        columns=COLUMNS,
        footnote=_note(verdicts)
        + " The coloured word is the verdict over all images, not this one alone."
        + gallery.legend,
    )


def most_fragile(gallery: Gallery, verdicts: pd.DataFrame) -> Made | None:
    """Method, scalar and setting of the worst verdict that has images to show.

    Args:
        gallery: the images.
        verdicts: of all attacks.
    """
    found = [
        (_FRAGILE_FIRST.index(word), similarity, made)
        for made, word, similarity in zip(
            _made(verdicts), verdicts["verdict"], verdicts["similarity"], strict=True
        )
        if images_with(gallery, "attacked", *made)
        and word in _FRAGILE_FIRST
        and is_number(similarity)
    ]
    return min(found)[-1] if found else None


def draw_worst(
    gallery: Gallery, values: Values, verdicts: pd.DataFrame, made: Made, folder: Path
) -> list[Path]:
    """The images whose map moved most, worst first.

    Args:
        gallery: the images and maps.
        values: for the captions.
        verdicts: of all attacks.
        made: method, scalar and setting; it has images.
        folder: where to.

    Returns:
        ``worst.png``.

    Raises:
        AuditError: the file cannot be written.
    """
    names = worst(gallery, values, made)[:_WORST]
    return draw_maps(
        [
            PanelRow(f"worst image\n{i} of {len(names)}", tiles(gallery, values, image, made))
            for i, image in enumerate(names, 1)
        ],
        folder,
        "worst",
        title=f"{made[0]} of {made[1]} under {attack_within(made[2])}: the worst images",
        columns=COLUMNS,
        footnote=_note(verdicts) + gallery.legend,
    )


def draw_similarity(verdicts: pd.DataFrame, path: Path) -> Path | None:
    """What is left of each map under each attack, beside noise: dots with their intervals.

    Args:
        verdicts: of all attacks; a panel for each budget, a row for each method and scalar.
        path: the PNG.

    Returns:
        ``path``; None where nothing is defined.

    Raises:
        AuditError: the file cannot be written.
    """
    if not verdicts["similarity"].map(is_number).any():
        return None
    several = several_scalars(verdicts)
    maps = list(dict.fromkeys(zip(verdicts["saliency"], verdicts["scalar"], strict=True)))
    labels = ["\n".join(shorten(name, 24) for name in one[: 1 + several]) for one in maps]
    looks = {attack: style(i) for i, attack in enumerate(dict.fromkeys(verdicts["attack"]))}
    chance = next(filter(is_number, verdicts["chance"]), None)
    called = dict(zip(verdicts["attack"], verdicts["setting"].map(by_evolution), strict=True))
    legend = {attack + called[attack]: look for attack, look in looks.items()}
    if "evolution" in verdicts and verdicts["evolution"].notna().any():
        legend["by evolution"] = _EVOLUTION
    legend["noise of the same size"] = _NOISE
    if _WORST_CASE in looks:
        legend["worst draw of noise"] = _WORST_NOISE
    if chance is not None:
        legend[f"chance ({number(chance)})"] = _CHANCE
    budgets = {
        budget(setting): verdicts[verdicts["setting"].map(budget) == budget(setting)]
        for setting in sorted(verdicts["setting"], key=size)
    }

    def draw(axes: Axes, own: pd.DataFrame) -> None:
        axes.set(xlim=(-0.03, 1.03), ylim=(len(maps), 0), xticks=np.linspace(0, 1, 6))
        axes.set_yticks(np.arange(len(maps)) + 0.5, labels)
        axes.grid(visible=False, axis="y")
        for i, (saliency, scalar) in enumerate(maps):
            if i % 2:
                axes.axhspan(i, i + 1, color="#f4f5f7", linewidth=0, zorder=0)
            mine = own[(own["saliency"] == saliency) & (own["scalar"] == scalar)]
            marks = _marks(mine, looks)
            draw_dots(
                axes, [(look, i + k / (len(marks) + 1), m) for k, (look, m) in enumerate(marks, 1)]
            )
        if chance is not None:
            axes.axvline(chance, zorder=1, **_CHANCE)

    return draw_panels(
        [
            Panel(
                partial(draw, own=own),
                allowed if allowed == "no budget" else f"within {allowed}",
                f"share of the {pixels_compared(verdicts)} that stay",
            )
            for allowed, own in budgets.items()
        ],
        path,
        title="How much of each map is left?",
        footnote="Means over images with 95 % intervals, of the method that the image was made "
        "against. 1: the attack moved nothing. Without a mark: undefined, or not tried.",
        legend=legend,
        across=min(4, len(budgets) + 1),
        width=3.4,
        height=0.9 + len(maps) * (0.2 + 0.13 * (len(looks) + 1)),
    )


def _marks(own: pd.DataFrame, looks: dict[str, Style]) -> list[tuple[Style, list[Any]]]:
    """The means of one method under one budget, noise last."""

    def ends(lines: Iterable[Any], name: str) -> list[list[Any]]:
        return [[line[name + end] for end in _ENDS] for line in lines]

    lines = own.to_dict("records")
    marks = [
        (looks[line["attack"]], mark)
        for line, mark in zip(lines, ends(lines, "similarity"), strict=True)
    ]
    if "evolution" in own:
        crossed = own[own["evolution"].notna()].to_dict("records")
        marks += [(_EVOLUTION, mark) for mark in ends(crossed, "evolution")]
    for look, at_worst in ((_NOISE, False), (_WORST_NOISE, True)):
        beside = own[(own["attack"] == _WORST_CASE) == at_worst]
        noise = beside[["control", "control_low", "control_high"]].drop_duplicates()
        marks += [(look, mark) for mark in ends(noise.to_dict("records"), "control")]
    return marks


def draw_terms(summary: pd.DataFrame, path: Path) -> Path | None:
    """The two terms that the structured attack makes small, by step.

    Args:
        summary: of `summarise`.
        path: the PNG.

    Returns:
        ``path``; None without such terms.

    Raises:
        AuditError: the file cannot be written.
    """
    rows = summary[summary["check"].isin(list(_TERMS))]
    rows = rows.assign(
        step=[float(parts_of(setting).get("step", "nan")) for setting in rows["setting"]],
        series=_series(rows),
        mean=pd.to_numeric(rows["mean"]),
    )
    # A logarithm shows nothing of zero.
    rows = rows[(rows["mean"] > 0) & rows["step"].notna()].sort_values("step", kind="stable")
    if not len(rows):
        return None
    legend = {name: style(i) for i, name in enumerate(dict.fromkeys(rows["series"]))}

    def draw(axes: Axes, check: str) -> None:
        axes.set_yscale("log")
        for series, own in rows[rows["check"] == check].groupby("series", sort=False):
            few = len(own) < 30
            line = {**legend[str(series)], **({} if few else {"marker": ""})}
            axes.plot(own["step"], own["mean"], linewidth=1.5, markersize=4, **line)

    return draw_panels(
        [Panel(partial(draw, check=check), name, "step") for check, name in _TERMS.items()],
        path,
        title="What the structured attack made smaller, step by step",
        footnote="Means over images, logarithmic. The sum of both is what is made smaller.",
        legend=legend,
        height=2.9,
    )


def _series(rows: pd.DataFrame) -> list[str]:
    """What a line of the terms is of: method, and scalar and budget where there are several."""
    several = rows["scalar"].nunique() > 1
    budgets = rows["setting"].map(budget)
    return [
        parts_of(setting).get("attacked", "")
        + (f" of {scalar}" if several else "")
        + (f", {allowed}" if budgets.nunique() > 1 else "")
        for setting, scalar, allowed in zip(rows["setting"], rows["scalar"], budgets, strict=True)
    ]


def _made(verdicts: pd.DataFrame) -> list[Made]:
    names = ["saliency", "scalar", "setting"]
    return list(verdicts[names].astype(str).itertuples(index=False, name=None))


def _note(verdicts: pd.DataFrame) -> str:
    return (
        "Difference: attacked image minus image, ten times; grey is no change. Kept: how "
        f"many of the map's {pixels_compared(verdicts)} are still among those of the attacked "
        "image's map; 1 is all of them. Maps of several colour channels are averaged."
    )
