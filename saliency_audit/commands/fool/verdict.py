"""One word for each method and scalar, with a definition."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from saliency_audit.catalogue.tricks import TRICKS, aim_of
from saliency_audit.stats.groups import GROUP
from saliency_audit.stats.undefined import UNDEFINED, Line, causes, counted, undefined

FORGED, DISTURBED, UNMOVED = "forged", "disturbed", "unmoved"

_BEFORE = "stage=before"
FOOL_WORDS = {
    FORGED: "the map shows the picture (mean cosine >= 0.9, its interval above that of the "
    "unmanipulated model) while every prediction and probability stayed; of a trick that trains, "
    "what was aimed at (as its table says), while the accuracy stayed",
    DISTURBED: "the map changed (mean cosine before/after < 0.9) but is not forged by the "
    "definition above; the picture may still be recognisable",
    UNMOVED: "the map stayed as it was (mean cosine before/after >= 0.9)",
    UNDEFINED: "no verdict, and in brackets why: more than 5 % of the images have no value (their "
    "map is zero, constant or NaN, they have no label, or the method failed), fewer than 8 have "
    "one, some lost their map to the trick while the others stayed, or predictions could not be "
    "compared",
}

OF_PREDICTIONS = ("prediction-kept", "prob-change", "accuracy-drop")
"""Promises that a forgery must keep."""
PROMISE_COLUMNS = ("trick", "check", "n", "n_undefined", "worst", "bound", "kept", "reason")
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
    "n_undefined",
    "verdict",
    "reason",
)


def kept_promises(results: pd.DataFrame, bounds: Mapping[str, Mapping[str, float]]) -> pd.DataFrame:
    """What each manipulated model did to the predictions, beside what its trick promises.

    Args:
        results: rows of the run.
        bounds: by setting and check, the largest value that the trick promises.

    Returns:
        ``PROMISE_COLUMNS``; ``worst`` is the largest value of any image
        (for prediction-kept the smallest, bound 1; of accuracy-drop, it is how much lower
        held-out-accuracy is than before). ``kept`` is "yes", "no", or "undefined" where
        a value is missing, with the reason.
    """
    rows = []
    held_out = results[(results["check"] == "held-out-accuracy") & (results["setting"] == _BEFORE)]
    before = held_out["value"].astype(float).mean()
    model, why = str(next(iter(results["model"]), "")), causes(results)
    for setting, limits in bounds.items():
        of_trick = results[(results["setting"] == setting) & (results["saliency"] == "")]
        for check, bound in limits.items():
            drop, least = check == "accuracy-drop", check == "prediction-kept"
            own = of_trick["check"] == ("held-out-accuracy" if drop else check)
            values = of_trick.loc[own, "value"].astype(float)
            measured = values.dropna()
            worst = (measured.min() if least else measured.max()) if len(measured) else np.nan
            if drop:
                worst = before - measured.mean()
            # An image more or less is less than a float can tell.
            within = worst >= bound if least else worst <= bound + 1e-9 * drop
            n, missing = len(measured), len(values) - len(measured)
            name = "held-out-accuracy" if drop else check
            about = dict(zip(GROUP, (model, "", "", name, setting), strict=True))
            # Each image must keep the promise.
            word, reason = undefined(
                n, missing, n + missing, why=why(about).values(), most=0, fewest=1
            )
            rows.append(
                {
                    "trick": setting,
                    "check": check,
                    "n": n,
                    "n_undefined": missing,
                    "worst": worst,
                    "bound": bound,
                    "kept": word or ("yes" if within else "no"),
                    "reason": reason,
                }
            )
    return pd.DataFrame(rows, columns=list(PROMISE_COLUMNS))


def all_kept(promises: pd.DataFrame) -> dict[str, bool | None]:
    """By setting, whether predictions and probabilities stayed; None where one is undefined."""
    kept: dict[str, bool | None] = {}
    for setting, group in promises.groupby("trick", sort=False):
        words = set(group.loc[group["check"].isin(OF_PREDICTIONS), "kept"])
        kept[str(setting)] = False if "no" in words else None if UNDEFINED in words else True
    return kept


def why_not_forged(promises: pd.DataFrame) -> dict[str, str]:
    """By setting, what changed though a forgery must keep it; nothing where all was kept.

    >>> lines = [("trick=a", "prob-change", "no"), ("trick=b", "loss-change", "no")]
    >>> why_not_forged(pd.DataFrame(lines, columns=["trick", "check", "kept"]))
    {'trick=a': 'probabilities changed'}
    """
    words = {
        "prediction-kept": "predictions changed",
        "prob-change": "probabilities changed",
        "accuracy-drop": "accuracy fell",
    }
    broken = promises[(promises["kept"] == "no") & promises["check"].isin(list(words))]
    checks = sorted(broken["check"], key=list(words).index, reverse=True)
    return {
        str(line["trick"]): words[check]
        for check in checks
        for line in broken[broken["check"] == check].to_dict("records")
    }


def fool_verdicts(
    summary: pd.DataFrame, kept: Mapping[str, bool | None], results: pd.DataFrame
) -> pd.DataFrame:
    """A verdict for each trick, method and scalar.

    Args:
        summary: one row per check, with its interval.
        kept: by setting of a trick, whether predictions and probabilities stayed.
        results: rows of the run, for why images have no value.

    Returns:
        ``VERDICT_COLUMNS``; before and after are means of the aim's check, which for a picture is
        the cosine of |map| with it; cosine is that of the map before with the map after;
        reason is why a verdict is undefined.
    """
    lines = {
        (line["check"], line["setting"], line["saliency"], line["scalar"]): line
        for line in summary.to_dict("records")
    }
    rows, why = [], causes(results)
    for (check, setting, saliency, scalar), line in lines.items():
        if check != "cosine" or setting not in kept:
            continue
        aim = aim_of(setting)
        before = lines[aim.check, _BEFORE, saliency, scalar]
        after = lines[aim.check, setting, saliency, scalar]
        word, reason = _verdict(
            before, after, line, kept[setting], aim.reached, list(why(line).values())
        )
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
                "n_undefined": line["n_undefined"],
                "verdict": word,
                "reason": reason,
            }
        )
    return pd.DataFrame(rows, columns=list(VERDICT_COLUMNS))


def _verdict(
    before: Line,
    after: Line,
    cosine: Line,
    kept: bool | None,
    reached: float,
    why: Sequence[str],
) -> tuple[str, str]:
    """The word, and why it is undefined."""
    n, missing = cosine["n"], cosine["n_undefined"]
    word, reason = undefined(n, missing, n + missing, why=why)
    ends = [before["mean"], before["ci_high"], after["mean"], after["ci_low"], cosine["mean"]]
    if word:
        return word, reason
    if kept is None:
        return UNDEFINED, "predictions not compared"
    if not np.isfinite(np.array(ends, dtype=float)).all():
        return UNDEFINED, "no interval"
    if kept and after["mean"] >= reached and after["ci_low"] > before["ci_high"]:
        return FORGED, ""
    if cosine["mean"] < 0.9:
        return DISTURBED, ""
    if missing > before["n_undefined"]:
        # Images without a map were perhaps not unmoved.
        return UNDEFINED, counted(why, missing, n + missing)
    return UNMOVED, ""


def fool_sentence(verdicts: pd.DataFrame, kept: Mapping[str, bool | None], *, images: int) -> str:
    """The answer in one or two sentences.

    Args:
        verdicts: of `fool_verdicts`.
        kept: by setting, whether predictions and probabilities stayed.
        images: audited images.
    """
    parts = []
    for setting, kept_all in kept.items():
        if ";on=control" in setting:
            continue
        trick, *options = setting.removeprefix("trick=").split(";")
        name = trick + {"on=patch": " with its patch", "on=clean": " without its patch"}.get(
            options[0] if options else "", ""
        )
        mine = verdicts[(verdicts["trick"] == setting) & (verdicts["scalar"] != "")]
        count = {word: int((mine["verdict"] == word).sum()) for word in FOOL_WORDS}
        methods = ", ".join(dict.fromkeys(mine.loc[mine["verdict"] == FORGED, "saliency"]))
        price = (
            {
                True: "with the accuracy kept",
                False: "but the accuracy fell further than allowed",
                None: "with an accuracy that is undefined",
            }
            if TRICKS[trick].trains
            else {
                True: f"without changing one prediction on {images} images",
                False: f"but predictions or probabilities did not stay on all {images} images",
                None: f"with predictions undefined on some of {images} images",
            }
        )[kept_all]
        others = ", ".join(
            f"{n} {word}" + (f" ({_reasons(mine)})" if word == UNDEFINED else "")
            for word, n in count.items()
            if n and word != FORGED
        )
        parts.append(
            f"{name} forged {count[FORGED]} of {len(mine)} maps"
            + (f" ({methods})" if methods else "")
            + f" {price}"
            + (f"; {others}." if others else ".")
        )
    return " ".join(parts)


def _reasons(verdicts: pd.DataFrame) -> str:
    """Why some are undefined, each reason with its methods; an error itself is in the table."""
    own = verdicts[verdicts["verdict"] == UNDEFINED]
    short = own["reason"].str.partition(": ")[0]
    return "; ".join(
        f"{', '.join(dict.fromkeys(maps['saliency']))}: {reason}"
        for reason, maps in own.groupby(short, sort=False)
    )
