"""`saliency-audit attack` from the first word to the exit code."""

import errno
import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from saliency_audit.assets import bundled_images, bundled_model
from saliency_audit.commands import picture_file
from saliency_audit.report.folder import RunFolder

FEW = ("--max-samples", 8, "--saliency", "gradient", "--measure", "gradient", "--steps", 6)
FILES = {
    "results.csv",
    "summary.csv",
    "verdicts.csv",
    "verdicts.png",
    "topk.png",
    "worst.png",
    "similarity.png",
    "report.html",
    "run.json",
    "images",
}


def test_no_model_and_no_data_attack_the_bundled_ones(run):
    ran = run("attack", *FEW)
    assert ran.code == 0, ran.err
    folder = Path("saliency-audit-report/attack")
    assert {path.name for path in folder.iterdir()} == FILES
    verdicts = pd.read_csv(folder / "verdicts.csv")
    assert verdicts["verdict"].tolist() == ["fragile"]
    assert "fragile" in ran.out
    assert "8/255" in ran.out
    facts = json.loads((folder / "run.json").read_text())
    assert facts["finished"]
    assert facts["model_passes"] > 0
    summary = pd.read_csv(folder / "summary.csv").set_index(["check", "setting"])
    line = summary.loc[("topk-intersection", "attack=topk;eps=8/255;attacked=gradient")]
    control = summary.loc[("topk-intersection", "attack=random;eps=8/255"), "mean"]
    assert line["control"] == pytest.approx(control, abs=1e-5)
    assert line["chance"] == pytest.approx(16 / 784, abs=1e-4)
    assert line["ci_low"] < line["mean"] < line["ci_high"] < control


def test_the_attacked_images_are_data_like_any_other(run):
    assert run("attack", *FEW).code == 0
    folder = Path("saliency-audit-report/attack/images")
    manifest = pd.read_csv(folder / "manifest.csv", dtype=str)
    assert list(manifest.columns) == [
        "path",
        "label",
        "image",
        "attack",
        "goal",
        "saliency",
        "scalar",
        "eps",
        "seed",
    ]
    assert len(manifest) == len(list(folder.glob("*.png"))) == 8
    assert set(manifest["attack"]) == {"topk"}
    assert set(manifest["eps"]) == {"8/255"}
    again = run(
        "attack", *FEW[:-2], "--data", folder / "manifest.csv", "--attack", "random",
        "--output-dir", "again",
    )  # fmt: skip
    assert again.code == 0, again.err
    assert "clean accuracy: 100" in again.err or "clean accuracy: 87" in again.err


def test_a_run_does_not_empty_the_folder_it_reads(run):
    assert run("attack", *FEW).code == 0
    manifest = Path("saliency-audit-report/attack/images/manifest.csv")
    before = {path: path.read_bytes() for path in manifest.parent.iterdir()}
    ran = run("attack", *FEW, "--data", manifest)
    assert ran.code == 2
    assert "--output-dir" in ran.err
    assert {path: path.read_bytes() for path in manifest.parent.iterdir()} == before


def test_the_same_seed_writes_the_same_bytes(run):
    for name in ("a", "b"):
        assert run("attack", *FEW, "--output-dir", name, "--seed", 3).code == 0
    for file in ("results.csv", "summary.csv", "verdicts.csv", "images/manifest.csv"):
        assert Path("a", file).read_bytes() == Path("b", file).read_bytes()
    for path in Path("a/images").glob("*.png"):
        assert path.read_bytes() == Path("b/images", path.name).read_bytes()


@pytest.mark.slow
def test_several_budgets_and_attacks_in_one_run(run):
    ran = run(
        "attack", *FEW, "--attack", "topk", "--attack", "structured", "--attack", "pgd",
        "--eps", "2/255", "--eps", "0.03", "--momentum", 0, "--search", "sign",
    )  # fmt: skip
    assert ran.code == 0, ran.err
    folder = Path("saliency-audit-report/attack")
    verdicts = pd.read_csv(folder / "verdicts.csv")
    assert set(zip(verdicts["attack"], verdicts["eps"], strict=True)) == {
        (attack, eps)
        for attack in ("topk", "structured", "worst-case")
        for eps in ("2/255", "0.03")
    }
    assert "whose prediction is another one" in ran.out


@pytest.mark.slow
@pytest.mark.parametrize(
    "preset",
    [
        "ghorbani", "dombrowski", "relex-topk", "relex-structured", "relex-pgd", "moreau-l2",
        "p3-pgd", "p4-mnist", "p4-cifar",
    ],
)  # fmt: skip
def test_every_preset_runs_and_can_be_overridden(run, preset):
    ran = run(
        "attack", "--preset", preset, "--steps", 2, "--samples", 2, "--ig-steps", 2,
        "--max-samples", 2, "--k", 20, "--measure", "gradient",
    )  # fmt: skip
    assert ran.code == 0, ran.err
    settings = json.loads(Path("saliency-audit-report/attack/run.json").read_text())["settings"]
    assert settings["search"]["steps"] == 2
    assert settings["k"] == 20
    assert settings["preset"] == preset


@pytest.mark.slow
def test_fail_on_turns_the_verdict_into_the_exit_code(run):
    ran = run("attack", *FEW, "--fail-on", "fragile")
    assert ran.code == 1
    assert "--fail-on fragile: 1 fragile" in ran.err
    # Noise alone moves Grad-CAM of half the pixels as far as one step of the search does.
    calm = ("--saliency", "gradcam", "--eps", "1/255", "--k", 0.5, "--steps", 1)
    assert run("attack", *FEW[:2], "--measure", "gradcam", *calm, "--fail-on", "fragile").code == 0
    # No budget is no test.
    assert run("attack", *FEW, "--eps", 0, "--fail-on", "fragile").code == 1
    # Nothing judged is no pass.
    assert run("attack", *FEW, "--attack", "pgd", "--fail-on", "fragile").code == 1


def test_a_wanted_map_of_ones_own(run):
    Image.fromarray(np.eye(40, dtype=np.uint8) * 255).convert("RGB").save("mine.png")
    ran = run("attack", *FEW, "--attack", "structured", "--target-map", "mine.png")
    assert ran.code == 0, ran.err
    rows = pd.read_csv("saliency-audit-report/attack/results.csv")
    assert (rows["check"] == "pearson-to-target").any()
    assert Path("saliency-audit-report/attack/structured.png").exists()
    assert Path("saliency-audit-report/attack/terms.png").exists()


BATCHED = (*FEW, "--batch-size", 2, "--max-samples", 8)


@pytest.mark.parametrize(
    "stopped_by", [KeyboardInterrupt(), OSError(errno.ENOSPC, "No space left")]
)
def test_what_was_finished_is_kept_and_resumed_to_the_same_bytes(run, monkeypatch, stopped_by):
    assert run("attack", *BATCHED, "--output-dir", "whole").code == 0
    written = RunFolder.write
    replace = os.replace

    def stop(folder, batch):
        if batch.index == 2:
            if isinstance(stopped_by, KeyboardInterrupt):
                raise stopped_by

            def full(*_):
                raise stopped_by

            monkeypatch.setattr(os, "replace", full)
        written(folder, batch)

    monkeypatch.setattr(RunFolder, "write", stop)
    ran = run("attack", *BATCHED, "--output-dir", "parts")
    monkeypatch.setattr(RunFolder, "write", written)
    monkeypatch.setattr(os, "replace", replace)
    assert ran.code == (130 if isinstance(stopped_by, KeyboardInterrupt) else 3)
    assert "--resume" in ran.err
    assert "Traceback" not in ran.err
    resumed = run("attack", *BATCHED, "--output-dir", "parts", "--resume")
    assert resumed.code == 0, resumed.err
    for file in ("results.csv", "summary.csv", "verdicts.csv", "images/manifest.csv"):
        assert Path("parts", file).read_bytes() == Path("whole", file).read_bytes()
    again = run("attack", *BATCHED, "--output-dir", "parts", "--resume")
    assert again.code == 0
    assert again.out == resumed.out


def test_a_full_disk_while_images_are_written(run, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(picture_file, "replace_file", full)
    ran = run("attack", *FEW)
    assert ran.code == 3
    assert "No space left" in ran.err
    assert "Traceback" not in ran.err


@pytest.mark.slow
def test_out_of_memory_halves_the_batch_and_goes_on(run, monkeypatch):
    forward = type(bundled_model()).forward

    def small_memory(self, images):
        if len(images) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(self, images)

    assert run("attack", *FEW, "--batch-size", 2, "--output-dir", "two").code == 0
    monkeypatch.setattr(type(bundled_model()), "forward", small_memory)
    ran = run("attack", *FEW, "--batch-size", 6, "--output-dir", "six")
    assert ran.code == 0, ran.err
    assert "--batch-size 2" in ran.err or "--batch-size 1" in ran.err
    two, six = (pd.read_csv(f"{name}/verdicts.csv") for name in ("two", "six"))
    assert two["verdict"].tolist() == six["verdict"].tolist()


@pytest.mark.slow
def test_a_report_does_not_keep_what_another_run_made(run):
    Path("report/images").mkdir(parents=True)
    Path("report/images/holiday.png").write_bytes(b"mine")
    others = ("transfer-net.pt2", "random-forest.pt", "worst-of.png", "topk-mine.png")
    for name in others:
        Path("report", name).write_bytes(b"mine")
    assert run("attack", *FEW, "--output-dir", "report").code == 0
    assert run("attack", *FEW, "--output-dir", "report", "--attack", "mass-center").code == 0
    names = {path.name for path in Path("report").iterdir()}
    assert "mass-center.png" in names
    assert "topk.png" not in names
    assert names >= set(others)
    images = {path.name for path in Path("report/images").iterdir()}
    assert "holiday.png" in images
    assert not any("-topk-" in name for name in images)


def test_torchscript_maps_are_refused_and_predictions_are_not(run):
    torch.jit.script(bundled_model()).save("model.pt")
    ran = run("attack", "model.pt", "--channels", 1, *FEW)
    assert ran.code == 2
    assert "--attack pgd" in ran.err
    assert "error" in ran.err.strip().splitlines()[-1]
    assert "clean accuracy" not in ran.err
    assert not Path("saliency-audit-report").exists()
    ran = run(
        "attack", "model.pt", "--channels", 1, "--attack", "pgd", "--measure", "gradient",
        "--max-samples", 4,
    )  # fmt: skip
    assert ran.code == 0, ran.err
    for command in (("fool",), ("evaluate",), ("attack", "--search", "evolution")):
        ran = run(*command, "model.pt", "--channels", 1, "--saliency", "gradcam")
        assert (ran.code, "clean accuracy" in ran.err) == (2, False)
        assert "--saliency gradcam: TorchScript gives no access to layers" in ran.err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--attack", "topkk"], "topk"),
        (["--saliency", "gradientt"], "gradient"),
        (["--saliency", "lrp"], "--measure lrp"),
        (["--measure", "nope"], "nope"),
        (["--eps", "-1"], "eps"),
        (["--eps", "eight"], "8/255"),
        (["--norm", "l2"], "give eps, such as 2"),
        (["--k", "0"], "0"),
        (["--k", "5000"], "784"),
        (["--beta", "0"], "--beta"),
        (["--attack", "structured", "--target-map", "missing.png"], "missing.png"),
        (["--attack", "structured", "--momentum", "1"], "does not go with momentum"),
        (["--preset", "ghorbani", "--norm", "l2"], "--eps"),
        (["--preset", "nobody"], "nobody"),
        (["--eps", "0.001"], "1/255"),
        (["--eps", "8"], "8/255"),
        (["--preset", "ghorbani"], "add --k 0.02"),
        (["--loss", "cw"], "--attack pgd"),
        (["--target-map", "x.png"], "structured"),
        (["--beta", "5", "--beta-growth"], "--beta-growth"),
        (["--attack", "structured", "--restarts", "2"], "--restarts"),
        (["--attack", "pgd", "--surrogate", "softplus"], "--surrogate"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(run, options, message):
    options = ["--max-samples", 2, *options]
    ran = run("attack", *options)
    assert ran.code == 2, ran.err
    assert message in ran.err.strip().splitlines()[-1]
    assert "Traceback" not in ran.err
    assert not Path("saliency-audit-report").exists()


def test_labels_and_unreadable_images_reach_the_manifest(run):
    folder = Path("data/3")
    folder.mkdir(parents=True)
    pixels = bundled_images("test")[0]
    for i in range(3):
        Image.fromarray(pixels[i]).save(folder / f"{i}.png")
    (folder / "broken.png").write_bytes(b"not a picture")
    Path("classes.txt").write_text("0\n1\n2\n3\n")
    ran = run("attack", *FEW, "--data", "data", "--classes", "classes.txt")
    assert ran.code == 0, ran.err
    manifest = pd.read_csv("saliency-audit-report/attack/images/manifest.csv")
    assert manifest["label"].tolist() == [3, 3, 3]
    rows = pd.read_csv("saliency-audit-report/attack/results.csv")
    assert rows.loc[rows["status"] == "error", "image"].tolist() == ["3/broken.png"]
