"""Tables of the pages fit a window of 1,200 pixels, with the longest words they can hold."""

from pathlib import Path

import matplotlib
import pytest
from PIL import ImageFont

from saliency_audit.catalogue.methods import METHODS
from saliency_audit.commands.attack import tables as of_attack
from saliency_audit.commands.evaluate import tables as of_evaluate
from saliency_audit.commands.finetune.tables import change_table
from saliency_audit.commands.finetune.verdict import QUESTIONS
from saliency_audit.commands.finetune.verdict import VERDICT_COLUMNS as OF_FINETUNE
from saliency_audit.commands.fool import tables as of_fool
from saliency_audit.commands.fool.verdict import VERDICT_COLUMNS as OF_FOOL
from saliency_audit.commands.gate.outcome import OUTCOME_COLUMNS
from saliency_audit.commands.gate.tables import checks_table
from saliency_audit.metrics import CHECKS, METRICS
from saliency_audit.report.html import on_page
from saliency_audit.report.table import Table, pieces, plain
from saliency_audit.report.wording import summary_table
from saliency_audit.stats.summary import SUMMARY_COLUMNS
from tests.commands.attack.attack_run import attack_run
from tests.commands.test_tables_at_80_columns import frame

# As wide as any that a browser takes; 16 pixels to the em of a page.
FONT = Path(matplotlib.get_data_path()) / "fonts/ttf/DejaVuSans.ttf"
FONTS = {"": ImageFont.truetype(FONT, 14), "dense": ImageFont.truetype(FONT, 12)}
PADDING = {"": 16, "dense": 8}
ROOM = 1200 - 2 * (1200 - 68 * 16) / 2 - 2 * 20
LONG = "attack=target-region;eps=16/255;attacked=integrated-gradients;search=evolution"


def finetune():
    lines = [
        {"check": check, "saliency": method, "setting": "eps=16/255", "word": "no difference shown"}
        for check in QUESTIONS
        for method in METHODS
    ]
    return [change_table(frame(OF_FINETUNE, lines), CHECKS)]


def attack():
    run = attack_run(methods=("integrated-gradients", "smoothgrad-squared"), pgd=True)
    return [
        *of_attack.retrieval_tables(run.summary),
        *of_attack.distance_tables(run.verdicts.assign(attack="target-region")),
        *of_attack.surrogate_tables(run.summary),
        of_attack.verdict_table(run.verdicts.assign(aim=0.5, aim_low=0.1, aim_high=0.9)),
    ]


def evaluate():
    columns = [
        *("model", "saliency", "scalar", "check", "setting", "mean", "ci_low", "ci_high"),
        *("random", "sobel", "difference", "difference_low", "difference_high"),
        *("n", "n_undefined", "verdict"),
    ]
    lines = [
        {"model": "m", "saliency": method, "check": check, "setting": "regions=100", "n": 256}
        | {"verdict": "not distinguishable"}
        for check in METRICS
        for method in METHODS
    ]
    verdicts = frame(columns, lines)
    assert len(METRICS) > 20
    return [
        *of_evaluate.verdict_tables(verdicts),
        *of_evaluate.detail_tables(verdicts, CHECKS),
        *of_evaluate.metric_table(verdicts, CHECKS),
    ]


def fool():
    tricks = ("loss-sine;form=dummy-class;eps=0.001", "level-ripple", "trigger;aim=location")
    lines = [
        {"trick": f"trick={trick}", "saliency": method, "scalar": "centred-logit"}
        | {"verdict": "disturbed", "n": 256}
        for trick in (*tricks, "logit-shift;shift=linear;strength=10;hold=weights")
        for method in METHODS
    ]
    verdicts = frame(OF_FOOL, lines)
    return [of_fool.verdict_table(verdicts), *of_fool.detail_tables(verdicts, None)]


def gate():
    line = {
        "check": "sanity-independent × integrated-gradients of centred-logit",
        "kind": "metric",
        "status": "inconclusive",
        "effect": "warn",
        "limit": "<= -0.0123 against the baseline's -0.0123 (randomise=reinit, draws=2)",
        "message": "the interval from -0.0123 to 0.0123 holds the limit of 0: measure more images",
        "n": 256,
    }
    return [checks_table(frame(OUTCOME_COLUMNS, [line]))]


def numbers():
    line = {"saliency": "integrated-gradients", "scalar": "centred-logit", "setting": LONG}
    lines = [line | {"check": check, "n": 256, "n_undefined": 128} for check in CHECKS]
    return [summary_table(frame(SUMMARY_COLUMNS, lines))]


def least_width(table: Table, style: str) -> float:
    """Pixels of a table whose words all stand in lines of their own, as the style sheet has it."""
    font = FONTS[style]

    def of_cell(cell, whole):
        text = plain(cell)
        parts = text.split("\n") if whole else text.split() or [""]
        around = 15 if any(tone for _, tone in pieces(cell)) else 0
        return max(font.getlength(part) for part in parts) + around

    rows = [row for row in table.rows if len(row) == len(table.columns)]
    return sum(
        max([of_cell(name, False), *(of_cell(row[j], j >= table.labels) for row in rows)])
        + PADDING[style]
        for j, name in enumerate(table.columns)
    )


@pytest.mark.parametrize("page", [finetune, attack, evaluate, fool, gate, numbers])
def test_no_table_is_wider_than_the_page(page):
    tables = page()
    assert tables
    for table in tables:
        parts = on_page(table)
        assert sum(len(part.columns) - table.labels for part, _ in parts) == (
            len(table.columns) - table.labels
        )
        for part, style in parts:
            assert least_width(part, style) <= ROOM, (part.columns, style)


def test_the_measure_tells_a_table_that_is_too_wide():
    wide = Table(["", *("n" for _ in range(12))], [["a", *["-0.012 [-0.012, -0.012]"] * 12]])
    assert least_width(wide, "dense") > ROOM
    assert [len(part.columns) for part, _ in on_page(wide)] == [6, 6, 3]
