"""May this model be released? Judges what was measured by the limits of a policy."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import isfinite, nan
from typing import Any

import pandas as pd

from saliency_audit.catalogue.metrics import PROPORTIONS
from saliency_audit.commands.attack.verdict import SIMILARITY, attack_verdicts
from saliency_audit.commands.evaluate.verdict import evaluate_chances
from saliency_audit.commands.fool.forgery import bounds
from saliency_audit.commands.fool.verdict import all_kept, fool_verdicts, kept_promises
from saliency_audit.commands.gate.outcome import (
    FAILED,
    INCONCLUSIVE,
    PASSED,
    Outcome,
    limit_of,
    shown,
)
from saliency_audit.commands.gate.policy import PolicyCheck
from saliency_audit.errors import InputError
from saliency_audit.metrics import CHECKS, METRICS
from saliency_audit.stats.groups import GROUP
from saliency_audit.stats.undefined import FEWEST, UNDEFINED, causes, undefined

_WORST_FIRST = (UNDEFINED, FAILED, INCONCLUSIVE, PASSED)
UNREADABLE = "file unreadable"
_KEEPS = {(1, False): (">=", "<"), (1, True): (">", "<="), (-1, False): ("<=", ">")}
_KEEPS[-1, True] = ("<", ">=")


def judge(
    check: PolicyCheck,
    results: pd.DataFrame,
    summary: pd.DataFrame,
    differences: pd.DataFrame | None = None,
    *,
    baseline: pd.DataFrame | None = None,
    changes: pd.DataFrame | None = None,
    other_images: bool = False,
    classes: int | None,
    images: int,
    unreadable: int = 0,
) -> Outcome:
    """What became of a check, from the rows of the run that measured it.

    Args:
        check: of the policy.
        results: rows of its run.
        summary: one row per check, with its interval.
        differences: of metrics: the paired difference of each to the random map,
            ``model,saliency,scalar,check,setting,difference,difference_low,difference_high,n``.
        baseline: summary of an earlier run.
        changes: the paired difference of each metric to that run, columns as in ``differences``.
        other_images: whether that run measured other images than this one.
        classes: of which one is right; None where outputs do not exclude each other.
        images: of the run; each must have a value.
        unreadable: those of them that could not be read, and so have none.
    """
    if check.kind != "metric":
        judged = _of_trick if check.kind == "trick" else _of_attack
        return judged(check, results, summary, images=images, unreadable=unreadable)
    failed = summary["setting"].str.startswith("reason=")
    lines = _own(check, summary[(summary["check"] == check.name) & ~failed]).to_dict("records")
    answers = [line for line in lines if METRICS[check.metric].answer in line["setting"]]
    # What has no mean over the stages, such as the norm of the map, is that of the last one.
    lines = answers or [line for line in lines if "randomised=all" in line["setting"]]
    found = causes(results)
    if not lines:
        measured = failed & summary["check"].isin([check.name, check.metric])
        lost = [
            reason
            for line in _own(check, summary[measured]).to_dict("records")
            for reason in found(line | {"check": check.metric}).values()
        ]
        lost += [UNREADABLE] * unreadable
        _, reason = undefined(0, images, images, why=lost, most=0)
        return Outcome(check, UNDEFINED, reason, limit_of(check), n_undefined=images)
    chances = evaluate_chances(summary, classes)
    outcomes = [
        _of_line(
            check,
            line,
            differences,
            baseline,
            changes,
            chances,
            images=images,
            why=[*found(line).values(), *[UNREADABLE] * unreadable],
        )
        for line in lines
    ]
    # The worst setting decides, and of equally bad ones the one that is furthest off.
    worst = min(
        outcomes,
        key=lambda one: (
            _WORST_FIRST.index(one.status),
            one.margin if isfinite(one.margin) else 0.0,
        ),
    )
    if check.limit == "no_worse_than" and other_images:
        why = f"{worst.message}; the baseline was measured on other images"
        return replace(worst, message=why)
    return worst


def check_baseline(checks: Sequence[PolicyCheck], baseline: pd.DataFrame | None) -> None:
    """Refuse a baseline that lacks what checks are compared with, before anything is measured.

    Args:
        checks: of the policy.
        baseline: ``summary.csv`` of an earlier run.

    Raises:
        InputError: names what is missing.
    """
    for check in checks:
        if check.limit != "no_worse_than":
            continue
        if baseline is None:
            raise InputError(
                f'{check.file}, line {check.line}: no_worse_than = "baseline" compares '
                f"{check.title} with an earlier run; add --baseline FILE, the summary.csv of one"
            )
        lines = _own(check, baseline[baseline["check"] == check.name])
        if not lines["mean"].map(isfinite).any():
            raise InputError(
                f"{check.file}, line {check.line}: the baseline has no defined row with "
                f"{_row(check)}; make one with the same options, or leave the check"
            )
        if lines.duplicated("setting").any():
            raise InputError(
                f"{check.file}, line {check.line}: the baseline has several rows for "
                f"{check.title}; give that of a single model"
            )


def _own(check: PolicyCheck, lines: pd.DataFrame) -> pd.DataFrame:
    """The lines about the method and scalar of a check; of the model alone, all."""
    if not check.saliency:
        return lines
    own = lines[(lines["saliency"] == check.saliency) & (lines["scalar"] == check.scalar)]
    # What comes with a metric of maps but is of the model or the image has no method.
    return own if len(own) else lines[lines["saliency"] == ""]


def _of_line(
    check: PolicyCheck,
    line: Mapping[Any, Any],
    differences: pd.DataFrame | None,
    baseline: pd.DataFrame | None,
    changes: pd.DataFrame | None,
    chances: Mapping[tuple[str, str], float],
    *,
    images: int,
    why: Sequence[str],
) -> Outcome:
    """What became of a check at one setting; ``why`` images have no value, as far as known."""
    setting = str(line["setting"])
    values = (line["mean"], line["ci_low"], line["ci_high"])
    n = int(line["n"])
    missing = max(int(line["n_undefined"]), images - n)
    sign = -1 if check.limit == "at_most" else 1
    if check.limit in ("better_than", "no_worse_than"):
        sign = 1 if CHECKS[check.name].higher_is_better else -1
    strict, bound = check.limit == "better_than", nan
    before, after, beside, absent, hint = "", "", "", "", ""
    if check.limit in ("at_least", "at_most"):
        bound = float(check.value)  # type: ignore[arg-type]
    elif check.value == "chance":
        bound, after = chances.get((check.name, setting), nan), " (chance)"
    elif check.value == "baseline":
        earlier, absent = _earlier(check, setting, baseline)
        change, paired = _difference(check, setting, changes)
        if paired and not absent:
            values, n = change, paired
            bound = 0.0 - sign * check.tolerance
            before, after = "difference ", f" against the baseline's {shown(earlier)}"
            if paired < images:
                after += f" on {paired} common images"
        else:
            bound = earlier - sign * check.tolerance
            after = f" (baseline {shown(earlier)})" if check.tolerance else " (baseline)"
            hint = (
                "; without results.csv of the same images beside the baseline, which would be "
                "compared image by image, the tolerance must exceed half the interval's width, "
                f"{shown((values[2] - values[1]) / 2)}"
            )
    else:
        bound, before, beside = 0.0, "difference to random ", " against random"
        values, paired = _difference(check, setting, differences)
        # Images on which either map is undefined are missing from the pairs.
        missing = max(missing, images - paired)
    keeps, breaks = _KEEPS[sign, strict]
    after += _randomised(check, setting)
    made = Outcome(
        check,
        UNDEFINED,
        "",
        f"{keeps} {shown(bound)}{after}{beside}",
        *values,
        setting=setting,
        n=n,
        n_undefined=missing,
    )
    shares = check.name in PROPORTIONS and check.value not in ("random", "baseline")
    judged = min(n, images - missing)
    word, reason = undefined(
        judged, missing, judged + missing, why=why, most=0, fewest=1 if shares else FEWEST
    )
    if word and not missing and n < FEWEST <= images:
        reason = (
            f"the baseline has {n} of the {images} images, {FEWEST} needed; measure both on the "
            "same"
        )
    if word or absent:
        return replace(made, message=reason if missing or not absent else absent)
    if not all(map(isfinite, (*values, bound))):
        return replace(made, message="there is no interval")
    margin = min(sign * (end - bound) for end in values[1:])
    right = sign * (values[0] - bound)
    written, edge = _with_interval(values, bound)
    text = f"{before}{written}"
    if margin > 0 or (margin == 0 and not strict):
        return replace(made, status=PASSED, message=f"{text} {keeps} {edge}{after}", margin=margin)
    if right > 0 or (right == 0 and not strict):
        message = f"{text} is not wholly {keeps} {edge}{after}{hint}"
        return replace(made, status=INCONCLUSIVE, message=message, margin=margin)
    return replace(made, status=FAILED, message=f"{text} {breaks} {edge}{after}", margin=margin)


def _randomised(check: PolicyCheck, setting: str) -> str:
    """How the weights were randomised, unless the policy says it: the number depends on it."""
    if check.options.get("randomise", "auto") != "auto":
        return ""
    how = [part for part in setting.split(";") if part.startswith("randomise=")]
    return f" ({how[0]})" if how else ""


def _difference(
    check: PolicyCheck, setting: str, differences: pd.DataFrame | None
) -> tuple[tuple[float, float, float], int]:
    """The paired difference to the random map with its interval, and its images."""
    if differences is not None:
        same = (differences["check"] == check.name) & (differences["setting"] == setting)
        for line in _own(check, differences[same]).to_dict("records"):
            ends = (line["difference"], line["difference_low"], line["difference_high"])
            return ends, int(line["n"])
    return (nan, nan, nan), 0


def _earlier(check: PolicyCheck, setting: str, baseline: pd.DataFrame | None) -> tuple[float, str]:
    """The baseline's mean, and why there is none at this setting."""
    if baseline is None:
        return nan, "there is no baseline"
    lines = _own(check, baseline[baseline["check"] == check.name])
    same = lines[lines["setting"] == setting]
    if len(same) and isfinite(float(same["mean"].iloc[0])):
        return float(same["mean"].iloc[0]), ""
    if len(same):
        return nan, f"the baseline has no number at {setting or 'this check'}"
    asked = set(setting.split(";"))
    nearest = max(lines["setting"], key=lambda other: len(asked & set(other.split(";"))))
    other = ";".join(part for part in nearest.split(";") if part not in asked)
    return nan, f"the baseline has {other or 'no row'} and not {_apart(setting, nearest)}"


def _apart(setting: str, nearest: str) -> str:
    known = set(nearest.split(";"))
    return ";".join(part for part in setting.split(";") if part not in known) or "this setting"


def _row(check: PolicyCheck) -> str:
    row = f"check={check.name}"
    return row + (f", saliency={check.saliency}, scalar={check.scalar}" if check.saliency else "")


def _of_trick(
    check: PolicyCheck,
    results: pd.DataFrame,
    summary: pd.DataFrame,
    *,
    images: int,
    unreadable: int,
) -> Outcome:
    """By the verdict of `fool`; predictions that changed show that the trick was none."""
    own = ("strength", "picture")
    tricks = {check.name: {key: v for key, v in check.options.items() if key not in own}}
    promised = bounds(tricks)
    kept = all_kept(kept_promises(results, promised))
    verdicts = fool_verdicts(summary, kept, results)
    lines = _own(check, verdicts).to_dict("records")
    if not lines:
        return Outcome(check, UNDEFINED, "no map was judged", limit_of(check))
    line = lines[0]
    word = str(line["verdict"])
    made = _of_word(
        check,
        word,
        f"cosine with the picture {shown(line['before'])} -> {shown(line['after'])}",
        (line["after"], line["after_low"], line["after_high"]),
        line,
        str(line["trick"]),
        images=images,
        why=_lost(results, "cosine", str(line["trick"]), check, unreadable),
    )
    if made.status == PASSED and not kept[str(line["trick"])]:
        why = f"{word}, but {check.name} changed predictions or probabilities"
        return replace(made, status=UNDEFINED, message=why)
    return made


def _of_attack(
    check: PolicyCheck,
    results: pd.DataFrame,
    summary: pd.DataFrame,
    *,
    images: int,
    unreadable: int,
) -> Outcome:
    """By the verdict of `attack`."""
    verdicts = attack_verdicts(summary, results)
    lines = _own(check, verdicts[verdicts["attack"] == check.name]).to_dict("records")
    if not lines:
        return Outcome(check, UNDEFINED, "no map was judged", limit_of(check))
    line = lines[0]
    ends = (line["similarity"], line["similarity_low"], line["similarity_high"])
    text = f"kept {_with_interval(ends, nan)[0]}, under noise {shown(line['control'])}"
    return _of_word(
        check,
        str(line["verdict"]),
        text,
        ends,
        line,
        str(line["setting"]),
        images=images,
        why=_lost(results, SIMILARITY, str(line["setting"]), check, unreadable),
    )


def _lost(
    results: pd.DataFrame, measured: str, setting: str, check: PolicyCheck, unreadable: int
) -> list[str]:
    """Why images have no value under a trick or an attack."""
    model = next(iter(results["model"]), "")
    about = (model, check.saliency, check.scalar, measured, setting)
    found = causes(results)(dict(zip(GROUP, about, strict=True)))
    return [*found.values(), *[UNREADABLE] * unreadable]


def _of_word(
    check: PolicyCheck,
    word: str,
    text: str,
    ends: tuple[float, float, float],
    line: Mapping[Any, Any],
    setting: str,
    *,
    images: int,
    why: Sequence[str],
) -> Outcome:
    """By a word: an accepted one passes if every image has a value."""
    n, missing = int(line["n"]), int(line["n_undefined"])
    message, status = f"{word}: {text}", FAILED
    none, reason = undefined(n, missing, images, why=why, most=0)
    if word == UNDEFINED:
        status, message = UNDEFINED, line["reason"]
    elif isinstance(check.value, tuple) and word in check.value:
        status, message = (UNDEFINED, reason) if none else (PASSED, message)
    return Outcome(
        check,
        status,
        message,
        limit_of(check),
        *ends,
        setting=setting,
        n=n,
        n_undefined=max(missing, images - n),
    )


def _with_interval(values: tuple[float, float, float], bound: float) -> tuple[str, str]:
    """A mean with its interval, and a bound, with digits enough to tell them apart.

    >>> _with_interval((0.4996, 0.49, 0.51), 0.5)
    ('0.4996 [0.49, 0.51]', '0.5')
    """
    digits = next(
        (
            digits
            for digits in range(3, 7)
            if all(f"{v:.{digits}g}" != f"{bound:.{digits}g}" for v in values if v != bound)
        ),
        7,
    )
    mean, low, high = (f"{value + 0.0:.{digits}g}" for value in values)
    return f"{mean} [{low}, {high}]", f"{bound:.{digits}g}"
