"""The report of attack, from rows to files."""

from dataclasses import replace
from io import StringIO

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from rich.console import Console

from saliency_audit.commands.attack.figures import tiles, values_of, worst
from saliency_audit.commands.attack.report import PICTURES, write_attack_report
from saliency_audit.commands.attack.tables import largest, transfer_table
from saliency_audit.commands.attack.terminal import shown
from saliency_audit.report.gallery import gallery_of
from saliency_audit.report.table import plain
from saliency_audit.types import Example
from tests.commands.attack.attack_run import WORDS, AttackRun, attack_run

EVIL = "<script>$1.png"
TOPK = "attack=topk;eps=8/255;attacked=gradient"


def write(folder, run: AttackRun, **others):
    given = {
        "summary": run.summary,
        "verdicts": run.verdicts,
        "predictions": run.predictions,
        "examples": run.examples,
        "results": run.results,
        "sentence": f"fragile: {EVIL}",
        "run": {"model": EVIL, "clean_accuracy": None, "versions": {"torch": "2.11"}},
        "words": WORDS,
    }
    return write_attack_report(folder, **given | others)


def names(written):
    return [path.name for path in written]


def text_of(path):
    """The page without its pictures and style."""
    page = path.read_text("utf-8").split("<header>")[1]
    return "".join(part.split('"', 1)[-1] for part in page.split("data:image/png;base64,"))


def test_writes_every_file(tmp_path):
    run = attack_run(images=(EVIL, "b.png", "c.png"), free=("structured",), pgd=True)
    written = write(tmp_path, run)
    assert names(written) == [
        "summary.csv",
        "verdicts.csv",
        "verdicts.png",
        "worst.png",
        "topk.png",
        "mass-center.png",
        "structured.png",
        "similarity.png",
        "transfer.png",
        "transfer-mass-center.png",
        "transfer-structured.png",
        "terms.png",
        "report.html",
    ]
    assert sorted(written) == sorted(tmp_path.iterdir())
    begin = (*PICTURES, *run.verdicts["attack"])
    assert all(path.name.startswith(begin) for path in written if path.suffix == ".png")
    for path in written[2:-1]:
        with Image.open(path) as image:
            image.verify()
    back = pd.read_csv(tmp_path / "verdicts.csv")
    assert list(back.columns) == list(run.verdicts.columns)
    assert len(back) == len(run.verdicts)


def test_page_answers_explains_and_shows(tmp_path):
    run = attack_run(images=(EVIL, "b.png", "c.png"), free=("structured",), pgd=True)
    page = write(tmp_path, run)[-1]
    assert page.read_text("utf-8").count("data:image/png;base64,") == 9
    text = text_of(page)
    assert "fragile: &lt;script&gt;$1.png" in text
    assert "<script>" not in text
    assert '<dt><span class="verdict bad">fragile</span></dt><dd>moves easily</dd>' in text
    for heading in ("The worst images", "Do other maps move too?", "How large the changes are"):
        assert f"<h2>{heading}</h2>" in text
    assert "The map&#39;s" not in text
    assert "0.750 [0.500, 0.900]" in text  # pgd
    assert "8/255" in text
    assert "no budget" in text
    assert "softplus (beta=30)" in text
    assert "step=20" not in text
    assert "nan" not in text.lower()
    assert "clean accuracy: not measured" in text


@pytest.fixture
def ranked():
    """A run in which b.png has the least left of the map that it was made against."""
    run = attack_run()
    values = {
        **{(image, "gradient", TOPK): v for image, v in zip("abc", (0.2, 0.01, 0.7), strict=True)},
        # What the image does to another map, or under another budget, does not count.
        ("c", "smoothgrad", TOPK): 0.0,
        ("c", "gradient", TOPK.replace("8/", "2/")): 0.0,
    }
    rows = run.results
    for (image, saliency, setting), value in values.items():
        mine = (rows["image"] == f"{image}.png") & (rows["saliency"] == saliency)
        mine &= (rows["setting"] == setting) & (rows["check"] == "topk-intersection")
        rows.loc[mine, "value"] = value
    return run


def test_draws_the_worst_image(tmp_path, monkeypatch, ranked):
    drawn = {}

    def draw_maps(rows, folder, name, **texts):
        drawn[name] = [row.cells[0].caption for row in rows]
        return []

    monkeypatch.setattr("saliency_audit.commands.attack.figures.draw_maps", draw_maps)
    ranked.verdicts.loc[ranked.verdicts["setting"] == TOPK, ["similarity", "verdict"]] = (
        0,
        "fragile",
    )
    write(tmp_path, ranked)
    assert drawn["topk"][0] == "b.png"
    assert drawn["worst"] == ["b.png", "a.png", "c.png"]


def test_knows_the_image_with_the_least_left(ranked):
    gallery = gallery_of(ranked.examples)
    values = values_of(gallery, ranked.results)
    made = ("gradient", "logit", TOPK)
    assert worst(gallery, values, made) == ["b.png", "a.png", "c.png"]
    *cells, wanted = tiles(gallery, values, "b.png", made)
    assert wanted is None
    assert [cell.caption for cell in cells] == [
        "b.png",
        "prediction kept, ±8/255",
        "",
        "",
        "kept 0.010",
    ]
    assert [cell.kind for cell in cells] == ["image"] * 3 + ["signed"] * 2
    difference = cells[2].pixels
    expected = np.clip(0.5 + 10 * (cells[1].pixels - cells[0].pixels), 0, 1)
    np.testing.assert_array_equal(difference, expected)


def test_images_without_a_number_come_last():
    run = attack_run()
    rows = run.results.assign(value=run.results["value"].astype(object))
    rows.loc[rows["image"] == "a.png", ["value", "status"]] = None, "undefined"
    gallery, made = gallery_of(run.examples), ("gradient", "logit", TOPK)
    values = values_of(gallery, rows)
    assert worst(gallery, values, made)[-1] == "a.png"
    assert tiles(gallery, values, "a.png", made)[4].caption == ""


@pytest.mark.parametrize(
    ("check", "caption"),
    [("attack-success", "no such image found"), ("prediction-kept", "prediction changed, ±8/255")],
)
def test_failed_attacks_say_so(check, caption):
    run = attack_run()
    rows = run.results
    rows.loc[(rows["check"] == check) & (rows["image"] == "b.png"), "value"] = 0.0
    gallery = gallery_of(run.examples)
    cells = tiles(gallery, values_of(gallery, rows), "b.png", ("gradient", "logit", TOPK))
    assert cells[1].caption == caption


def test_finds_the_wanted_map():
    pixels = np.eye(4, dtype=np.float32)
    run, made = attack_run(), ("gradient", "logit", TOPK)
    gallery = gallery_of([*run.examples, Example("a.png", *made, "target", pixels)])
    assert tiles(gallery, {}, "a.png", made)[-1].pixels is pixels
    assert tiles(gallery, {}, "b.png", made)[-1] is None


def test_figures_are_of_the_largest_budget():
    found = largest(attack_run(budgets=("16/255", "2/255", "8/255")).verdicts)
    assert list(found) == ["topk", "mass-center"]
    assert set(found["topk"]["eps"]) == {"16/255"}


@pytest.mark.slow
def test_many_methods_and_budgets_go_on_several_pages(tmp_path):
    run = attack_run(
        images=("a.png",),
        methods=tuple(f"method-{i}" for i in range(13)),
        attacks=("topk", "mass-center", "worst-case"),
        budgets=("1/255", "2/255", "8/255"),
        side=4,
    )
    written = names(write(tmp_path, run))
    assert {"topk.png", "topk-2.png", "verdicts-2.png", "verdicts-3.png"} <= set(written)
    assert "topk-3.png" not in written
    assert "worst-case.png" not in written


def test_transfer_needs_a_second_map():
    run = attack_run(attacks=("topk", "worst-case"))
    assert transfer_table(run.summary, TOPK).columns == ["", "gradient", "smoothgrad"]
    assert transfer_table(run.summary, TOPK.replace("topk", "worst-case")) is None
    assert transfer_table(attack_run(methods=("gradient",)).summary, TOPK) is None


def test_transfer_puts_controls_beside_the_first_scalar():
    summary = attack_run(attacks=("topk",), budgets=("8/255",), scalars=("logit", "loss")).summary
    of_noise = summary["setting"] == "attack=random;eps=8/255"
    sobel = summary[(summary["scalar"] == "logit") & ((summary["setting"] == TOPK) | of_noise)]
    sobel = sobel[sobel["saliency"] == "gradient"].assign(saliency="sobel", scalar="")
    table = transfer_table(pd.concat([summary, sobel]), TOPK)
    assert table.columns[-1] == "sobel"
    assert [plain(row[0]) for row in table.rows] == [
        "against gradient of logit",
        "against gradient of loss",
        "against smoothgrad of logit",
        "against smoothgrad of loss",
        "noise of logit",
        "noise of loss",
    ]
    assert plain(table.rows[0][-1]) != "-"
    assert [plain(row[-1]) for row in table.rows[1:4]] == ["-"] * 3


def test_several_scalars(tmp_path):
    written = write(tmp_path, attack_run(scalars=("logit", "loss"), free=("structured",)))
    assert {"similarity.png", "transfer.png", "terms.png"} <= set(names(written))


def test_attacks_on_the_class_alone(tmp_path):
    run = attack_run(attacks=(), pgd=True)
    written = write(tmp_path, replace(run, examples=[]))
    assert names(written) == ["summary.csv", "verdicts.csv", "report.html"]
    text = text_of(written[-1])
    assert "Attacks on the prediction itself" in text
    assert "The worst images" not in text


def test_nothing_to_draw_is_no_failure(tmp_path):
    run = attack_run()
    assert "topk.png" not in names(write(tmp_path, run, examples=[]))
    write(
        tmp_path,
        AttackRun(run.results[:0], run.summary[:0], run.verdicts[:0], run.predictions, []),
    )


@pytest.mark.parametrize("missing", [None, np.nan])
def test_undefined_is_never_a_number(tmp_path, missing):
    run = attack_run(free=("structured",), pgd=True)
    text = {"setting", "attack", "eps", "saliency", "scalar", "verdict", "check", "model"}
    verdicts, predictions, summary = (
        frame.astype(object).assign(**dict.fromkeys(set(frame.columns) - text, missing))
        for frame in (run.verdicts.assign(verdict="undefined"), run.predictions, run.summary)
    )
    undefined = replace(run, verdicts=verdicts, predictions=predictions, summary=summary)
    written = write(tmp_path, undefined)
    assert "similarity.png" not in names(written)
    assert "terms.png" not in names(written)
    assert '<span class="verdict none">undefined</span>' in text_of(written[-1])
    assert "nan" not in text_of(written[-1]).lower()


def test_same_bytes_again(tmp_path):
    first = {path: path.read_bytes() for path in write(tmp_path, attack_run())}
    assert first == {path: path.read_bytes() for path in write(tmp_path, attack_run())}


def test_what_was_measured_stands_on_the_terminal_where_it_was_asked_for():
    methods = ("gradient", "smoothgrad", "integrated-gradients")
    run = attack_run(methods=methods, budgets=("2/255", "8/255"))
    asked, plain_answer = StringIO(), StringIO()
    for file, summary in ((asked, run.summary), (plain_answer, None)):
        console = Console(file=file, width=200, highlight=False)
        console.print(*shown(run.verdicts, run.predictions, summary, width=80))
    text = asked.getvalue()
    table = transfer_table(run.summary, TOPK)
    for row in table.rows:
        assert " ".join(map(plain, row)) in " ".join(text.split())
    assert "topk within 8/255: kept of the map in the column" in text
    assert max(len(line.rstrip()) for line in text.splitlines() if line.startswith(" ")) <= 80
    assert "against" not in plain_answer.getvalue()
