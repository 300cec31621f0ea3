"""The report of fool, from rows to files."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from saliency_audit.commands.fool.figures import short_names
from saliency_audit.commands.fool.report import write_fool_report
from saliency_audit.commands.fool.tables import verdict_table
from saliency_audit.commands.fool.verdict import why_not_forged
from saliency_audit.report.table import plain
from saliency_audit.stats.summary import summarise
from saliency_audit.types import COLUMNS, Example

SHIFT, SINE = "trick=logit-shift;shift=linear", "trick=loss-sine;form=per-class;eps=0.001"
EVIL = "<script>$1.png"


def verdict(trick, saliency, scalar, word):
    number = np.nan if word == "undefined" else 0.5
    names = ("before", "before_low", "before_high", "after", "after_low", "after_high", "cosine")
    return (
        {"trick": trick, "saliency": saliency, "scalar": scalar}
        | dict.fromkeys(names, number)
        | {"n": 0 if word == "undefined" else 4, "verdict": word}
    )


@pytest.fixture
def verdicts():
    return pd.DataFrame(
        [
            verdict(trick, saliency, scalar, "undefined" if saliency == "gradcam" else "forged")
            for trick in (SHIFT, SINE)
            for saliency in ("gradient", "gradcam")
            for scalar in ("logit", "loss")
        ]
        + [verdict(SHIFT, "random", "", "unmoved")]
    )


@pytest.fixture
def examples(verdicts):
    rng = np.random.default_rng(0)
    found = [Example("", "", "", "", "picture", rng.random((8, 8), np.float32))]
    for image in (EVIL, "2.png"):
        found.append(Example(image, "", "", "", "image", rng.random((8, 8, 3), np.float32)))
        for row in verdicts.itertuples():
            if image == EVIL or (row.saliency, row.scalar) == ("gradient", "logit"):
                for setting, role in (("stage=before", "before"), (row.trick, "after")):
                    pixels = rng.standard_normal((8, 8)).astype(np.float32)
                    pixels *= row.saliency != "gradcam"
                    found.append(Example(image, row.saliency, row.scalar, setting, role, pixels))
    return found


@pytest.fixture
def results(examples):
    measured = [
        (e.image, None, 1, "m", e.saliency, e.scalar, "cosine-to-picture", e.setting, 0.95, "ok")
        for e in examples
        if e.role in ("before", "after")
    ]
    kept = [(EVIL, None, 1, "m", "", "", "prediction-kept", SHIFT, 1.0, "ok")]
    return pd.DataFrame(measured + kept, columns=list(COLUMNS))


def write(folder, verdicts, examples, rows, **others):
    return write_fool_report(
        folder,
        summary=summarise(rows, higher_is_better={"prediction-kept": True}),
        verdicts=verdicts,
        examples=examples,
        sentence=f"forged: {EVIL}",
        run={"model": EVIL, "clean_accuracy": None, "versions": {"torch": "2.11"}, "mean": [0, 1]},
        **others,
    )


def test_writes_every_file(tmp_path, verdicts, examples, results):
    written = write(tmp_path, verdicts, examples, results, results=results)
    assert [path.name for path in written] == [
        "summary.csv",
        "verdicts.csv",
        "verdicts.png",
        "logit-shift.png",
        "loss-sine.png",
        "examples.png",
        "report.html",
    ]
    assert sorted(written) == sorted(tmp_path.iterdir())
    for path in written[2:6]:
        with Image.open(path) as image:
            image.verify()
    page = written[-1].read_text("utf-8")
    assert "<script>" not in page
    assert page.count("data:image/png;base64,") == 3
    assert "clean accuracy: not measured" in page
    assert "that show it" in page
    assert "torch: 2.11" in page
    back = pd.read_csv(tmp_path / "verdicts.csv")
    assert list(back.columns) == list(verdicts.columns)
    assert len(back) == len(verdicts)


def test_many_methods_go_on_several_pages(tmp_path, verdicts, examples, results):
    names = [f"method-{i}" for i in range(13)]
    many = pd.DataFrame([verdict(SHIFT, name, "logit", "unmoved") for name in names])
    pixels = np.eye(4, dtype=np.float32)
    drawn = [Example("x", name, "logit", SHIFT, "after", pixels) for name in names]
    written = [path.name for path in write(tmp_path, many, drawn, results)]
    assert "logit-shift.png" in written
    assert "logit-shift-2.png" in written
    assert "logit-shift-3.png" not in written


def test_two_forms_of_a_trick_get_two_files(tmp_path, examples, results):
    head = "trick=logit-shift;shift=head"
    both = pd.DataFrame([verdict(trick, "gradient", "logit", "forged") for trick in (SHIFT, head)])
    drawn = [*examples, Example(EVIL, "gradient", "logit", head, "after", np.eye(4, dtype="f4"))]
    written = [path.name for path in write(tmp_path, both, drawn, results)]
    assert "logit-shift-linear.png" in written
    assert "logit-shift-head.png" in written


def test_names_of_tricks_are_told_apart():
    assert short_names([SHIFT, SINE, "trick=logit-shift;shift=head", SHIFT]) == {
        SHIFT: "logit-shift-linear",
        SINE: "loss-sine",
        "trick=logit-shift;shift=head": "logit-shift-head",
    }


def test_nothing_to_draw_is_no_failure(tmp_path, verdicts, results):
    written = write(tmp_path, verdicts, [], results)
    assert [path.name for path in written] == [
        "summary.csv",
        "verdicts.csv",
        "verdicts.png",
        "report.html",
    ]
    write(tmp_path, verdicts[:0], [], results[:0])


def test_undefined_is_never_a_number(tmp_path, verdicts, examples, results):
    words = {"undefined": "no number"}
    page = write(tmp_path, verdicts, examples, results, words=words)[-1].read_text("utf-8")
    assert (
        "nan" not in page.split("<header>")[1].replace("data:image", "").lower().split("base64")[0]
    )
    assert '<span class="verdict none">undefined</span>' in page


@pytest.mark.parametrize(
    ("check", "why"),
    [
        ("prediction-kept", "disturbed:\npredictions changed"),
        ("prob-change", "disturbed:\nprobabilities changed"),
        ("loss-change", "disturbed"),
    ],
)
def test_a_picture_that_cost_predictions_says_so(check, why):
    maps = pd.DataFrame(
        [verdict(SHIFT, "gradient", scalar, "disturbed") for scalar in ("logit", "loss")]
    )
    maps["after"] = [0.95, 0.5]  # the second does not show the picture anyway
    promises = pd.DataFrame([{"trick": SHIFT, "check": check, "kept": "no"}])
    table = verdict_table(maps, why_not_forged(promises))
    cells = [plain(row[2]) for row in table.rows]
    assert cells == [f"0.500 -> 0.950 {why}", "0.500 -> 0.500 disturbed"]
