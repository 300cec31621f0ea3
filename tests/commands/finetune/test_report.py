"""The report of finetune, from what was measured to files."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgb
from PIL import Image

from saliency_audit.commands.evaluate.charts import footnote_of, styles_of
from saliency_audit.commands.finetune import maps as finetune_maps
from saliency_audit.commands.finetune import training as finetune_training
from saliency_audit.commands.finetune.maps import draw_before_after
from saliency_audit.commands.finetune.report import PICTURES, write_finetune_report
from saliency_audit.commands.finetune.training import draw_training
from saliency_audit.report import charts
from saliency_audit.report.page import numbered
from tests.commands.finetune.finetune_run import CHECKS, TERMS, WORDS, finetune_run, training

EVIL = "<script>$1.png"


def write(folder, run, **others):
    given = {
        "training": run.training,
        "terms": TERMS,
        "summary": run.summary,
        "verdicts": run.verdicts,
        "curves": run.curves,
        "examples": run.examples,
        "sentence": f"deletion better: {EVIL}",
        "run": {"model": EVIL, "clean_accuracy": None},
        "words": WORDS,
        "checks": CHECKS,
        "compared": run.compared,
    }
    return write_finetune_report(folder, **given | others)


def text_of(path):
    """The page without its pictures and style."""
    page = path.read_text("utf-8").split("<header>")[1]
    return "".join(part.split('"', 1)[-1] for part in page.split("data:image/png;base64,"))


def headings(text):
    return [part.split("</h2>")[0] for part in text.split("<h2>")[1:]]


def test_writes_every_file(tmp_path):
    run = finetune_run(images=(EVIL, "b.png"))
    written = write(tmp_path, run)
    assert [path.name for path in written] == [
        "summary.csv",
        "verdicts.csv",
        "curves.csv",
        "compare.csv",
        "changes.png",
        "training.png",
        "before-after.png",
        "deletion.png",
        "report.html",
    ]
    assert sorted(written) == sorted(tmp_path.iterdir())
    begin = (*PICTURES, *CHECKS)
    for path in written[4:-1]:
        assert path.name.startswith(begin)
        with Image.open(path) as image:
            image.verify()
    assert list(pd.read_csv(tmp_path / "verdicts.csv")["word"].fillna("")) == list(
        run.verdicts["word"]
    )


def test_page_answers_shows_gains_and_losses_and_says_its_limits(tmp_path):
    page = write(tmp_path, finetune_run())[-1]
    assert page.read_text("utf-8").count("data:image/png;base64,") == 3
    text = text_of(page)
    assert "deletion better: &lt;script&gt;$1.png" in text
    assert "<script>" not in text
    assert headings(text) == [
        "The question",
        "What changed",
        "How the training went",
        "The maps",
        "What happens as pixels are replaced",
        "What the words mean",
        "What was measured",
        "How this was measured, and its limits",
        "This run",
    ]
    for told in (
        "gained",
        "lost",
        "[0.880, 0.980]",
        "-0.100 [-0.150, -0.050]",
        "0.600 -&gt; 0.580",
        "not compared",
        "smaller or smoother gradients",
        "one training",
        "upper bound",
        "measured on 40 images",
        "what deletion is",
    ):
        assert told in text, told


def test_a_training_from_scratch_has_nothing_to_compare(tmp_path):
    run = finetune_run(compared=False)
    written = write(tmp_path, run, compared=None)
    assert not (tmp_path / "compare.csv").exists()
    assert "changes.png" in [path.name for path in written]
    assert "not compared" in text_of(written[-1])


def test_empty_parts_are_left_out(tmp_path):
    run = finetune_run()
    none = {name: getattr(run, name).iloc[:0] for name in ("training", "verdicts", "curves")}
    written = write(tmp_path, run, **none, examples=[])
    assert [path.suffix for path in written] == [".csv"] * 4 + [".html"]
    assert "What changed" not in headings(text_of(written[-1]))


@pytest.fixture
def drawn(monkeypatch):
    """Rows and columns of the grids that are drawn."""
    found = []

    def keep(rows, folder, name, *, columns, start, **given):
        found.append((list(columns), list(rows)))
        return [numbered(folder, name, start)]

    monkeypatch.setattr(finetune_maps, "draw_maps", keep)
    return found


def test_maps_stand_beside_each_other_and_the_random_one_once(drawn, tmp_path):
    run = finetune_run(methods=("gradient", "gradcam"), images=("a", "b", "c"))
    draw_before_after(run.examples, tmp_path)
    ((columns, rows),) = drawn
    assert columns == [
        "image",
        "gradient\nbefore",
        "gradient\nafter",
        "gradcam\nbefore",
        "gradcam\nafter",
        "random\n(control)",
    ]
    assert [row.label for row in rows] == ["a", "b", "c"]
    by_key = {(e.role, e.image, e.saliency): e.pixels for e in run.examples}
    cells = rows[1].cells
    assert np.array_equal(cells[0].pixels, by_key["image", "b", ""])
    assert np.array_equal(cells[1].pixels, by_key["before", "b", "gradient"])
    assert np.array_equal(cells[4].pixels, by_key["after", "b", "gradcam"])
    assert [cell.kind for cell in cells] == ["image", *["signed"] * 4, "unsigned"]
    assert [cell.caption for cell in cells] == ["label: Sandal", *["Bag"] * 4, ""]


def test_many_methods_take_several_pages(drawn, tmp_path):
    paths = draw_before_after(finetune_run(methods=tuple("abcdef")).examples, tmp_path)
    assert [path.name for path in paths] == ["before-after.png", "before-after-2.png"]
    assert [len(columns) for columns, _ in drawn] == [8, 8]


def test_each_term_has_a_panel_in_which_it_can_be_seen(monkeypatch, tmp_path):
    frame = training(200)
    frame.loc[7, "score-matching"] = 50.0  # one step far out
    limits = {}
    real = finetune_training._draw

    def keep(axes, steps, values, look, *, smooth):
        limits[values.name] = real(axes, steps, values, look, smooth=smooth)
        return limits[values.name]

    monkeypatch.setattr(finetune_training, "_draw", keep)
    assert draw_training(frame, TERMS, tmp_path / "training.png").is_file()
    assert list(limits) == [
        "train_accuracy",
        "val_accuracy",
        "cross-entropy",
        "score-matching",
        "loss",
        "trace",
        "lr",
    ]
    assert limits["score-matching"][1] < 2e-4
    assert limits["val_accuracy"] == (0.9, 0.9)


def test_ticks_of_a_value_that_hardly_varies_are_told_apart(monkeypatch, tmp_path):
    panels = []
    real = charts.bare
    monkeypatch.setattr(charts, "bare", lambda axes: panels.append(axes) or real(axes))
    frame = training(30)
    frame["trace"] = np.linspace(18.41, 18.43, 30)
    draw_training(frame, TERMS, tmp_path / "training.png")
    assert len(panels) == 6
    for axes in panels:
        labels = [label.get_text() for label in axes.get_yticklabels()]
        assert len(set(labels)) == len(labels) > 1


def test_one_term_is_the_loss_and_bad_numbers_leave_gaps(monkeypatch, tmp_path):
    frame = training(30)
    frame.loc[3, "cross-entropy"] = np.inf
    frame["score-matching"] = np.nan
    frame["lr"] = 0.1
    panels = finetune_training._panels(frame, TERMS[:1])
    assert [name for name, *_ in panels] == ["accuracy", "cross-entropy", "trace"]
    assert draw_training(frame, TERMS[:1], tmp_path / "training.png").is_file()
    assert draw_training(frame.astype(str), TERMS[:1], tmp_path / "text.png").is_file()
    assert draw_training(frame.iloc[:0], TERMS[:1], tmp_path / "none.png") is None


def test_changes_are_shown_even_where_nothing_is_defined(tmp_path):
    run = finetune_run()
    numbers = run.verdicts.select_dtypes("number").columns.difference(["n", "n_undefined"])
    blank = run.verdicts.assign(**dict.fromkeys(numbers, np.nan), word="undefined")
    written = write(tmp_path, run, verdicts=blank)
    assert "changes.png" in [path.name for path in written]
    assert "nan" not in text_of(written[-1]).lower()


def test_the_control_is_grey_before_and_after():
    names = ["gradient before", "gradient after", "random before", "random after"]
    curves = pd.DataFrame({"saliency": names})
    styles = styles_of(curves, curves)
    assert list(styles) == names
    greys = [to_rgb(styles[name]["color"]) for name in names]
    assert [len(set(colour)) == 1 for colour in greys] == [False, False, True, True]
    assert styles["random before"] != styles["random after"]
    assert "In grey the control random, which sees no model." in footnote_of(styles, {}, ())
