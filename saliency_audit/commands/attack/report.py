"""The report of ``attack``."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.colors import LinearSegmentedColormap, to_hex

from saliency_audit.catalogue.attacks import ATTACKS
from saliency_audit.commands.attack import figures, tables
from saliency_audit.commands.attack.tables import attack_within, told, verdict_table
from saliency_audit.report.figures import View, draw_table
from saliency_audit.report.gallery import gallery_of
from saliency_audit.report.html import Picture, Section
from saliency_audit.report.page import FILLS
from saliency_audit.report.sections import captioned, filled, write_page, write_tables
from saliency_audit.report.wording import is_number, number, summary_table
from saliency_audit.setting import parts_of
from saliency_audit.types import Example

PICTURES = ("similarity", "terms", "transfer", "verdicts", "worst")
"""How the names of pictures begin that are not named after an attack."""

_INTRODUCTION = (
    "A saliency map marks the pixels that a model is said to have decided by. Someone who hands "
    "in an image can change it so little that nobody sees it. For each image and each method, this "
    "audit searched for such a change that keeps the prediction and moves the map as far as "
    "possible, and measured what random noise of the same size does.",
    "A map that moves while the image looks the same and the prediction stays is weak evidence of "
    "why the model decided. Noise tells two things apart: maps that move by themselves, and maps "
    "that someone can move who wants to.",
)
_ATTACKS = {
    **{name: entry.sentence for name, entry in ATTACKS.items()},
    "worst-case": "is no attack of its own: for each image, the attack that left least of its map. "
    "Beside it stands the draw of noise that did.",
}
_TRANSFER = (
    "An image is made against one map. Where the other maps move with it, showing several "
    "methods side by side is no protection.",
)
_RETRIEVAL = (
    "An image is shown through a map: the less salient a pixel, the more it fades into the mean "
    "colour. The retrieval rate is the share of such images that get the class of the whole clean "
    "image. If the clean map retrieves the class and the attacked one does not, the map that moved "
    "no longer marks what the model needs.",
)
_DISTANCES = (
    "L2 is the length of the change over all pixels and channels: once with pixels in [0, 1], once "
    "after the network's own normalisation, as papers state it.",
)
_CLASS = (
    "For comparison, an attack within the same budget on the prediction instead of the map. "
    "A prediction that can be changed with less than a map needs is the larger problem.",
)
_SEARCH = (
    "The slope of a ReLU changes at its kink only, so a map made of slopes gives a search little "
    "to follow. The search may therefore follow a smooth stand-in for the network. "
    "surrogate-agreement compares the stand-in's gradient with the network's own; 1 is the same. "
    "Where it is low, a steady map may only mean that the search was led astray.",
)
_LIMITS = (
    "Every number but those of the search itself was measured on the original network, from the "
    "attacked image as written: a PNG with 8 bits per channel. No attack's own word was taken.",
    "An image attacked for its map whose prediction changed counts as a failed attack: it enters "
    "every mean with the values of the clean image. Undefined values are counted, never averaged.",
    "Noise that changed the prediction is left out of the control. "
    "The control is the mean over 5 draws of noise of the same size as the budget; without a "
    "budget, of the same L2 as the attacked image. Means come with 95 % intervals: a percentile "
    "bootstrap over images, and Wilson's score interval for shares.",
    "A steady map withstood these attacks with these budgets and steps, not every attack.",
    "Maps are drawn each in its own range, but with --view none: their patterns can be compared, "
    "their strengths not.",
)
_VERDICTS = "Which maps can be moved while the prediction stays?"
_SHADES = LinearSegmentedColormap.from_list("moved", ["#e8705f", "#fcd9b6", "#ffffff"])
_TEXT = {"setting", "attack", "eps", "saliency", "scalar", "search", "verdict", "reason"}


def write_attack_report(
    folder: Path,
    *,
    summary: pd.DataFrame,
    verdicts: pd.DataFrame,
    predictions: pd.DataFrame,
    examples: Sequence[Example],
    sentence: str,
    run: Mapping[str, Any],
    results: pd.DataFrame,
    words: Mapping[str, str],
    said: Mapping[str, str] | None = None,
    view: View = "",
) -> list[Path]:
    """Write everything ``attack`` shows but ``results.csv``, ``run.json`` and ``images/``.

    Args:
        folder: the output folder.
        summary: of `summarise`.
        verdicts: ``setting,attack,eps,saliency,scalar,similarity,similarity_low,similarity_high,
            control,control_low,control_high,chance,aim,aim_low,aim_high,aim_control,success,
            l2_min,l2_mean,l2_max,l2_model_min,l2_model_mean,l2_model_max,n,n_undefined,search,
            evolution,evolution_low,evolution_high,verdict,reason``; may be empty.
        predictions: ``setting,eps,success,success_low,success_high,control,l2_mean,linf_max,n,
            reason`` of attacks on the prediction; may be empty.
        examples: images, attacked images, their maps before and after, and wanted maps.
        sentence: the answer.
        run: facts about the run; "model", "data" and "clean accuracy" also stand at the top.
        results: rows of ``results.csv``, for which image is the worst.
        words: what the verdicts mean.
        said: by image, the class that its maps explain.
        view: how the pictures scale maps, see `colours`.

    Returns:
        The files written.

    Raises:
        AuditError: a file cannot be written.
    """
    written = write_tables(folder, summary=summary, verdicts=verdicts)
    verdicts, predictions = _numeric(verdicts), _numeric(predictions)
    gallery = gallery_of(examples, said, view)
    values = figures.values_of(gallery, results)
    worst: list[Picture] = []
    maps: list[Picture] = []
    moved: list[Picture] = []
    transfer: list[Picture] = []
    overview = [verdict_table(verdicts)] if len(verdicts) else []
    if len(verdicts):
        written += draw_table(
            overview[0], folder, "verdicts", title=_VERDICTS, footnote=". ".join(told(verdicts))
        )
        if made := figures.most_fragile(gallery, verdicts):
            caption = f"{made[0]} under {attack_within(made[2])}, worst image first."
            worst = captioned(figures.draw_worst(gallery, values, verdicts, made, folder), caption)
        moved = captioned(
            [figures.draw_similarity(verdicts, folder / "similarity.png")],
            f"What is left of the {figures.pixels_compared(verdicts)}, method by method.",
        )
        for attack, own in tables.largest(verdicts).items():
            within = attack_within(str(own["setting"].iloc[0]))
            maps += captioned(
                figures.draw_attack(gallery, values, own, folder, attack),
                f"{within}: the worst image of each method.",
            )
            transfer += captioned(
                _draw_transfer(
                    summary, own, folder, f"transfer-{attack}" if transfer else "transfer"
                ),
                f"{within}: which maps move together.",
            )
    search = captioned(
        [figures.draw_terms(summary, folder / "terms.png")],
        "The two terms of the structured attack's objective.",
    )
    tried = {parts_of(setting).get("attack") for setting in summary["setting"]}
    sections = [
        Section("Verdicts", told(verdicts), tables=overview),
        Section("What the words mean", terms=words if len(verdicts) else {}),
        Section("The worst images", pictures=worst),
        Section("The attacks", terms={name: _ATTACKS[name] for name in _ATTACKS if name in tried}),
        Section("The maps, attack by attack", pictures=maps),
        Section("How far each map moved, beside noise", pictures=moved),
        Section("Do other maps move too?", _TRANSFER, pictures=transfer),
        Section(
            "Does the map still mark what the model needs?",
            _RETRIEVAL,
            tables=tables.retrieval_tables(summary),
        ),
        Section("How large the changes are", _DISTANCES, tables=tables.distance_tables(verdicts)),
        Section(
            "Attacks on the prediction itself",
            _CLASS,
            tables=[tables.prediction_table(predictions)] if len(predictions) else [],
        ),
        Section(
            "How the search went", _SEARCH, pictures=search, tables=tables.surrogate_tables(summary)
        ),
    ]
    return written + write_page(
        folder,
        title="Can these saliency maps be moved through the image?",
        sentence=sentence,
        run=run,
        introduction=_INTRODUCTION,
        parts=filled(sections),
        limits=_LIMITS,
        numbers=[summary_table(tables.without_steps(summary))],
    )


def _draw_transfer(
    summary: pd.DataFrame, verdicts: pd.DataFrame, folder: Path, name: str
) -> list[Path]:
    """Which maps move with the one that an image was made against, under one attack."""
    setting = str(verdicts["setting"].iloc[0])
    table = tables.transfer_table(summary, setting)
    chance = next(filter(is_number, verdicts["chance"]), None)
    return (
        draw_table(
            table,
            folder,
            name,
            title=f"{attack_within(setting)}: does an image made against one map move the others?",
            footnote="Rows: the map that the image was made against. Columns: the map that was "
            "measured; its own is in bold. Numbers: mean share of the most salient pixels that "
            "stay, from 0 (red: all moved) to 1 (white: none). Noise: the same after noise of that "
            "size." + (f" Chance: {number(chance)}." if chance is not None else ""),
            shade=_moved,
        )
        if table
        else []
    )


def _moved(text: str) -> str:
    """The colour of a share of pixels that stayed."""
    return FILLS["none"] if text == number(None) else to_hex(_SHADES(float(text)))


def _numeric(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with NaN for every number that is missing, however that is written."""
    numeric = frame.copy()
    for name in set(frame.columns) - _TEXT:
        numeric[name] = pd.to_numeric(frame[name], errors="coerce")
    return numeric
