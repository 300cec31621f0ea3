"""The answer on the terminal: the reason stands below the word, and is cut nowhere."""

from io import StringIO

import pytest
from rich.console import Console

from saliency_audit.commands.gate.outcome import Outcome, outcome_table
from saliency_audit.commands.gate.policy import PolicyCheck
from saliency_audit.commands.gate.tables import checks_table
from saliency_audit.commands.gate.terminal import shown
from saliency_audit.report.table import markdown

CHECK = PolicyCheck("metric", "completeness-log-prob", "", "", "at_most", 0.5)
OTHER = PolicyCheck("metric", "deletion", "integrated-gradients", "logit", "better_than", "random")
OUTCOMES = outcome_table(
    [
        Outcome(CHECK, "undefined", "no value on 3 of 64", "<= 0.5", 0.065, 0.058, 0.073),
        Outcome(OTHER, "passed", "ok", "< 0 against random", -0.231, -0.282, -0.176, n=64),
    ]
)


@pytest.mark.parametrize(("width", "lines"), [(80, 2), (100, 1)])
def test_the_reason_stands_below_the_word(width, lines):
    file = StringIO()
    table, _ = shown(OUTCOMES, "refused: 1 of 2", width=width)
    Console(file=file, width=width, highlight=False).print(table)
    text = file.getvalue()
    assert "…" not in text
    below = text.partition("undefined")[2].splitlines()[1 : 1 + lines]
    assert " ".join(line.split("  ")[-1].strip() for line in map(str.rstrip, below)) == (
        "(no value on 3 of 64)"
    )


def test_markdown_has_it_in_the_same_line():
    assert "undefined (no value on 3 of 64) |" in markdown(checks_table(OUTCOMES))
