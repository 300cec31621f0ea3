"""One word for each attack, method and scalar, with a definition."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd

from saliency_audit.catalogue.attacks import ATTACKS, EVOLUTION, GRADIENT
from saliency_audit.commands.attack.jobs import STAND_IN, WORST_CASE, control_of, without_search
from saliency_audit.commands.attack.masked import MASKED, incomplete, moved_further
from saliency_audit.commands.attack.tables import by_evolution, several_scalars
from saliency_audit.setting import parts_of
from saliency_audit.stats.undefined import UNDEFINED, Line, causes, counted, undefined

FRAGILE, SHIFTED, STEADY = "fragile", "shifted", "steady"

ATTACK_WORDS = {
    FRAGILE: "the attacked map shares fewer salient pixels with the clean one than under noise of "
    "the same size (its interval lies below that of the noise), and less than half as many; or "
    "less than half of the distance to the wanted map or region is left that noise leaves",
    SHIFTED: "the attacked map moved further than noise moves it, in its salient pixels, its "
    "centre of mass or towards what was wanted, but not that far",
    STEADY: "not shown to move further than under noise of the same size: the intervals overlap, "
    "which on few images says little",
    UNDEFINED: "no verdict, and in brackets why: more than 5 % of the images have no value (their "
    "map is zero, constant or NaN, they have no label, or the method failed), fewer than 8 have "
    "one, the budget is 0, an attack leaves some images without a map and moves the others no "
    "further than noise, or maps move no further than that and have no derivative that an attack "
    "could follow, or gradients are masked: they do not add up to the output (completeness over "
    "one half), or evolution, which follows no gradient, moves the map further",
}

SIMILARITY = "topk-intersection"
AIMS = {name: entry.aim for name, entry in ATTACKS.items() if entry.aim}
"""What says how near a map has come to what the attack wants."""

VERDICT_COLUMNS = (
    "setting",
    "attack",
    "eps",
    "saliency",
    "scalar",
    "similarity",
    "similarity_low",
    "similarity_high",
    "control",
    "control_low",
    "control_high",
    "chance",
    "aim",
    "aim_low",
    "aim_high",
    "aim_control",
    "success",
    "l2_min",
    "l2_mean",
    "l2_max",
    "l2_model_min",
    "l2_model_mean",
    "l2_model_max",
    "n",
    "n_undefined",
    "search",
    "evolution",
    "evolution_low",
    "evolution_high",
    "verdict",
    "reason",
)
PREDICTION_COLUMNS = (
    "setting",
    "eps",
    "success",
    "success_low",
    "success_high",
    "control",
    "l2_mean",
    "linf_max",
    "n",
    "reason",
)


def attack_controls(results: pd.DataFrame) -> dict[tuple[str, str], str]:
    """By check and setting, the setting of the noise beside which it stands.

    Args:
        results: rows of the run.
    """
    pairs = results[["check", "setting"]].drop_duplicates().itertuples(index=False)
    found = {(check, setting): control_of(check, setting) for check, setting in pairs}
    return {pair: setting for pair, setting in found.items() if setting is not None}


def attack_chances(*, k: int, pixels: int, classes: int | None) -> dict[str, float]:
    """What a map without information would get, by check.

    Args:
        k: most salient pixels.
        pixels: of a map.
        classes: of which one is right; None where there is no chance level of a prediction.
    """
    alike = ("spearman", "spearman-abs", "pearson", "pearson-to-target")
    retrieved = ("clean-clean", "clean-attacked", "attacked-clean", "attacked-attacked")
    return {
        SIMILARITY: k / pixels,
        **dict.fromkeys(alike, 0.0),
        **{f"retrieval-{pair}": 1 / classes for pair in retrieved if classes},
    }


def attack_verdicts(summary: pd.DataFrame, results: pd.DataFrame) -> pd.DataFrame:
    """A verdict for each attack on maps, budget, attacked method and scalar.

    Args:
        summary: one row per check, with its interval.
        results: rows of the run, for the smallest and largest distances.

    Returns:
        ``VERDICT_COLUMNS``; similarity is the mean share of salient pixels kept by the attacked
        method's own map, control the same under noise; aim is what ``AIMS`` says, where the
        attack has one; distances are L2, in pixel units and in the network's own; evolution is
        the similarity that it leaves, where it checks another search; reason says why a word is
        undefined.
    """
    lines = _by_key(summary)
    distances = _distances(results)
    stand_ins = summary[summary["check"] == STAND_IN]
    # Maps that nothing could follow are not steady for that.
    followed = stand_ins.empty or bool((stand_ins["n"] > 0).any())
    masked = incomplete(summary)
    missing = causes(results)
    rows = []
    for (check, setting, saliency, scalar), line in lines.items():
        parts = parts_of(setting)
        attack, search = parts.get("attack", ""), parts.get("search", GRADIENT)
        on_maps = attack == WORST_CASE or (attack in ATTACKS and ATTACKS[attack].goal)
        if check != SIMILARITY or not on_maps or parts.get("attacked") != saliency:
            continue
        if search == EVOLUTION and (check, without_search(setting), saliency, scalar) in lines:
            continue  # it only checks that search
        noise = lines[check, str(control_of(check, setting)), saliency, scalar]
        aim = AIMS.get(attack, "")
        reached = lines.get((aim, setting, saliency, scalar))
        by_noise = lines.get((aim, str(control_of(aim, setting)), saliency, scalar))
        success = lines.get(("attack-success", setting, "", scalar))
        crossed = f"{setting};search={EVOLUTION}" if search == GRADIENT else ""
        beside = lines.get((check, crossed, saliency, scalar))
        lost = list(missing(line).values())
        word, why = _worst(
            [_verdict(line, noise, lost)]
            + ([_by_aim(reached, by_noise, lost)] if reached and by_noise else [])
        )
        if word == STEADY and search == GRADIENT:
            why = masked if followed else "maps have no derivative to follow"
            measure = aim or check
            if not why and beside:
                own = results[
                    (results["check"] == measure)
                    & (results["saliency"] == saliency)
                    & (results["scalar"] == scalar)
                ]
                if moved_further(own, by=crossed, than=setting, higher=measure != SIMILARITY):
                    why = f"{MASKED} (evolution moves the map further)"
        pixel = distances.get((setting, scalar), (np.nan,) * 3)
        model = distances.get((f"{setting};space=model", scalar), (np.nan,) * 3)
        rows.append(
            (
                setting,
                attack,
                _budget(parts),
                saliency,
                scalar,
                *(line[name] for name in ("mean", "ci_low", "ci_high")),
                *(noise[name] for name in ("mean", "ci_low", "ci_high")),
                line["chance"],
                *(reached[name] if reached else np.nan for name in ("mean", "ci_low", "ci_high")),
                by_noise["mean"] if by_noise else np.nan,
                success["mean"] if success else np.nan,
                *pixel,
                *model,
                line["n"],
                line["n_undefined"],
                search,
                *(beside[name] if beside else np.nan for name in ("mean", "ci_low", "ci_high")),
                UNDEFINED if why else word,
                why,
            )
        )
    verdicts = pd.DataFrame(rows, columns=list(VERDICT_COLUMNS))
    # The worst case is no better than any of the attacks it is the worst of.
    key = ["eps", "saliency", "scalar"]
    for i in verdicts.index[verdicts["attack"] == WORST_CASE]:
        same = (verdicts[key] == verdicts.loc[i, key]).all(axis=1)
        of_attacks = list(zip(*(verdicts.loc[same, n] for n in ("verdict", "reason")), strict=True))
        word, reason = _worst(of_attacks)
        reasons = [why for _, why in of_attacks if why]
        if word == STEADY and reasons:
            word, reason = UNDEFINED, reasons[0]
        verdicts.loc[i, ["verdict", "reason"]] = word, reason
    return verdicts


def attack_predictions(summary: pd.DataFrame, results: pd.DataFrame) -> pd.DataFrame:
    """What attacks on the prediction did.

    Args:
        summary: one row per check, with its interval.
        results: rows of the run.

    Returns:
        ``PREDICTION_COLUMNS``; success is the share of images whose prediction changed, control the
        same under noise; reason says why the prediction that stayed shows nothing.
    """
    lines = _by_key(summary)
    masked = incomplete(summary)
    rows = []
    for (check, setting, saliency, scalar), line in lines.items():
        if check != "attack-success" or not setting.startswith("attack=pgd"):
            continue
        eps = _budget(parts_of(setting))
        noise = lines.get(("prediction-kept", str(control_of(check, setting)), saliency, scalar))
        largest = results[(results["setting"] == setting) & (results["check"] == "linf-distance")]
        rows.append(
            (
                setting,
                eps,
                *(line[name] for name in ("mean", "ci_low", "ci_high")),
                1 - noise["mean"] if noise else np.nan,
                lines["l2-distance", setting, saliency, scalar]["mean"],
                largest["value"].astype(float).max(),
                line["n"],
                masked,
            )
        )
    return pd.DataFrame(rows, columns=list(PREDICTION_COLUMNS))


def attack_sentence(verdicts: pd.DataFrame, predictions: pd.DataFrame, *, images: int) -> str:
    """The answer in a few sentences.

    Args:
        verdicts: of `attack_verdicts`.
        predictions: of `attack_predictions`.
        images: audited images.
    """
    parts = []
    several = several_scalars(verdicts)
    for (attack, eps), own in verdicts.groupby(["attack", "eps"], sort=False):
        allowed = "without a budget" if eps == "none" else f"within {eps}"
        allowed += by_evolution(own["setting"].iloc[0])
        count = own["verdict"].value_counts()
        named = []
        for word in ATTACK_WORDS:
            if count.get(word):
                maps = own["saliency"]
                if several:
                    maps = maps.where(own["scalar"] == "", maps + " of " + own["scalar"])
                methods = ", ".join(dict.fromkeys(maps[own["verdict"] == word]))
                if word == UNDEFINED:
                    methods = "; ".join(
                        f"{', '.join(dict.fromkeys(same))}: {why}"
                        for why, same in maps[own["verdict"] == word].groupby(
                            own["reason"], sort=False
                        )
                    )
                named.append(f"{count[word]} {word} ({methods})")
        parts.append(f"{attack} {allowed}: {'; '.join(named)}.")
    if len(verdicts):
        parts.insert(0, f"On {images} images, with every prediction unchanged:")
    for line in predictions.to_dict("records"):
        parts.append(
            f"pgd within {line['eps']} changed the prediction of {line['success']:.0%} of "
            f"{line['n']} images (noise: {line['control']:.0%})."
        )
        if line["reason"] and line["success"] < 1:
            parts.append(f"That the others kept it shows nothing: {line['reason']}.")
    return " ".join(parts) or f"Only noise was tried, on {images} images; see summary.csv."


def _budget(parts: Mapping[str, str]) -> str:
    """The budget as tables name it; linf goes without saying."""
    return f"{parts['norm']} {parts['eps']}" if "norm" in parts else parts["eps"]


def _by_key(summary: pd.DataFrame) -> dict[tuple[str, str, str, str], Line]:
    return {
        (line["check"], line["setting"], line["saliency"], line["scalar"]): line
        for line in summary.to_dict("records")
    }


def _distances(results: pd.DataFrame) -> dict[tuple[str, str], tuple[float, float, float]]:
    """Smallest, mean and largest L2 distance by setting and scalar."""
    rows = results[(results["check"] == "l2-distance") & (results["status"] == "ok")]
    found = {}
    for (setting, scalar), own in rows.groupby(["setting", "scalar"], observed=True):
        values = own["value"].astype(float)
        found[str(setting), str(scalar)] = (values.min(), values.mean(), values.max())
    return found


def _by_aim(reached: Line, by_noise: Line, why: Sequence[str]) -> tuple[str, str]:
    """The verdict by what the attack wants.

    Of a correlation or a share less than half of the distance to 1 must be left. The way of the
    centre of mass has no end: a map whose centre moved is shifted, not fragile for that alone.
    """
    ends = {"mean": "mean", "ci_low": "ci_high", "ci_high": "ci_low"}
    left, beside = (
        {**line, **{name: 1 - line[other] for name, other in ends.items()}}
        for line in (reached, by_noise)
    )
    word, reason = _verdict(left, beside, why)
    return SHIFTED if word == FRAGILE and reached["check"] == "mass-center-shift" else word, reason


def _worst(found: Iterable[tuple[str, str]]) -> tuple[str, str]:
    """The worst of several verdicts on the same maps; undefined only if all are."""
    return min(found, key=lambda one: (FRAGILE, SHIFTED, STEADY, UNDEFINED).index(one[0]))


def _verdict(line: Line, noise: Line, why: Sequence[str]) -> tuple[str, str]:
    """The word, and why it is undefined."""
    n, missing = line["n"], line["n_undefined"]
    word, reason = undefined(n, missing, n + missing, why=why)
    if word:
        return word, reason
    if "eps=0;" in line["setting"]:
        return UNDEFINED, "a budget of 0"
    ends = [line["mean"], line["ci_high"], noise["mean"], noise["ci_low"]]
    if not np.isfinite(np.array(ends, dtype=float)).all():
        return UNDEFINED, "no interval"
    if line["ci_high"] >= noise["ci_low"]:
        # Images that lost their map to the attack were perhaps not steady.
        lost = missing > noise["n_undefined"]
        return (UNDEFINED, counted(why, missing, n + missing)) if lost else (STEADY, "")
    return FRAGILE if line["mean"] < noise["mean"] / 2 else SHIFTED, ""
