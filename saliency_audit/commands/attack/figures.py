"""The pictures of ``attack``: the worst images with their maps, and the verdicts at a glance."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from math import inf, nan
from pathlib import Path
from typing import Any

import pandas as pd

from saliency_audit.commands.attack.gallery import COLUMNS, AttackGallery, Made, budget, size
from saliency_audit.report.figures import PanelRow, draw_maps, draw_table
from saliency_audit.report.wording import is_number, number

ROWS_A_PAGE = 12
_WORST = 4  # as many as every run keeps
_ACROSS = 7  # columns of verdicts that a page is wide enough for
_FRAGILE_FIRST = ("fragile", "shifted", "steady")


def pixels_compared(verdicts: pd.DataFrame) -> str:
    """Which pixels the similarity is of: their share is the chance level.

    >>> pixels_compared(pd.DataFrame({"chance": [float("nan"), 0.0204]}))
    '2 % most salient pixels'
    """
    known = [chance for chance in verdicts["chance"] if is_number(chance)]
    return f"{100 * known[0]:.2g} % most salient pixels" if known else "most salient pixels"


def described(setting: str) -> str:
    """An attack and its budget for people.

    >>> described("attack=topk;eps=8/255;attacked=gradient")
    'topk within 8/255'
    """
    attack, allowed = setting.removeprefix("attack=").split(";")[0], budget(setting)
    return f"{attack}, {allowed}" if allowed == "no budget" else f"{attack} within {allowed}"


def draw_attack(
    gallery: AttackGallery, verdicts: pd.DataFrame, folder: Path, name: str
) -> list[Path]:
    """The worst image of every method under one attack, ``ROWS_A_PAGE`` to a file.

    Args:
        gallery: the images and maps.
        verdicts: of this attack under one budget.
        folder: where to.
        name: of the attack, and of the first file; the others add a number.

    Returns:
        The files; none without images to draw.

    Raises:
        AuditError: a file cannot be written.
    """
    several = verdicts["scalar"].nunique() > 1
    rows: list[PanelRow] = []
    shown: list[tuple[str, Made]] = []
    for row in verdicts.itertuples():
        made = (str(row.saliency), str(row.scalar), str(row.setting))
        for image in gallery.worst(made)[:1]:
            label = "\n".join(made[:2]) if several else made[0]
            rows.append(PanelRow(label, (), str(row.verdict)))
            shown.append((image, made))
    starts = range(0, len(rows), ROWS_A_PAGE)
    return [
        _draw(
            rows[start : start + ROWS_A_PAGE],
            shown[start : start + ROWS_A_PAGE],
            gallery,
            folder / (f"{name}-{page}.png" if page > 1 else f"{name}.png"),
            title=f"{described(shown[0][1][2])}: the worst image of each method"
            + (f" ({page} of {len(starts)})" if len(starts) > 1 else ""),
            footnote=_note(verdicts)
            + " The coloured word is the verdict over all images, not this one alone.",
        )
        for page, start in enumerate(starts, 1)
    ]


def most_fragile(gallery: AttackGallery, verdicts: pd.DataFrame) -> Made | None:
    """Method, scalar and setting of the worst verdict that has images to show.

    Args:
        gallery: the images.
        verdicts: of all attacks.
    """
    found = []
    for row in verdicts.itertuples():
        made = (str(row.saliency), str(row.scalar), str(row.setting))
        word = str(row.verdict)
        if gallery.worst(made) and word in _FRAGILE_FIRST and is_number(row.similarity):
            found.append((_FRAGILE_FIRST.index(word), row.similarity, made))
    return min(found)[-1] if found else None


def draw_worst(gallery: AttackGallery, verdicts: pd.DataFrame, made: Made, path: Path) -> Path:
    """The images whose map moved most, worst first.

    Args:
        gallery: the images and maps.
        verdicts: of all attacks.
        made: method, scalar and setting; it has images.
        path: the PNG.

    Returns:
        ``path``.

    Raises:
        AuditError: the file cannot be written.
    """
    names = gallery.worst(made)[:_WORST]
    saliency, scalar, setting = made
    return _draw(
        [PanelRow(f"worst image\n{i} of {len(names)}", ()) for i in range(1, len(names) + 1)],
        [(name, made) for name in names],
        gallery,
        path,
        title=f"{saliency} of {scalar} under {described(setting)}: the worst images",
        footnote=_note(verdicts),
    )


def draw_verdicts(verdicts: pd.DataFrame, folder: Path) -> list[Path]:
    """Tables of verdicts: methods down, attacks and budgets across.

    Args:
        verdicts: of all attacks.
        folder: where to.

    Returns:
        ``verdicts.png``; where that would be too wide, a file for each budget, the largest
        first and those without one last.

    Raises:
        AuditError: a file cannot be written.
    """
    several = verdicts["scalar"].nunique() > 1
    named = verdicts.assign(
        budget=verdicts["setting"].map(budget),
        size=verdicts["setting"].map(size).replace(inf, -1.0),  # without a budget last
        row=[
            f"{saliency} of {scalar}" if several else saliency
            for saliency, scalar in zip(verdicts["saliency"], verdicts["scalar"], strict=True)
        ],
        number=[_numbers(line) for line in verdicts.to_dict("records")],
    )
    named["column"] = named["attack"] + "\n" + named["budget"]
    budgets = named.sort_values("size", ascending=False, kind="stable")["budget"].unique()
    whole = named["column"].nunique() <= _ACROSS
    pages = [named] if whole else [named[named["budget"] == allowed] for allowed in budgets]
    return [
        draw_table(
            _grid(page, "number"),
            _grid(page, "verdict"),
            folder / (f"verdicts-{i}.png" if i > 1 else "verdicts.png"),
            title="Which maps can be moved while the class stays?",
            footnote=f"Columns: the attack and its budget. Numbers: how many of the clean map's "
            f"{pixels_compared(verdicts)} are still among those of the attacked image's map, "
            "beside the same under noise of the same size; 1 is all of them. Aim: correlation "
            "with the wanted map, mass in the wanted region, or way of the centre of mass in "
            "pixels. Means over images.",
        )
        for i, page in enumerate(pages, 1)
    ]


def _numbers(line: Mapping[Hashable, Any]) -> str:
    """What decided: how near the map is to the wanted one, or how much of it is left."""
    wanted = is_number(line.get("aim", nan))
    own, noise = (
        (line["aim"], line["aim_control"]) if wanted else (line["similarity"], line["control"])
    )
    beside = f" (noise {noise:.2f})" if is_number(noise) else ""
    return ("aim " if wanted else "") + number(own, ".2f") + beside


def _grid(named: pd.DataFrame, value: str) -> pd.DataFrame:
    """Methods down, attacks across; all budgets of an attack beside each other."""
    table = named.pivot_table(
        index="row", columns="column", values=value, aggfunc="first", fill_value=""
    )
    across = [name for _, own in named.groupby("attack", sort=False) for name in own["column"]]
    return table.reindex(
        index=list(dict.fromkeys(named["row"])),
        columns=list(dict.fromkeys(across)),
        fill_value="",
    )


def _draw(
    rows: Sequence[PanelRow],
    shown: Sequence[tuple[str, Made]],
    gallery: AttackGallery,
    path: Path,
    *,
    title: str,
    footnote: str,
) -> Path:
    """Rows filled with the cells of what is shown, and the wanted map where there is one."""
    targets = [gallery.target(*item) for item in shown]
    wanted = ["wanted map"] if any(targets) else []
    return draw_maps(
        [
            replace(row, cells=[*gallery.cells(*item), *([target] if wanted else [])])
            for row, item, target in zip(rows, shown, targets, strict=True)
        ],
        path,
        title=title,
        columns=[*COLUMNS, *wanted],
        footnote=footnote,
    )


def _note(verdicts: pd.DataFrame) -> str:
    return (
        "Difference: attacked image minus image, ten times; grey is no change. Intersection: how "
        f"many of the map's {pixels_compared(verdicts)} are still among those of the attacked "
        "image's map; 1 is all of them. Maps of several colour channels are averaged."
    )
