"""Every table of a terminal, with the longest words it can hold, at 80 columns: a log of CI."""

from io import StringIO

import pandas as pd
import pytest
from rich.console import Console

from saliency_audit.catalogue.attacks import ATTACKS
from saliency_audit.catalogue.methods import METHODS
from saliency_audit.commands.attack.verdict import ATTACK_WORDS, PREDICTION_COLUMNS
from saliency_audit.commands.attack.verdict import VERDICT_COLUMNS as OF_ATTACK
from saliency_audit.commands.check.tables import accuracy_table, methods_table, says_table
from saliency_audit.commands.evaluate.verdict import EVALUATE_WORDS
from saliency_audit.commands.evaluate.verdict import VERDICT_COLUMNS as OF_EVALUATE
from saliency_audit.commands.finetune.verdict import FINETUNE_WORDS, QUESTIONS
from saliency_audit.commands.finetune.verdict import VERDICT_COLUMNS as OF_FINETUNE
from saliency_audit.commands.fool.verdict import FOOL_WORDS, PROMISE_COLUMNS
from saliency_audit.commands.fool.verdict import VERDICT_COLUMNS as OF_FOOL
from saliency_audit.commands.gate.outcome import OUTCOME_COLUMNS
from saliency_audit.metrics import METRICS
from saliency_audit.models import SCALARS
from saliency_audit.report.table import Table, terminal
from saliency_audit.stats.groups import GROUP

WIDTH = 80
NUMBER = -0.0123


def frame(columns, lines):
    """Rows of a table, every number that is not given as wide as a number gets."""
    text = {"verdict", "word", "reason", "search", "effect", "message", "name", "kind", "eps"}
    return pd.DataFrame(
        [
            {name: line.get(name, "" if name in text else NUMBER) for name in columns}
            for line in lines
        ]
    )


def fool():
    from saliency_audit.commands.fool.terminal import shown

    tricks = (
        "logit-shift;shift=linear",
        "loss-sine;form=dummy-class",
        "level-ripple",
        "finetune;aim=location",
    )
    lines = [
        {"trick": f"trick={trick}", "saliency": method, "scalar": scalar, "verdict": word}
        for trick in tricks
        for method in METHODS
        for scalar, word in zip(SCALARS, list(FOOL_WORDS) * 2, strict=False)
    ]
    return shown(
        frame(OF_FOOL, lines),
        frame(PROMISE_COLUMNS, []).reindex(columns=PROMISE_COLUMNS),
        width=WIDTH,
    )


def attack():
    from saliency_audit.commands.attack.terminal import shown

    lines = [
        {
            "attack": attack,
            "setting": f"attack={attack};eps=16/255;search=evolution",
            "eps": "16/255",
            "saliency": method,
            "scalar": scalar,
            "verdict": word,
            "success": 1.0,
        }
        for attack in ATTACKS
        for method, word in zip(METHODS, list(ATTACK_WORDS) * 9, strict=False)
        for scalar in ("logit", "centred-logit")
    ]
    moved = [{"setting": "attack=pgd;eps=16/255", "n": 16}]
    return shown(frame(OF_ATTACK, lines), frame(PREDICTION_COLUMNS, moved), width=WIDTH)


def evaluate():
    from saliency_audit.commands.evaluate.terminal import others_shown, verdicts_shown

    lines = [
        {
            "model": "m",
            "saliency": method,
            "check": check,
            "setting": "regions=100",
            "verdict": word,
        }
        for check in METRICS
        for method, word in zip(METHODS, list(EVALUATE_WORDS) * 9, strict=False)
    ]
    others = pd.DataFrame(
        [
            {
                "model": "m",
                "saliency": method,
                "scalar": "logit",
                "check": name,
                "setting": metric.answer or "steps=32;fill=model-mean",
                "mean": NUMBER,
                "ci_low": NUMBER,
                "ci_high": NUMBER,
                "n": 16,
                "n_undefined": 3,
            }
            for name, metric in METRICS.items()
            for method in METHODS
        ]
    )
    return [
        *verdicts_shown(frame(OF_EVALUATE, lines), width=WIDTH),
        *others_shown(others, NO_RESULTS, width=WIDTH),
    ]


NO_RESULTS = pd.DataFrame(columns=[*GROUP, "image", "label", "target", "status"], dtype=str)


def finetune():
    from saliency_audit.commands.finetune.terminal import shown

    lines = [
        {"check": check, "saliency": method, "setting": "", "word": word}
        for check in QUESTIONS
        for method, word in zip(METHODS, list(FINETUNE_WORDS) * 9, strict=False)
    ]
    return shown(frame(OF_FINETUNE, lines), width=WIDTH)


def gate():
    from saliency_audit.commands.gate.terminal import shown

    lines = [
        {
            "check": "sanity-independent × integrated-gradients of centred-logit",
            "kind": "metric",
            "status": status,
            "effect": effect,
            "limit": "<= -0.0123 against the baseline's -0.0123 (randomise=reinit, draws=2)",
            "n": 16,
        }
        for status in ("inconclusive", "undefined", "not run", "passed", "failed")
        for effect in ("warn", "refuse")
    ]
    return shown(frame(OUTCOME_COLUMNS, lines), "refused: none", width=WIDTH)[:1]


def red_team():
    from saliency_audit.commands.gate.red_team import answer

    refused = [("sanity-independent × integrated-gradients", "not run", "refuse")] * 4
    found = {
        name: pd.DataFrame(refused, columns=["check", "status", "effect"])
        for name in ("as given", "loss-sine dummy-class, hold=weights")
    }
    return answer(found, width=WIDTH)[:1]


def check():
    why = "TorchScript gives no access to the layers inside it, so there is no map of this method"
    made = [
        {"saliency": name, "with_map": 0, "n": 16, "passes": 170, "seconds": 12.3, "why": why}
        for name in METHODS
    ]
    says = [
        {
            "image": f"test/{i:05d}",
            "label": "291 lion, king of beasts",
            "says": "644 matchstick",
            "confidence": 1.0,
        }
        for i in range(3)
    ]
    right = [
        {
            "preprocessing": "ImageNet's mean and std",
            "right": 16,
            "n": 16,
            "accuracy": 1.0,
            "low": 1.0,
            "high": 1.0,
            "better": True,
        }
    ]
    tables = (
        methods_table(pd.DataFrame(made)),
        says_table(pd.DataFrame(says)),
        accuracy_table(pd.DataFrame(right)),
    )
    return [terminal(table, width=WIDTH, apart=2) for table in tables]


WORDS = {
    fool: FOOL_WORDS,
    attack: ATTACK_WORDS,
    evaluate: ("better", "worse", "as random", "undefined", "not shown", "depends"),
    finetune: FINETUNE_WORDS,
    gate: ("inconclusive", "undefined", "not run", "passed", "failed (warns)"),
    red_team: ("refused",),
    check: ("better than as given", "0 of 16"),
}


@pytest.mark.parametrize("command", WORDS)
def test_no_line_is_wider_and_every_word_is_whole(command):
    file = StringIO()
    console = Console(file=file, width=10 * WIDTH, highlight=False)
    tables = [thing for thing in command() if not isinstance(thing, str)]
    assert tables
    console.print(*tables)
    text = file.getvalue()
    # Rich fills a line with spaces up to the width of the table.
    assert max(len(line.rstrip()) for line in text.splitlines()) <= WIDTH
    assert "…" not in text
    for word in WORDS[command]:
        assert any(word in line for line in text.splitlines()), word
    assert not [line for line in text.splitlines() if line.rstrip().endswith((" ->", "["))]


def test_what_cannot_be_narrow_enough_is_too_wide_and_not_cut():
    file = StringIO()
    wide = Table(["a", "b"], [["x" * 90, "passed"]])
    Console(file=file, width=300).print(terminal(wide, width=WIDTH))
    assert "x" * 90 + " passed" in file.getvalue()
