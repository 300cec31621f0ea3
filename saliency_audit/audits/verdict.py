"""One word for each method and scalar, with a definition."""

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import pandas as pd

FORGED, DISTURBED, UNMOVED, UNDEFINED = "forged", "disturbed", "unmoved", "undefined"

FOOL_WORDS = {
    FORGED: "the map shows the picture (mean cosine >= 0.9, its interval above that of the "
    "unmanipulated model) while every prediction and probability stayed",
    DISTURBED: "the map changed (mean cosine before/after < 0.9) but does not show the picture",
    UNMOVED: "the map stayed as it was (mean cosine before/after >= 0.9)",
    UNDEFINED: "no number: the maps are constant, zero or NaN, or the method failed",
}

VERDICT_COLUMNS = (
    "trick",
    "saliency",
    "scalar",
    "before",
    "before_low",
    "before_high",
    "after",
    "after_low",
    "after_high",
    "cosine",
    "n",
    "verdict",
)


def kept_promises(
    results: pd.DataFrame, bounds: Mapping[str, tuple[float, float]]
) -> dict[str, bool]:
    """Whether each manipulated model kept all predictions and its bound on probabilities.

    Args:
        results: rows of the run.
        bounds: by setting, the largest change of a probability and of the loss.

    Returns:
        By setting. False also where nothing was measured.
    """
    kept = {}
    for setting, (prob_bound, _) in bounds.items():
        of_model = results[results["setting"] == setting]
        predictions = of_model.loc[of_model["check"] == "prediction-kept", "value"].astype(float)
        probs = of_model.loc[of_model["check"] == "prob-change", "value"].astype(float)
        kept[setting] = bool(
            len(predictions) and (predictions == 1).all() and (probs <= prob_bound).all()
        )
    return kept


def fool_verdicts(summary: pd.DataFrame, kept: Mapping[str, bool]) -> pd.DataFrame:
    """A verdict for each trick, method and scalar.

    Args:
        summary: one row per check, with its interval.
        kept: by setting of a trick, whether predictions and probabilities stayed.

    Returns:
        ``VERDICT_COLUMNS``; before and after are mean cosines of |map| with the picture, cosine
        is that of the map before with the map after.
    """
    lines = {
        (line["check"], line["setting"], line["saliency"], line["scalar"]): line
        for line in summary.to_dict("records")
    }
    rows = []
    for (check, setting, saliency, scalar), line in lines.items():
        if check != "cosine" or setting not in kept:
            continue
        before = lines["cosine-to-picture", "stage=before", saliency, scalar]
        after = lines["cosine-to-picture", setting, saliency, scalar]
        rows.append(
            {
                "trick": setting,
                "saliency": saliency,
                "scalar": scalar,
                "before": before["mean"],
                "before_low": before["ci_low"],
                "before_high": before["ci_high"],
                "after": after["mean"],
                "after_low": after["ci_low"],
                "after_high": after["ci_high"],
                "cosine": line["mean"],
                "n": line["n"],
                "verdict": _verdict(before, after, line["mean"], kept[setting]),
            }
        )
    return pd.DataFrame(rows, columns=list(VERDICT_COLUMNS))


def _verdict(
    before: Mapping[Hashable, Any], after: Mapping[Hashable, Any], cosine: float, kept: bool
) -> str:
    if not np.isfinite([before["mean"], after["mean"], cosine]).all():
        return UNDEFINED
    if kept and after["mean"] >= 0.9 and after["ci_low"] > before["ci_high"]:
        return FORGED
    return DISTURBED if cosine < 0.9 else UNMOVED


def fool_sentence(verdicts: pd.DataFrame, kept: Mapping[str, bool], *, images: int) -> str:
    """The answer in one or two sentences.

    Args:
        verdicts: of `fool_verdicts`.
        kept: by setting, whether predictions and probabilities stayed.
        images: audited images.
    """
    parts = []
    for setting, kept_all in kept.items():
        name = setting.removeprefix("trick=").split(";")[0]
        mine = verdicts[(verdicts["trick"] == setting) & (verdicts["scalar"] != "")]
        count = {word: int((mine["verdict"] == word).sum()) for word in FOOL_WORDS}
        methods = ", ".join(dict.fromkeys(mine.loc[mine["verdict"] == FORGED, "saliency"]))
        price = (
            f"without changing one prediction on {images} images"
            if kept_all
            else f"but predictions or probabilities changed on {images} images: it would be noticed"
        )
        others = ", ".join(f"{n} {word}" for word, n in count.items() if n and word != FORGED)
        parts.append(
            f"{name} forged {count[FORGED]} of {len(mine)} maps"
            + (f" ({methods})" if methods else "")
            + f" {price}"
            + (f"; {others}." if others else ".")
        )
    return " ".join(parts)
