"""What training gained and what it cost: one word for each question, from paired differences."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from saliency_audit.catalogue.methods import CONTROLS
from saliency_audit.catalogue.metrics import PROPORTIONS
from saliency_audit.commands.attack.audit import TOP
from saliency_audit.commands.attack.masked import incomplete
from saliency_audit.commands.evaluate.verdict import evaluate_chances
from saliency_audit.commands.finetune.options import QUESTIONS
from saliency_audit.commands.finetune.tables import budget_of
from saliency_audit.metrics import CHECKS, METRICS
from saliency_audit.metrics.similarity import pixel_count
from saliency_audit.setting import parts_of
from saliency_audit.stats.undefined import UNDEFINED, Line, causes, undefined

BETTER, WORSE, CHANGED, SAME = "better", "worse", "changed", "no difference shown"

FINETUNE_WORDS = {
    BETTER: "the 95 % interval of the paired difference, after minus before on the same images, "
    "lies on the better side of zero",
    WORSE: "that interval lies on the worse side of zero",
    CHANGED: "that interval excludes zero, and neither end is better: gradients that are shorter, "
    "or maps with fewer pixels, are not truer for that",
    SAME: "that interval holds zero: on these images no difference is shown, which on few images "
    "says little",
    UNDEFINED: "no verdict, and in brackets why: more than 5 % of the images have no value with "
    "one of the models (their map is zero, constant or NaN, they have no label, or the method or "
    "the check failed), fewer than 8 have one with both, or the gradients of a model are masked "
    "(completeness over one half): an attack that finds nothing shows nothing",
}
ATTACKED = "topk-intersection"
_BY_GRADIENT = ("robust-accuracy", ATTACKED)
"""Checks that an attack answers, which finds nothing where gradients are masked."""
VERDICT_COLUMNS = (
    "check",
    "saliency",
    "setting",
    "before",
    "before_low",
    "before_high",
    "swapped",
    "swapped_low",
    "swapped_high",
    "after",
    "after_low",
    "after_high",
    "difference",
    "difference_low",
    "difference_high",
    "control_before",
    "control_after",
    "n",
    "n_undefined",
    "word",
    "reason",
)
_ENDS = {"": "mean", "_low": "ci_low", "_high": "ci_high"}
_DIFFERENCE = ("difference", "difference_low", "difference_high")
_FAILED = "reason="


def finetune_verdicts(
    summary: pd.DataFrame, compared: pd.DataFrame, results: pd.DataFrame
) -> pd.DataFrame:
    """A verdict for each question, and for each method where the question is about its map.

    Args:
        summary: one row per check, with its interval; the model before comes first, the one after
            last, and between them the one before under the activation that was trained, where that
            is another. With a single model nothing is compared, and no row has a word.
        compared: the paired differences, each model minus the one before:
            ``model,saliency,scalar,check,setting,difference,difference_low,difference_high,n``.
        results: rows of the run, for why images have no value.

    Returns:
        ``VERDICT_COLUMNS``, in the order of ``QUESTIONS``. ``swapped`` is of the model between.
        ``control_before`` and
        ``control_after`` are the means of what the check stands beside in ``summary``: the random
        map, or noise of the attack's size. ``word`` is empty where there is nothing to compare
        with. Of ``n`` images the difference is defined. ``reason`` is why a word is undefined.
    """
    names = list(dict.fromkeys(summary["model"]))
    lines = [line for line in summary.to_dict("records") if _is_answer(line)]
    key = ("saliency", "scalar", "check", "setting")
    beside = {
        tuple(line[name] for name in key): line
        for line in compared.to_dict("records")
        if line["model"] == names[-1]
    }
    groups: dict[tuple[str, str, str, str], dict[str, list[Line]]] = {}
    for line in lines:
        # A failure has a reason instead of a setting: it answers what it failed at.
        of = (line["check"], line["saliency"], line["scalar"], budget_of(line))
        groups.setdefault(of, {}).setdefault(line["model"], []).append(line)
    ends = (*names[:1], *names[-1:])
    masked = next(
        filter(None, (incomplete(summary[summary["model"] == name]) for name in ends)), ""
    )
    rows, why = [], causes(results)
    for check, saliency, scalar, budget in sorted(groups, key=lambda of: QUESTIONS.index(of[0])):
        of_model = groups[check, saliency, scalar, budget]
        after = of_model.get(names[-1], [])
        before = of_model.get(names[0], []) if len(names) > 1 else []
        measured = [line for line in (*after, *before) if not _failed(line)]
        setting = (measured or after or before)[0]["setting"]
        difference = beside.get((saliency, scalar, check, setting), {})
        paired = bool(before and after)
        images = max(_images(before), _images(after))
        n = int(difference.get("n", 0)) if paired else sum(line["n"] for line in after)
        word, reason = "", ""
        if paired and masked and check in _BY_GRADIENT:
            word, reason = UNDEFINED, masked
        elif paired:
            lost: dict[str, str] = {}
            for one in (*before, *after):
                lost |= why(one)
            word, reason = _word(check, difference, n, images, list(lost.values()))
        rows.append(
            {
                "check": check,
                "saliency": saliency,
                "setting": setting,
                **_means("before", before),
                **_means("swapped", of_model.get(names[1], []) if len(names) > 2 else []),
                **_means("after", after),
                **{name: difference.get(name, np.nan) for name in _DIFFERENCE},
                "control_before": _mean(before, "control"),
                "control_after": _mean(after, "control"),
                "n": n,
                "n_undefined": images - n,
                "word": word,
                "reason": reason,
            }
        )
    return pd.DataFrame(rows, columns=list(VERDICT_COLUMNS))


def _is_answer(line: Line) -> bool:
    """Whether a row answers a question: no control, no stage on the way, no noise."""
    check, setting = line["check"], line["setting"]
    if check not in QUESTIONS or line["saliency"] in CONTROLS:
        return False
    if _failed(line):
        return True
    if check in METRICS:
        return METRICS[check].answer in setting
    parts = parts_of(setting)
    return parts.get("attack") == "topk" and parts.get("attacked") == line["saliency"]


def _failed(line: Line) -> bool:
    return bool(line["setting"].startswith(_FAILED))


def _images(lines: Sequence[Line]) -> int:
    return sum(int(line["n"] + line["n_undefined"]) for line in lines)


def _means(name: str, lines: Sequence[Line]) -> dict[str, float]:
    return {name + end: _mean(lines, column) for end, column in _ENDS.items()}


def _mean(lines: Sequence[Line], column: str) -> float:
    return next((line[column] for line in lines if not _failed(line)), np.nan)


def _word(check: str, difference: Line, n: int, images: int, why: Sequence[str]) -> tuple[str, str]:
    """The word, and why it is undefined."""
    ends = sorted(difference.get(name, np.nan) for name in _DIFFERENCE[1:])
    word, reason = undefined(n, images - n, images, why=why)
    if word:
        return word, reason
    if not np.isfinite(ends).all():
        return UNDEFINED, "no interval"
    if ends[0] <= 0 <= ends[1]:
        return SAME, ""
    better = CHECKS[check].higher_is_better
    return (CHANGED if better is None else BETTER if better == (ends[0] > 0) else WORSE), ""


def finetune_chances(
    rows: pd.DataFrame, classes: int, input_shape: Sequence[int]
) -> dict[Any, float]:
    """What a map without information would get, by check or by check and setting.

    Args:
        rows: results, with the columns ``check`` and ``setting``.
        classes: outputs of the model.
        input_shape: ``(c, h, w)`` of an image.
    """
    pixels = input_shape[1] * input_shape[2]
    return {
        **evaluate_chances(rows, classes),
        "topk-intersection": pixel_count(TOP, pixels) / pixels,
    }


def finetune_sentence(
    verdicts: pd.DataFrame, *, objective: str, images: int, against: str | None = None
) -> str:
    """The answer in a sentence, losses beside gains.

    Args:
        verdicts: of `finetune_verdicts`.
        objective: what was trained for.
        images: audited images.
        against: the model compared with, where it is not that before training.
    """
    lines = verdicts.to_dict("records")
    if not lines:
        return f"After {objective}: nothing was audited."
    beside = f", compared with {against}" if against else ""
    counted = next((line["n"] for line in lines if line["check"] == "accuracy" and line["n"]), 0)
    if counted and all(line["check"] == "accuracy" for line in lines):
        images = counted
    said = [f"After {objective}{beside}, on {images} images"]
    if counted and counted != images:
        said[0] += f" (accuracy on {counted})"
    judged = [line for line in lines if line["word"]]
    if not judged:
        measured = ", ".join(
            f"{_called(line, lines)} {line['after']:.3g}" for line in lines if line["n"]
        )
        return f"{said[0]}: {measured or 'nothing measured'}; there is no model to compare with."
    for word, nothing in ((BETTER, "nothing better"), (WORSE, "nothing worse"), (CHANGED, "")):
        told = [_by(line, lines) for line in judged if line["word"] == word]
        said.append(", ".join(told) or nothing)
    if named := _together([line for line in judged if line["word"] == SAME], lines):
        said.append(f"{SAME} for {named}")
    gone = [line for line in judged if line["word"] == UNDEFINED]
    if gone:
        named = ", ".join(
            f"{_together([line for line in gone if line['reason'] == reason], lines)} ({reason})"
            for reason in dict.fromkeys(line["reason"] for line in gone)
        )
        said.append(f"{UNDEFINED}: {named}")
    return f"{said[0]}: " + "; ".join(filter(None, said[1:])) + "."


def _called(line: Line, lines: Sequence[Line]) -> str:
    """A question as sentences call it, with its budget and method where there are several."""
    name = line["check"] + (" under attack" if line["check"] == ATTACKED else "")
    same = [other for other in lines if other["check"] == line["check"]]
    if len({budget_of(other) for other in same}) > 1:
        name += f" at {budget_of(line)}"
    several = len({other["saliency"] for other in same}) > 1
    return f"{name} of {line['saliency']}" if several else name


def _together(some: Sequence[Line], lines: Sequence[Line]) -> str:
    """Questions, each with its methods behind it where there are several."""
    named: dict[str, list[str]] = {}
    for line in some:
        name, _, method = _called(line, lines).partition(" of ")
        named.setdefault(name, []).append(method)
    return ", ".join(
        f"{name} ({', '.join(methods)})" if any(methods) else name
        for name, methods in named.items()
    )


def _by(line: Line, lines: Sequence[Line]) -> str:
    """How much better, worse, higher or lower; and what the control did, where it moved too."""
    points = line["check"] in PROPORTIONS
    low, high = sorted(abs(line[name]) for name in _DIFFERENCE[1:])
    way = line["word"]
    if way == CHANGED:
        way = "higher" if line["difference"] > 0 else "lower"
    scale, unit = (100, " points") if points else (1, "")
    size = abs(line["difference"])
    text = (
        f"{_called(line, lines)} {way} by {_short(scale * size)}{unit} "
        f"[{_short(scale * low)}, {_short(scale * high)}]"
    )
    control = "noise" if line["check"] == ATTACKED else "a random map"
    beside = {
        control: line["control_after"] - line["control_before"],
        "softplus alone": line["swapped"] - line["before"],
    }
    told = [
        f"{what}: {'higher' if moved > 0 else 'lower'} by {_short(scale * abs(moved))}{unit}"
        for what, moved in beside.items()
        if abs(moved) > size / 10  # enough to account for it, and known
    ]
    return f"{text} ({'; '.join(told)})" if told else text


def _short(size: float) -> str:
    """Two digits, or all before the point.

    >>> _short(0.0812), _short(9.96), _short(1234.5)
    ('0.081', '10', '1234')
    """
    return f"{size:.2g}" if size < 10 else f"{size:.0f}"
