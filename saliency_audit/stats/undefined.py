"""When a number is of too few images to judge by, and why: one rule for every command."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import pandas as pd

from saliency_audit.catalogue.metrics import METRICS
from saliency_audit.stats.groups import GROUP

UNDEFINED = "undefined"
MOST_UNDEFINED = 0.05
"""Share of images without a value beyond which a 95 % interval says nothing about the images."""
FEWEST = 8
"""Images below which an interval is too narrow to judge by."""
FEWEST_TRAININGS = 2
"""Trainings below which there is no interval."""
NO_VALUE, NO_LABEL, NO_MAP, FAILED = "no value", "no label", "no map", "failed"

_METRIC_OF = {check: name for name, metric in METRICS.items() for check in metric.checks}
_ONLY = "reason="

Line = Mapping[Any, Any]


def undefined(
    n: int,
    n_undefined: int,
    images: int,
    *,
    why: Iterable[str] = (),
    most: float = MOST_UNDEFINED,
    fewest: int = FEWEST,
    of: str = "image",
) -> tuple[str, str]:
    """Whether values do not suffice for a verdict, and why.

    Args:
        n: images with a value.
        n_undefined: images without one: no map, no label, or what measures it failed.
        images: all that should have one.
        why: of each image without one, such as "zero" or "failed: no such layer"; see `causes`.
        most: share of images that may be without one.
        fewest: images that must have one.
        of: what is counted, where it is not images.

    Returns:
        "undefined" and the reason, or two empty words.

    >>> undefined(5, 3, 8, why=["zero"] * 3), undefined(95, 5, 100)
    (('undefined', 'zero on 3 of 8'), ('', ''))
    >>> undefined(7, 0, 7), undefined(0, 9, 9, why=["no label"] * 9)
    (('undefined', '7 images, 8 needed'), ('undefined', 'no labels'))
    """
    missing, images = max(n_undefined, images - n), max(n + n_undefined, images)
    if missing > most * images:
        return UNDEFINED, counted(why, missing, images)
    if n < fewest:
        return UNDEFINED, f"{n} {of}{'s' * (n != 1)}, {fewest} needed"
    return "", ""


def with_reasons(summary: pd.DataFrame, results: pd.DataFrame) -> pd.DataFrame:
    """A summary with a column ``reason``: why images have no value; empty where all have one.

    Args:
        summary: one row per check.
        results: rows of ``results.csv``.
    """
    why, reasons = causes(results), []
    for line in summary.to_dict("records"):
        n, missing = line["n"], line["n_undefined"]
        lost = why(line).values() if missing else ()
        reasons.append(undefined(n, missing, n + missing, why=lost, most=0, fewest=0)[1])
    return summary.assign(reason=reasons)


def counted(why: Iterable[str], missing: int, images: int) -> str:
    """On how many images there is no value, by reason, the commonest first.

    Args:
        why: a reason for each of them; for the others it is not known.
        missing: images without a value.
        images: all of them.

    >>> counted(["zero", "NaN", "zero"], 4, 8)
    'zero on 2, NaN on 1, no value on 1 of 8'
    >>> counted(["failed: no layer"], 1, 8), counted(["failed: no layer"] * 8, 8, 8)
    ('failed on 1 of 8: no layer', 'failed: no layer')
    """
    texts: dict[str, Counter[str]] = {}
    for reason in why:
        name, _, text = reason.partition(": ")
        texts.setdefault(name, Counter())[text] += 1
    if (rest := missing - sum(own.total() for own in texts.values())) > 0:
        texts.setdefault(NO_VALUE, Counter())[""] += rest
    texts = dict(sorted(texts.items(), key=lambda one: (-one[1].total(), one[0])))
    text = next((most for own in texts.values() if (most := _commonest(own))), "")
    if list(texts) == [NO_LABEL] and missing == images:
        return "no labels"
    if list(texts) == [FAILED] and missing == images:
        return f"{FAILED}: {text}"
    on = ", ".join(f"{name} on {own.total()}" for name, own in texts.items())
    return f"{on} of {images}" + (f": {text}" if text else "")


def causes(results: pd.DataFrame) -> Callable[[Line], dict[str, str]]:
    """What tells, for a row of a summary, why some of its images have no value.

    A label that is missing, a metric or method that failed, or a map that is zero everywhere,
    constant or not finite: each map that says nothing has a row of its own, without a check, whose
    setting is ``reason=...`` behind that of the trick or attack, if any.

    Args:
        results: rows of ``results.csv``.

    Returns:
        A function of what a row is about (``GROUP``), which gives the reason by image.
    """
    bad = results[results["status"] != "ok"]
    maps: dict[tuple[str, ...], dict[str, str]] = {}
    failed: dict[tuple[str, ...], dict[str, str]] = {}
    missing: dict[tuple[str, ...], dict[str, str]] = {}
    # An error that no code of ours expected says so itself.
    said = bad["setting"].str.replace("it failed with ", "", regex=False)
    bad = bad.assign(setting=said)
    for row in bad[["image", "label", "target", "status", *GROUP]].to_dict("records"):
        model, saliency, scalar, check, setting = (row[name] for name in GROUP)
        image, (where, _, reason) = row["image"], setting.rpartition(_ONLY)
        if not check and saliency:
            known = not reason.startswith(FAILED) and row["status"] == "error"
            key = (model, saliency, scalar, image)
            maps.setdefault(key, {}).setdefault(where.rstrip(";"), NO_MAP if known else reason)
        elif setting.startswith(_ONLY):
            # Behind the reason may stand the budget that an attack failed at.
            why = f"{FAILED}: {reason.partition(';eps=')[0]}"
            failed.setdefault((model, saliency, scalar, check), {})[image] = why
        elif check:
            needs = METRICS[_METRIC_OF[check]].needs if check in _METRIC_OF else ()
            absent = pd.isna(row["target"]) or ("labels" in needs and pd.isna(row["label"]))
            of = missing.setdefault((model, saliency, scalar, check, setting), {})
            of[image] = NO_LABEL if absent else NO_VALUE

    def of_line(line: Line) -> dict[str, str]:
        model, saliency, scalar, check, setting = (line[name] for name in GROUP)
        # What failed has the name of the metric, whatever else that measures.
        metric = _METRIC_OF.get(check, check)
        found = dict(failed.get((model, saliency, scalar, metric), {}))
        for image, reason in missing.get((model, saliency, scalar, check, setting), {}).items():
            own = maps.get((model, saliency, scalar, image), {})
            if reason == NO_VALUE and own:
                reason = own.get("") or _after(own.get(setting, "")) or NO_VALUE
            found[image] = reason
        return found

    return of_line


def _commonest(texts: Counter[str]) -> str:
    return min(texts, key=lambda text: (-texts[text], text))


def _after(reason: str) -> str:
    """What became of a map that was there before a trick or an attack."""
    name, colon, text = reason.partition(": ")
    return f"{name} after it{colon}{text}" if name else ""
