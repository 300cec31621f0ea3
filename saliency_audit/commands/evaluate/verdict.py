"""One word for each method and metric, with a definition."""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from saliency_audit.catalogue.methods import CONTROLS
from saliency_audit.catalogue.metrics import OF_TRAININGS
from saliency_audit.metrics import CHECKS, METRICS
from saliency_audit.setting import parts_of
from saliency_audit.stats.undefined import (
    FEWEST,
    FEWEST_TRAININGS,
    UNDEFINED,
    causes,
    undefined,
)

BETTER, SAME, WORSE = "better than random", "not distinguishable", "worse"

EVALUATE_WORDS = {
    BETTER: "the 95 % interval of the paired difference to a random map on the same images lies "
    "on the better side of zero. Of sanity-cascade, in which a map that sees no model keeps 1: "
    "the interval of the mean over the stages lies below one half, nearer to a map that changes "
    "wholly with the model. Of level-coherence: the interval lies above one half, so that most of "
    "the map is the same for all images that an 8-bit file stores alike",
    SAME: "that interval holds zero: on these images the map is not shown to do better than "
    "random numbers. Of sanity-cascade: as weights are drawn at random, layer by layer, the map "
    "is not shown to be nearer to unrelated maps than to itself. Of level-coherence: the stored "
    "image is not shown to determine most of the map",
    WORSE: "that interval lies on the other side of zero",
    UNDEFINED: "no verdict, and in brackets why: more than 5 % of the images have no value (their "
    "map is zero, constant or NaN, they have no label, or the method or the metric failed), or "
    "fewer than 8 have one",
}
VERDICT_COLUMNS = (
    "model",
    "saliency",
    "scalar",
    "check",
    "setting",
    "mean",
    "ci_low",
    "ci_high",
    "random",
    "sobel",
    "difference",
    "difference_low",
    "difference_high",
    "n",
    "n_undefined",
    "verdict",
    "reason",
)


def evaluate_verdicts(
    summary: pd.DataFrame, differences: pd.DataFrame, results: pd.DataFrame
) -> pd.DataFrame:
    """A verdict for each model, method and metric that has one.

    Args:
        summary: one row per check, with its interval.
        differences: the paired difference of each to the random map:
            ``model,saliency,scalar,check,setting,difference,difference_low,difference_high,n``.
        results: rows of the run, for why images have no value.

    Returns:
        ``VERDICT_COLUMNS``; the two controls have rows of their own, with an empty word. reason is
        why a verdict is undefined.
    """
    key = ["model", "saliency", "scalar", "check", "setting"]
    beside = {tuple(line[name] for name in key): line for line in differences.to_dict("records")}
    lines = _with_failures(summary)
    means = {tuple(line[name] for name in key): line["mean"] for line in lines}
    rows, why = [], causes(results)
    for line in lines:
        if not line["saliency"] or not _is_answer(line["check"], line["setting"]):
            continue
        place = (line["check"], line["setting"])
        difference = beside.get(tuple(line[name] for name in key), {})
        word, reason = "", ""
        if line["saliency"] not in CONTROLS:
            word, reason = _verdict(line, difference, list(why(line).values()))
        rows.append(
            {
                **{name: line[name] for name in (*key, "mean", "ci_low", "ci_high")},
                "random": means.get((line["model"], "random", "", *place), np.nan),
                "sobel": means.get((line["model"], "sobel", "", *place), np.nan),
                **{
                    name: difference.get(name, np.nan)
                    for name in ("difference", "difference_low", "difference_high")
                },
                "n": line["n"],
                "n_undefined": line["n_undefined"],
                "verdict": word,
                "reason": reason,
            }
        )
    return pd.DataFrame(rows, columns=list(VERDICT_COLUMNS))


def _with_failures(summary: pd.DataFrame) -> list[dict[Hashable, Any]]:
    """The rows, where what failed on some images is undefined on those.

    A failure has a reason instead of a setting; what was measured on other images has one.
    """
    lines = summary.to_dict("records")
    failed: dict[tuple[Any, ...], int] = {}
    measured = set()
    for line in lines:
        of = tuple(line[name] for name in ("model", "saliency", "scalar", "check"))
        if line["setting"].startswith("reason="):
            failed[of] = failed.get(of, 0) + line["n_undefined"]
        else:
            measured.add(of)
    kept = []
    for line in lines:
        of = tuple(line[name] for name in ("model", "saliency", "scalar", "check"))
        if not line["setting"].startswith("reason="):
            kept.append({**line, "n_undefined": line["n_undefined"] + failed.get(of, 0)})
        elif of not in measured:
            kept.append(line)
    return kept


def _is_answer(check: str, setting: str) -> bool:
    """Whether a check is what a metric is judged by: not a stage on the way."""
    if check not in METRICS or METRICS[check].verdict is None:
        return False
    return METRICS[check].answer in setting or "reason=" in setting


def _verdict(
    line: Mapping[Any, Any], difference: Mapping[Any, Any], why: Sequence[str]
) -> tuple[str, str]:
    """The word, and why it is undefined."""
    sign = 1 if CHECKS[line["check"]].higher_is_better else -1
    by_half = METRICS[line["check"]].verdict == "half"
    # Images on which the random map has no value are missing from the pairs.
    n = line["n"] if by_half else min(line["n"], difference.get("n", 0))
    trained = line["check"] in OF_TRAININGS
    word, reason = undefined(
        n,
        line["n_undefined"],
        line["n"] + line["n_undefined"],
        why=why,
        fewest=FEWEST_TRAININGS if trained else FEWEST,
        of="training" if trained else "image",
    )
    if word:
        return word, reason
    if by_half:
        nearest = sign * line["ci_low" if sign > 0 else "ci_high"]
        if not np.isfinite(nearest):
            return UNDEFINED, "no interval"
        return (BETTER if nearest > sign / 2 else SAME), ""
    ends = sorted(
        sign * difference.get(name, np.nan) for name in ("difference_low", "difference_high")
    )
    if not np.isfinite(ends).all():
        return UNDEFINED, "no interval"
    return (BETTER if ends[0] > 0 else WORSE if ends[1] < 0 else SAME), ""


def evaluate_sentence(verdicts: pd.DataFrame, *, images: int) -> str:
    """The answer in a few sentences.

    Args:
        verdicts: of `evaluate_verdicts`.
        images: audited images.
    """
    judged = verdicts[verdicts["verdict"] != ""]
    if not len(judged):
        return f"Measured on {images} images; no metric of this run has a verdict."
    models = judged["model"].nunique() > 1
    trained = all(check in OF_TRAININGS for check in judged["check"])
    parts = [] if trained else [f"On {images} images."]
    for (model, check), of_check in judged.groupby(["model", "check"], sort=False):
        answers = list(of_check.groupby("setting", sort=False))
        for setting, group in answers:
            name = f"{model}, {check}" if models else str(check)
            if len(answers) > 1:
                name += f" ({str(setting).split(';')[0]})"
            if check in OF_TRAININGS:
                name += f" (of {group['n'].max()} trainings each)"
            told = "; ".join(
                f"{', '.join(methods)} {_as_said(str(check), word)}"
                for word in EVALUATE_WORDS
                if word != UNDEFINED
                and (methods := list(group.loc[group["verdict"] == word, "saliency"]))
            )
            gone = group[group["verdict"] == UNDEFINED]
            for reason, same in gone.groupby("reason", sort=False):
                told += "; " * bool(told) + f"{', '.join(same['saliency'])} undefined ({reason})"
            parts.append(f"{name}: {told}.")
    return " ".join(parts)


def _as_said(check: str, word: str) -> str:
    if METRICS[check].verdict == "half":
        told = f"shown to {METRICS[check].says[1]}"
        return {BETTER: told, SAME: f"not {told}"}[word]
    return {SAME: "not distinguishable from random", WORSE: "worse than random"}.get(word, word)


def evaluate_chances(summary: pd.DataFrame, classes: int | None) -> dict[tuple[str, str], float]:
    """What a map without information gets, by check and setting, where that is known beforehand.

    Args:
        summary: or results; anything with the columns ``check`` and ``setting``.
        classes: of which one is right; None where outputs do not exclude each other.
    """
    chances = {}
    for check, setting in summary[["check", "setting"]].drop_duplicates().itertuples(index=False):
        known = CHECKS[check].chance if check in CHECKS else ""
        given = parts_of(setting)
        if known == "1/classes":
            if classes:
                chances[check, setting] = 1 / classes
        elif known and known in given:
            chances[check, setting] = float(given[known])
        elif known.replace(".", "").isdigit():
            chances[check, setting] = float(known)
    return chances
