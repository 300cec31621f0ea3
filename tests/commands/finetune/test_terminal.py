"""The answer of finetune on the terminal fits it."""

from io import StringIO

import pytest
from rich.console import Console

from saliency_audit.commands.finetune import terminal
from saliency_audit.commands.finetune.tables import change_table
from tests.commands.finetune.finetune_run import finetune_run


@pytest.fixture
def shown():
    """What is shown of verdicts on a terminal of 80 columns."""

    def show(verdicts):
        file = StringIO()
        Console(file=file, width=80).print(*terminal.shown(verdicts, width=80))
        return file.getvalue()

    return show


def test_every_check_has_a_row_with_both_numbers_and_the_word(shown):
    text = shown(finetune_run().verdicts)
    lines = [" ".join(line.split()) for line in text.splitlines() if line.strip()]
    assert lines[0] == "before after difference [95 %]"
    assert lines[2:] == [
        "accuracy 0.930 0.910 -0.020 [-0.070, 0.030] worse",
        "deletion 0.600 0.500 -0.100 [-0.150, -0.050] better",
        "stability - 0.600 - not compared",
        "gradient-norm-target 20.0 7.00 -13.0 [-13.1, -12.9] changed",
    ]
    assert max(map(len, text.splitlines())) <= 80


def test_what_softplus_does_alone_stands_in_the_page_and_leaves_the_terminal_its_width(shown):
    own = finetune_run(swapped=True).verdicts
    assert shown(own) == shown(finetune_run().verdicts)
    (line, *_) = change_table(own, {}).rows
    assert list(line[:4]) == ["accuracy", "0.930", "[0.880, 0.980]", "0.920"]


def test_methods_stand_below_their_check(shown):
    text = shown(finetune_run(methods=("gradient", "integrated-gradients")).verdicts)
    words = [line.split()[0] for line in text.splitlines() if line.strip()]
    first = words.index("deletion")
    assert words[first + 1 : first + 3] == ["gradient", "integrated-gradients"]
    assert max(map(len, text.splitlines())) <= 80


def test_without_verdicts_there_is_no_table():
    assert terminal.shown(finetune_run().verdicts.iloc[:0], width=80) == []
