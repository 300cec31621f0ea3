"""The answer of evaluate on the terminal fits it."""

from io import StringIO

import pytest
from rich.console import Console

from saliency_audit.commands.evaluate import terminal
from saliency_audit.report.wording import number
from tests.commands.evaluate.evaluate_run import evaluate_run


@pytest.fixture
def shown():
    """What is shown of verdicts on a terminal of a width."""

    def show(verdicts, width=100):
        file = StringIO()
        console = Console(file=file, width=width, highlight=False)
        for thing in terminal.verdicts_shown(verdicts, width=width):
            console.print(thing, soft_wrap=isinstance(thing, str))
        return file.getvalue()

    return show


def test_table_has_means_words_and_the_controls_last(shown):
    text = shown(evaluate_run().verdicts)
    assert text.startswith("preservation: higher is better; deletion, sanity-cascade: lower is")
    assert "depends on the model if below 0.5" in text
    lines = [line.split() for line in text.splitlines() if line.strip()]
    names = [line[0] for line in lines]
    first = names.index("gradient")
    assert names[first : first + 4] == ["gradient", "smoothgrad", "random", "sobel"]
    assert lines[first].count("better") == 2
    # How much stands beside the word.
    own = evaluate_run().verdicts
    own = own[(own["saliency"] == "gradient") & (own["check"] == "deletion")]
    by = number(abs(own["difference"].iloc[0]))
    assert " ".join(lines[first]).count(f"better by {by}") == 1
    assert lines[first].count("depends") == 1
    assert "better" not in lines[first + 2]


@pytest.mark.parametrize("width", [80, 100, 200])
def test_many_metrics_become_several_tables_that_fit(shown, width):
    run = evaluate_run(
        methods=("sparsified-smoothgrad", "gradcam"),
        metrics=("discriminative", "deletion", "aopc", "density-perturbation", "sanity-cascade"),
        undefined=("discriminative",),
        failed=(("gradcam", "deletion"),),
        models=("net", "models/[b].pt"),
    )
    text = shown(run.verdicts, width)
    tables = [line for line in text.splitlines() if line.startswith(" ")]
    assert max(map(len, tables)) <= min(width, 100)
    assert text.count("sparsified-smoothgrad") >= 4
    assert "models/[b].pt" in text
    assert "regions=100" in text
    assert "perturbation" in text
    assert "…" not in text


def test_without_verdicts_there_is_nothing():
    assert terminal.verdicts_shown(evaluate_run().verdicts[:0], width=100) == []


def test_what_has_no_verdict_is_shown_too():
    run = evaluate_run(of_model=("accuracy", "density-profile"))
    file = StringIO()
    Console(file=file, width=100, highlight=False).print(
        *terminal.others_shown(run.summary, run.results, width=100)
    )
    text = file.getvalue()
    assert "accuracy" in text
    assert "density-profile" in text
    assert "deletion" not in text
