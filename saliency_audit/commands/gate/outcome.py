"""What became of each check of a policy, and of the release."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite, nan
from typing import Any

import pandas as pd

from saliency_audit.commands.gate.policy import PolicyCheck
from saliency_audit.stats.undefined import UNDEFINED

PASSED, FAILED, INCONCLUSIVE = "passed", "failed", "inconclusive"
NOT_RUN = "not run"

GATE_WORDS = {
    PASSED: "the whole 95 % interval keeps the limit, or the verdict is an accepted one",
    FAILED: "the measured value is on the wrong side of the limit, or the verdict is not accepted",
    INCONCLUSIVE: "the value is on the right side but its interval is not: more images would tell; "
    "no pass",
    UNDEFINED: "no number to judge by, and in brackets why: an image has no value (its map is "
    "zero, constant or NaN, it has no label, the method or the metric failed, or its file is "
    "unreadable), fewer than 8 have one, or the baseline has other settings; no pass",
    NOT_RUN: "the model or its format does not allow what the check asks for; no pass",
}
OUTCOME_COLUMNS = (
    "check",
    "name",
    "kind",
    "saliency",
    "scalar",
    "setting",
    "status",
    "effect",
    "measured",
    "ci_low",
    "ci_high",
    "limit",
    "message",
    "n",
    "n_undefined",
    "seconds",
    "line",
)


@dataclass(frozen=True)
class Outcome:
    """What became of one check.

    Attributes:
        check: of the policy.
        status: a word of ``GATE_WORDS``.
        message: the measured value beside the limit, or why there is none.
        limit: as people write it.
        measured: what the limit is for.
        low: end of its interval.
        high: the other end.
        setting: what it was measured at.
        n: images.
        n_undefined: images without a value.
        margin: by how much the interval keeps the limit.
    """

    check: PolicyCheck
    status: str
    message: str
    limit: str
    measured: float = nan
    low: float = nan
    high: float = nan
    setting: str = ""
    n: int = 0
    n_undefined: int = 0
    margin: float = nan

    @property
    def effect(self) -> str:
        """What it does to the release: "pass", "warn" or "refuse"."""
        if self.status == PASSED:
            return "pass"
        soft = self.check.level == "warn" or (
            self.status == INCONCLUSIVE and self.check.inconclusive == "warn"
        )
        return "warn" if soft else "refuse"


def not_run(check: PolicyCheck, reason: str) -> Outcome:
    """The outcome of a check that the model does not allow."""
    return Outcome(check, NOT_RUN, reason, limit_of(check))


def enough_images(check: PolicyCheck, distinct: int, readable: int) -> Outcome:
    """Whether there were enough images of different content to judge by.

    Args:
        check: of the policy.
        distinct: images of different pixels.
        readable: all of them.
    """
    assert isinstance(check.value, float)
    return Outcome(
        check,
        PASSED if distinct >= check.value else FAILED,
        f"{distinct} of {readable}"
        + ("" if distinct >= check.value else f": give {check.value:.0f} that differ"),
        limit_of(check),
        measured=float(distinct),
        n=readable,
    )


def input_gradient(images: int, without: int, reason: str) -> list[Outcome]:
    """A failed check of a model whose output has no gradient in some images, whatever is asked.

    Nothing can be followed there: each map of gradients is empty, and each attack finds nothing.

    Args:
        images: that it was tried on.
        without: those of them whose gradient is exactly 0, or that none reaches.
        reason: why, where that is known.

    Returns:
        That check; none where there is a gradient in all of them.
    """
    if not without:
        return []
    check = PolicyCheck("model", "input gradient", "", "", "at_least", float(images))
    none = f"{without} of {images} images tried have none"
    return [
        Outcome(
            check,
            FAILED,
            f"{none}: {reason}" if reason else none,
            limit_of(check),
            measured=float(images - without),
            n=images,
        )
    ]


def outputs_named(outputs: int, names: Sequence[str] | None) -> list[Outcome]:
    """A failed check of a model with more outputs than the images have classes, whatever is asked.

    An output that is no class's takes probability from all others, and with it decides what their
    gradients show, while no label can tell.

    Args:
        outputs: of the model.
        names: of the classes of the images, where they are known.

    Returns:
        That check; none where every output is a class, or where nobody knows.
    """
    if names is None or outputs <= len(names):
        return []
    check = PolicyCheck("model", "outputs", "", "", "at_most", float(len(names)))
    why = (
        f"{outputs}, and the images know {len(names)} classes; if the others are classes too, name "
        "all with --classes FILE"
    )
    return [Outcome(check, FAILED, why, limit_of(check), measured=float(outputs))]


def outcome_table(
    outcomes: Sequence[Outcome], seconds: Mapping[int, float] | None = None
) -> pd.DataFrame:
    """``OUTCOME_COLUMNS``, a row for each check.

    Args:
        outcomes: in the order of the policy.
        seconds: that were spent, by place in ``outcomes``.
    """
    titles = [one.check.title for one in outcomes]
    rows: list[dict[str, Any]] = []
    for i, one in enumerate(outcomes):
        title = titles[i]
        # Two limits on one number are two checks.
        if titles.count(title) > 1:
            title = f"{title}: {limit_of(one.check)}"
        rows.append(
            {
                "check": title,
                "name": one.check.name,
                "kind": one.check.kind,
                "saliency": one.check.saliency,
                "scalar": one.check.scalar,
                "setting": one.setting,
                "status": one.status,
                "effect": one.effect,
                "measured": one.measured,
                "ci_low": one.low,
                "ci_high": one.high,
                "limit": one.limit,
                "message": one.message,
                "n": one.n,
                "n_undefined": one.n_undefined,
                "seconds": round((seconds or {}).get(i, 0.0), 3),
                "line": one.check.line,
            }
        )
    return pd.DataFrame(rows, columns=list(OUTCOME_COLUMNS))


def gate_sentence(outcomes: pd.DataFrame, *, images: int = 0, unreadable: int = 0) -> str:
    """The answer in a sentence.

    Args:
        outcomes: of `outcome_table`.
        images: of the run.
        unreadable: those of them that could not be read.
    """
    sentence = _answer(outcomes)
    if unreadable:
        sentence += f". {unreadable} of {images} images could not be read"
    return sentence


def _answer(outcomes: pd.DataFrame) -> str:
    if outcomes.empty:
        return "refused: nothing was judged"
    refusing = outcomes[outcomes["effect"] == "refuse"]
    warned = outcomes[outcomes["effect"] == "warn"]
    passed = int((outcomes["effect"] == "pass").sum())
    warnings = "; ".join(f"{line.check} {line.status}" for line in warned.itertuples())
    also = f". Only warned of: {warnings}" if len(warned) else ""
    if len(refusing):
        why = "; ".join(
            f"{line.check} {line.status} ({line.message})" for line in refusing.itertuples()
        )
        return f"refused: {len(refusing)} of {len(outcomes)} checks did not pass: {why}{also}"
    if len(warned):
        return f"released: {passed} of {len(outcomes)} checks passed{also}"
    return f"released: all {passed} checks passed" if passed != 1 else "released: the check passed"


def limit_of(check: PolicyCheck) -> str:
    """The limit as far as the policy tells it.

    >>> limit_of(PolicyCheck("metric", "deletion", "gradient", "logit", "better_than", "random"))
    'better than random'
    """
    if isinstance(check.value, tuple):
        return " or ".join(check.value)
    words = {
        "at_least": ">=",
        "at_most": "<=",
        "better_than": "better than",
        "no_worse_than": "no worse than",
    }
    value = check.value if isinstance(check.value, str) else shown(check.value)
    return f"{words[check.limit]} {value}"


def shown(value: float) -> str:
    """A number in a limit or a message."""
    return f"{value:.3g}" if isfinite(value) else "?"
