"""The table of ``attack`` in colours: which maps move with the one an image was made against."""

from math import nan
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.colors import LinearSegmentedColormap, to_hex

from saliency_audit.commands.attack.figures import described
from saliency_audit.commands.attack.gallery import SIMILARITY, budget
from saliency_audit.report.figures import framed
from saliency_audit.report.page import BODY, MARGIN, NOTE, VERDICT_COLOURS, shorten, wrap
from saliency_audit.report.wording import is_number, number
from saliency_audit.setting import parts_of

_MOVED = LinearSegmentedColormap.from_list("moved", ["#e8705f", "#fcd9b6", "#ffffff"])
_WIDTH, _HEIGHT, _BAR = 0.95, 0.36, 2.4  # inches


def draw_transfer(
    summary: pd.DataFrame, setting: str, path: Path, *, chance: float | None = None
) -> Path | None:
    """What is left of each measured map on images made against each attacked one.

    Args:
        summary: of `summarise`.
        setting: of the attack and its budget, whatever it attacked.
        path: the PNG.
        chance: similarity of unrelated maps, if known.

    Returns:
        ``path``; None where no other map than the attacked one was measured.

    Raises:
        AuditError: the file cannot be written.
    """
    pairs = _pairs(summary, setting)
    if not pairs:
        return None
    methods = list(dict.fromkeys(measured for _, _, values in pairs for measured in values))
    labels = [shorten(label, 50) for label, _, _ in pairs]
    left = MARGIN + 0.2 + 0.073 * max(map(len, labels))
    body = _HEIGHT * len(labels)
    page, top = framed(
        width=left + _WIDTH * len(methods) + MARGIN,
        body=body + 0.62,
        title=f"{described(setting)}: does an image made against one map move the others?",
        heads=[wrap(name, _WIDTH - 0.05, BODY) for name in methods],
        middles=[left + (j + 0.5) * _WIDTH for j in range(len(methods))],
        footnote="Rows: the map that the image was made against. Columns: the map that was "
        "measured; its own is in bold. Numbers: mean intersection of the most salient pixels "
        "with those of the clean map. Noise: the same after noise of the same size."
        + (f" Chance: {chance:.2g}." if is_number(chance) else ""),
    )
    for i, (label, (_, attacked, values)) in enumerate(zip(labels, pairs, strict=True)):
        y = top + i * _HEIGHT
        page.text(MARGIN, y + _HEIGHT / 2 + 0.04, label)
        for j, measured in enumerate(methods):
            x, value = left + j * _WIDTH, values.get(measured, nan)
            colour = to_hex(_MOVED(value)) if is_number(value) else VERDICT_COLOURS["undefined"]
            page.box(x, y, _WIDTH, _HEIGHT, colour)
            page.text(
                x + _WIDTH / 2,
                y + _HEIGHT / 2 + 0.04,
                number(value, ".2f"),
                align="center",
                bold=measured == attacked,
            )
    y = top + body + 0.15
    bar = min(_BAR, _WIDTH * len(methods))
    page.picture(left, y, bar, 0.12, _MOVED(np.linspace(0, 1, 256))[None, :, :3], stretch=True)
    page.text(left, y + 0.25, "0: all moved", size=NOTE)
    page.text(left + bar, y + 0.25, "1: none", size=NOTE, align="right")
    page.text(left, y + 0.39, "mean intersection", size=NOTE, faint=True)
    return page.save(path)


def _pairs(summary: pd.DataFrame, setting: str) -> list[tuple[str, str, dict[str, float]]]:
    """For each attacked map, then for noise: label, method, and the mean by measured method.

    Nothing where only the attacked maps themselves were measured.
    """
    rows = summary[(summary["check"] == SIMILARITY) & (summary["saliency"] != "")]
    # A control explains no scalar; it is measured on images made for the first one.
    scalars = [scalar for scalar in dict.fromkeys(rows["scalar"]) if scalar]
    several = len(scalars) > 1
    attack, eps = parts_of(setting)["attack"], parts_of(setting).get("eps")
    made: dict[tuple[str, str], dict[str, float]] = {}
    noise: dict[tuple[str, str], dict[str, float]] = {}
    for row in rows.to_dict("records"):
        known = parts_of(row["setting"])
        key = known.get("attacked", ""), row["scalar"] or "".join(scalars[:1])
        if known.get("attack") == attack and budget(row["setting"]) == budget(setting):
            made.setdefault(key, {})[row["saliency"]] = row["mean"]
        elif known.get("attack") == "random" and known.get("eps") == eps:
            noise.setdefault(key, {})[row["saliency"]] = row["mean"]
    if all(len(own) < 2 for own in made.values()):
        return []
    return [
        ((f"{word} {attacked}" if attacked else "noise") + f" of {scalar}" * several, attacked, own)
        for group, word in ((made, "against"), (noise, "noise as for"))
        for (attacked, scalar), own in group.items()
    ]
