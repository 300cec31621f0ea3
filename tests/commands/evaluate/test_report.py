"""The report of evaluate, from rows to files."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from saliency_audit.commands.evaluate.charts import (
    TOGETHER,
    draw_curves,
    fainter,
    footnote_of,
    styles_of,
    undefined_of,
)
from saliency_audit.commands.evaluate.gallery import draw_gallery, draw_perturbed, draw_randomised
from saliency_audit.commands.evaluate.report import PICTURES, write_evaluate_report
from saliency_audit.report.wording import number
from saliency_audit.types import Example
from tests.commands.evaluate.evaluate_run import CHECKS, CONTROLS, WORDS, EvaluateRun, evaluate_run

EVIL = "<script>$1.png"
LONG = "models/efficientnet-lite0-adversarially-trained-l2-eps-3.0.pt2"
EVERY = (
    "discriminative",
    "deletion",
    "preservation",
    "insertion",
    "aopc",
    "sanity-cascade",
)


def write(folder, run: EvaluateRun, **others):
    given = {
        "summary": run.summary,
        "verdicts": run.verdicts,
        "curves": run.curves,
        "examples": run.examples,
        "sentence": f"better: {EVIL}",
        "run": {"model": EVIL, "clean_accuracy": None, "versions": {"torch": "2.11"}},
        "words": WORDS,
        "checks": CHECKS,
        "compared": run.compared,
        "drops": run.drops,
        "results": run.results,
    }
    return write_evaluate_report(folder, **given | others)


def names(written):
    return [path.name for path in written]


def text_of(path):
    """The page without its pictures and style."""
    page = path.read_text("utf-8").split("<header>")[1]
    return "".join(part.split('"', 1)[-1] for part in page.split("data:image/png;base64,"))


def headings(text):
    return [part.split("</h2>")[0] for part in text.split("<h2>")[1:]]


def test_writes_every_file(tmp_path):
    run = evaluate_run(images=(EVIL, "b.png", "c.png"), of_model=("accuracy", "density-profile"))
    written = write(tmp_path, run)
    assert names(written) == [
        "summary.csv",
        "verdicts.csv",
        "curves.csv",
        "verdicts.png",
        "maps.png",
        "deletion.png",
        "preservation.png",
        "perturbed.png",
        "sanity-cascade.png",
        "randomised.png",
        "density-profile.png",
        "report.html",
    ]
    assert sorted(written) == sorted(tmp_path.iterdir())
    begin = (*PICTURES, *CHECKS)
    assert all(path.name.startswith(begin) for path in written if path.suffix == ".png")
    for path in written[3:-1]:
        with Image.open(path) as image:
            image.verify()
    back = pd.read_csv(tmp_path / "curves.csv")
    assert list(back.columns) == list(run.curves.columns)
    assert len(back) == len(run.curves)


def test_page_answers_explains_and_shows(tmp_path):
    run = evaluate_run(images=(EVIL, "b.png", "c.png"))
    page = write(tmp_path, run)[-1]
    assert page.read_text("utf-8").count("data:image/png;base64,") == 6
    text = text_of(page)
    assert "better: &lt;script&gt;$1.png" in text
    assert "<script>" not in text
    for word, meaning in WORDS.items():
        assert f'">{word}</span></dt><dd>{meaning}</dd>' in text
    assert headings(text) == [
        "The question",
        "Verdicts",
        "What the words mean",
        "What was measured",
        "The maps",
        "What happens as pixels are replaced",
        "The images that the model was shown",
        "Does the map depend on the model?",
        "The model itself",
        "The verdicts in numbers",
        "How this was measured, and its limits",
        "This run",
    ]
    assert "what deletion is" in text
    assert "1/classes" in text
    assert "someone (2020)" in text
    assert "deletion: lower is better" in text
    assert "unlike all images the model was trained on" in text
    assert "forges it" in text


def test_numbers_stand_beside_both_controls(tmp_path):
    run = evaluate_run(metrics=("deletion",))
    text = text_of(write(tmp_path, run)[-1])
    line = run.verdicts[run.verdicts["check"] == "deletion"].iloc[0]
    row = text.split("deletion: lower is better")[-1].split("<tr>")[2].split("</tr>")[0]
    for name in ("random", "sobel", "difference"):
        assert number(line[name]) in row
    assert "better than random" in row


def test_everything_of_many_methods_is_drawn_and_undefined_is_said(tmp_path):
    methods = tuple(f"method-{i}" for i in range(7))
    run = evaluate_run(
        methods=methods,
        metrics=EVERY,
        undefined=("discriminative",),
        failed=(("method-3", "deletion"),),
        base="method-1",
    )
    run.examples = [e for e in run.examples if e.role in ("image", "map")]
    written = names(write(tmp_path, run))
    assert [name for name in written if name.startswith(("verdicts", "sanity", "maps"))] == [
        "verdicts.csv",
        "verdicts.png",
        "verdicts-2.png",
        "maps.png",
        "sanity-cascade.png",
        "sanity-cascade-2.png",
    ]
    assert "discriminative.png" not in written
    assert "relative-drop.csv" in written
    text = text_of(tmp_path / "report.html")
    assert "no layer to explain by was found" in text
    assert "What failed" in headings(text)
    assert "4 undefined" in text
    assert 'class="verdict none">undefined</span>' in text
    for path in tmp_path.glob("*.png"):
        with Image.open(path) as image:
            assert image.width < 1700


@pytest.mark.slow
def test_models_have_pictures_of_their_own_and_stand_beside_the_first(tmp_path):
    run = evaluate_run(
        models=("net", LONG),
        metrics=("deletion", "sanity-cascade"),
        of_model=("accuracy", "density-profile"),
    )
    run.examples = [e for e in run.examples if e.role in ("image", "map")]
    written = names(write(tmp_path, run))
    assert [name for name in written if name.endswith("-2.png")] == [
        "verdicts-2.png",
        "deletion-2.png",
        "sanity-cascade-2.png",
    ]
    assert "density-profile-2.png" not in written
    assert "compare.csv" in written
    text = text_of(tmp_path / "report.html")
    assert f"{LONG} minus net" in text
    assert "of the first model" in text
    assert text.count("<caption>net</caption>") == 2  # verdicts, all numbers


@pytest.mark.parametrize("images", [("a.png",), ("a.png", "b.png")])
def test_few_images_have_no_certainty(tmp_path, images):
    run = evaluate_run(images=images, metrics=("deletion",))
    assert "report.html" in names(write(tmp_path, run))
    if len(images) == 1:
        judged = run.verdicts[~run.verdicts["saliency"].isin(CONTROLS)]
        assert set(judged["verdict"]) == {"undefined"}


def test_run_of_the_model_alone_has_no_verdicts(tmp_path):
    run = evaluate_run(methods=(), metrics=(), of_model=("accuracy",))
    run.examples = [example for example in run.examples if example.role == "image"]
    written = names(write(tmp_path, run))
    assert written == ["summary.csv", "verdicts.csv", "curves.csv", "report.html"]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(written)
    text = text_of(tmp_path / "report.html")
    assert "What the words mean" not in headings(text)
    assert "The model itself" in headings(text)


def test_files_are_the_same_every_time(tmp_path):
    run = evaluate_run(methods=("gradient",), metrics=("deletion",))
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        write(tmp_path / name, run)
    for path in (tmp_path / "a").glob("*.*"):
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes(), path.name


def test_a_vanished_map_and_constant_curves_are_drawn(tmp_path):
    run = evaluate_run(metrics=("sanity-cascade", "deletion"))
    run.examples.clear()
    norm = run.curves["check"].str.endswith("map-norm")
    run.curves.loc[norm, ["mean", "ci_low", "ci_high"]] = 0.0
    constant = run.curves["check"] == "deletion"
    run.curves.loc[constant, ["mean", "ci_low", "ci_high"]] = 0.5
    assert "sanity-cascade.png" in names(write(tmp_path, run))


def test_maps_of_the_first_model_are_shown(tmp_path):
    dark, bright = np.zeros((8, 8), np.float32), np.eye(8, dtype=np.float32)
    examples = [
        Example("a", "", "", "", "image", bright),
        Example("a", "gradient", "logit", "", "map", bright),
        Example("a", "", "", "", "image", bright),
        Example("a", "gradient", "logit", "", "map", dark),
    ]
    both, first = tmp_path / "both", tmp_path / "first"
    for folder, shown in ((both, examples), (first, examples[:2])):
        folder.mkdir()
        draw_gallery(shown, folder)
    assert (both / "maps.png").read_bytes() == (first / "maps.png").read_bytes()


def test_nothing_to_draw_makes_no_picture(tmp_path):
    for draw in (draw_gallery, draw_perturbed, draw_randomised):
        assert draw([Example("a", "", "", "", "image", np.eye(4))], tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def test_metrics_with_other_steps_have_pages_of_their_own(tmp_path):
    run = evaluate_run(metrics=("deletion", "preservation", "insertion"))
    assert names(draw_perturbed(run.examples, tmp_path)) == ["perturbed.png", "perturbed-2.png"]


def test_many_stages_are_thinned_and_the_last_is_kept(tmp_path):
    run = evaluate_run()
    drawn = draw_randomised(run.examples, tmp_path)
    every = [e for e in run.examples if e.role == "randomised"]
    less = [e for e in every if e.setting.split("=")[-1] not in ("3/9", "7/9")]
    assert len(less) < len(every)
    (tmp_path / "less").mkdir()
    maps = [e for e in run.examples if e.role == "map"]
    again = draw_randomised([*maps, *less], tmp_path / "less")
    assert drawn[0].read_bytes() == again[0].read_bytes()


def test_methods_look_the_same_in_all_charts_of_a_run():
    run = evaluate_run(methods=("gradient", "smoothgrad", "lrp"))
    deletion = run.curves[run.curves["check"] == "deletion"]
    whole = styles_of(deletion, run.verdicts)
    fewer = styles_of(deletion[deletion["saliency"] != "gradient"], run.verdicts)
    assert whole["lrp"] == fewer["lrp"]
    assert "gradient" not in fewer
    assert list(whole)[-2:] == list(CONTROLS)
    assert len({tuple(sorted(line.items())) for line in whole.values()}) == len(whole)
    assert len(whole) <= TOGETHER + 2


def test_checks_that_nobody_knows_are_shown_by_name(tmp_path):
    run = evaluate_run(metrics=("deletion",))
    for frame in (run.summary, run.verdicts, run.curves):
        frame["check"] = frame["check"].replace("deletion", "mystery")
    examples = [e for e in run.examples if e.role != "perturbed"]
    written = names(write(tmp_path, replace(run, examples=examples)))
    assert "mystery.png" in written
    assert "mystery: " in text_of(tmp_path / "report.html")


def test_bands_end_where_the_measured_does(tmp_path):
    run = evaluate_run(metrics=("deletion",))
    wide = run.curves.assign(ci_low=run.curves["ci_low"] - 0.5, ci_high=run.curves["ci_high"] + 0.5)
    cut = wide.assign(ci_low=wide["ci_low"].clip(0, 1), ci_high=wide["ci_high"].clip(0, 1))
    drawn = [
        draw_curves(
            curves, run.verdicts, tmp_path / name, name="deletion", check=CHECKS["deletion"]
        ).read_bytes()
        for name, curves in (("cut.png", cut), ("wide.png", wide))
    ]
    assert drawn[0] == drawn[1]


def test_means_of_few_images_are_faint_and_said():
    verdicts = evaluate_run(metrics=("deletion",)).verdicts
    own = verdicts["saliency"] == "gradient"
    assert undefined_of(verdicts, "deletion") == {}
    verdicts.loc[own, ["n", "n_undefined"]] = [95, 5]
    assert undefined_of(verdicts, "deletion") == {}
    verdicts.loc[own, ["n", "n_undefined"]] = [94, 6]
    gone = undefined_of(verdicts, "deletion")
    assert gone == {"gradient": "undefined (6 of 100 images)"}
    styles = fainter({"gradient": {"color": "red"}, "random": {}}, gone)
    assert (styles["gradient"]["color"], "alpha" in styles["gradient"]) == ("red", True)
    assert styles["random"] == {}
    assert "Dotted" in footnote_of(styles, gone, gone)
    assert "Below the names" not in footnote_of(styles, gone, gone)
    assert "Dotted" not in footnote_of(["random"], {"random": "0.5"}, gone)


def test_scalar_agreement_is_of_the_model(tmp_path):
    run = evaluate_run(metrics=("deletion",))
    line = run.summary[run.summary["check"] == "accuracy"].iloc[[0]]
    line = line.assign(check="scalar-agreement", saliency="gradient", scalar="logit", mean=0.987)
    checks = {**CHECKS, "scalar-agreement": CHECKS["aopc"]}
    summary = pd.concat([run.summary, line], ignore_index=True)
    text = text_of(write(tmp_path, run, summary=summary, checks=checks)[-1])
    of_model = text.split("<h2>The model itself")[1].split("<h2>")[0]
    assert "scalar-agreement" in of_model
    assert "0.987" in of_model
    row = next(row for row in text.split("<tr>") if "what aopc is" in row)
    assert "see random" not in row


def test_options_without_a_value_are_not_given(tmp_path):
    run = evaluate_run(metrics=("deletion",))
    written = write_evaluate_report(
        tmp_path,
        summary=run.summary,
        verdicts=run.verdicts,
        curves=run.curves,
        examples=[],
        sentence="",
        run={"clean_accuracy": None, "options": {"layer": None}},
        words=WORDS,
        checks=CHECKS,
        results=run.results,
    )
    text = text_of(written[-1])
    assert "layer: not given" in text
    assert "clean accuracy: not measured" in text
