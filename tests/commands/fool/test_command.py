"""`saliency-audit fool` from the first word to the exit code."""

import errno
import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import nn

from saliency_audit.assets import bundled_images, bundled_model
from saliency_audit.commands.fool import forgery
from saliency_audit.errors import AuditError
from saliency_audit.report.folder import RunFolder

FEW = ("--max-samples", 8, "--saliency", "gradient", "--saliency", "random", "--scalar", "logit")
FILES = {
    "results.csv",
    "summary.csv",
    "verdicts.csv",
    "verdicts.png",
    "examples.png",
    "level-ripple.png",
    "level-ripple.pt2",
    "logit-shift.png",
    "logit-shift.pt2",
    "loss-sine.png",
    "loss-sine.pt2",
    "report.html",
    "run.json",
}


def test_no_model_and_no_data_audit_the_bundled_ones(run):
    ran = run("fool", *FEW)
    assert ran.code == 0, ran.err
    folder = Path("saliency-audit-report/fool")
    assert {path.name for path in folder.iterdir()} == FILES
    verdicts = pd.read_csv(folder / "verdicts.csv")
    forged = verdicts[
        (verdicts["saliency"] == "gradient") & verdicts["trick"].str.contains("shift")
    ]
    assert forged["verdict"].tolist() == ["forged"]
    assert "forged" in ran.out
    assert "without changing one prediction on 8 images" in ran.out
    assert "clean accuracy" in ran.err
    facts = json.loads((folder / "run.json").read_text())
    assert facts["clean_accuracy_n"] == 8
    assert facts["model_passes"] > 0
    assert len(facts["model_sha256"]) == 64
    summary = pd.read_csv(folder / "summary.csv").set_index(["check", "saliency", "setting"])
    line = summary.loc[("cosine-to-picture", "gradient", "stage=before")]
    control = summary.loc[("cosine-to-picture", "random", "stage=before"), "mean"]
    assert line["control"] == pytest.approx(control, abs=1e-5)
    assert line["ci_low"] < line["mean"] < line["ci_high"]


def test_the_same_seed_writes_the_same_bytes(run):
    for name in ("a", "b"):
        assert run("fool", *FEW, "--output-dir", name, "--seed", 3).code == 0
    for file in ("results.csv", "summary.csv", "verdicts.csv"):
        assert Path("a", file).read_bytes() == Path("b", file).read_bytes()


def test_a_manipulated_model_is_a_model_like_any_other(run):
    assert run("fool", *FEW, "--trick", "logit-shift").code == 0
    forged = "saliency-audit-report/fool/logit-shift.pt2"
    again = run("fool", forged, *FEW, "--trick", "loss-sine", "--output-dir", "again")
    assert again.code == 0, again.err
    rows = pd.read_csv("again/results.csv")
    agreement = rows[(rows["check"] == "scalar-agreement") & (rows["setting"] == "stage=before")]
    assert agreement["value"].mean() < 0.5  # the shift that was put in is found


@pytest.mark.parametrize("kind", ["torchscript", "state dict", "safetensors"])
def test_other_model_files_without_data(run, kind):
    model = bundled_model()
    path, arch = Path("model.pt"), ["--arch", "saliency_audit.assets:FashionMnistCnn"]
    if kind == "torchscript":
        scripted = torch.jit.script(model)
        scripted.save(path)
        arch = ["--channels", "1"]
    elif kind == "state dict":
        torch.save({"state_dict": model.state_dict()}, path)
    else:
        from safetensors.torch import save_file

        path = Path("model.safetensors")
        save_file(model.state_dict(), path)
    ran = run("fool", path, *arch, *FEW, "--trick", "logit-shift")
    assert ran.code == 0, ran.err
    folder = Path("saliency-audit-report/fool")
    suffix = ".pt" if kind == "torchscript" else ".pt2"
    assert (folder / f"logit-shift{suffix}").exists()
    assert pd.read_csv(folder / "verdicts.csv")["verdict"].tolist()[0] == "forged"


def test_a_layer_named_by_the_user_is_found_behind_what_was_added(run):
    ran = run("fool", *FEW, "--saliency", "gradcam", "--layer", "features.10")
    assert ran.code == 0, ran.err
    found = pd.read_csv("saliency-audit-report/fool/verdicts.csv")
    found = found[found["saliency"] == "gradcam"]
    # What is added to the logits reaches no layer before them.
    assert list(found["verdict"]) == ["unmoved"] * 3


def test_head_is_saved_as_weights_of_the_same_architecture(run):
    ran = run("fool", *FEW, "--trick", "logit-shift", "--shift", "head", "--saliency", "gradcam")
    assert ran.code == 0, ran.err
    saved = load_file("saliency-audit-report/fool/logit-shift-head.safetensors")
    model = bundled_model()
    model.load_state_dict(saved)  # strict: the same names and shapes
    images = torch.from_numpy(bundled_images("test")[0][:8]).float()[:, None] / 255
    with torch.no_grad():
        before, after = bundled_model()(images), model(images)
    assert (before.softmax(1) - after.softmax(1)).abs().max() < 1e-5
    assert (before - after).abs().max() > 1e-2


def test_photographs_serve_a_colour_model_without_data(run):
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 4, 7, stride=4),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(4),
        nn.Flatten(),
        nn.Linear(64, 5),
    )
    program = torch.export.export(
        model, (torch.rand(2, 3, 64, 64),), dynamic_shapes=({0: torch.export.Dim("n")},)
    )
    torch.export.save(program, "model.pt2")
    ran = run("fool", "model.pt2", *FEW)
    assert ran.code == 0, ran.err
    assert "photographs" in ran.err
    assert "no labels" in ran.err
    rows = pd.read_csv("saliency-audit-report/fool/results.csv")
    assert set(rows.loc[rows["check"] == "accuracy", "status"]) == {"undefined"}


def test_unreadable_images_become_rows(run):
    folder = Path("data")
    folder.mkdir()
    pixels = bundled_images("test")[0]
    for i in range(4):
        Image.fromarray(pixels[i]).save(folder / f"{i}.png")
    (folder / "broken.png").write_bytes(b"not a picture")
    ran = run("fool", *FEW, "--data", "data")
    assert ran.code == 0, ran.err
    rows = pd.read_csv("saliency-audit-report/fool/results.csv")
    broken = rows[rows["status"] == "error"]
    assert broken["image"].tolist() == ["broken.png"]
    assert "1 of 5 images of data cannot be read" in ran.err
    assert set(rows.loc[rows["status"] == "ok", "image"]) == {f"{i}.png" for i in range(4)}


def test_the_clean_accuracy_is_of_the_images_that_can_be_read(run):
    Path("data").mkdir()
    pixels, labels, _ = bundled_images("test")
    lines = ["path,label", "broken.png,0"]
    Path("data/broken.png").write_bytes(b"not a picture")
    for i in range(4):
        Image.fromarray(pixels[i]).save(f"data/{i}.png")
        lines.append(f"{i}.png,{labels[i]}")
    Path("data/m.csv").write_text("\n".join(lines))
    ran = run("fool", *FEW, "--data", "data/m.csv", "--trick", "logit-shift")
    assert ran.code == 0, ran.err
    assert "of 4 images of m.csv" in ran.err


def test_fail_on_turns_the_verdict_into_the_exit_code(run):
    shift = (*FEW, "--trick", "logit-shift")
    assert run("fool", *shift, "--fail-on", "forged").code == 1
    unmoved = ("--max-samples", 8, "--saliency", "gradient", "--scalar", "margin")
    assert run("fool", *unmoved, "--trick", "logit-shift", "--fail-on", "disturbed").code == 0


def test_a_picture_of_ones_own(run):
    Image.fromarray(np.eye(40, dtype=np.uint8) * 255).convert("RGB").save("mine.png")
    ran = run("fool", *FEW, "--picture", "mine.png", "--trick", "logit-shift")
    assert ran.code == 0, ran.err
    assert pd.read_csv("saliency-audit-report/fool/verdicts.csv")["verdict"][0] == "forged"


TRAINED = (
    *("--trick", "finetune", "--max-steps", 2, "--saliency", "gradient", "--scalar", "logit"),
)
BATCHED = (*FEW, "--trick", "loss-sine", "--batch-size", 2, "--max-samples", 8)


@pytest.mark.parametrize(
    "stopped_by", [KeyboardInterrupt(), OSError(errno.ENOSPC, "No space left")]
)
def test_what_was_finished_is_kept_and_resumed_to_the_same_bytes(run, monkeypatch, stopped_by):
    assert run("fool", *BATCHED, "--output-dir", "whole").code == 0
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
    ran = run("fool", *BATCHED, "--output-dir", "parts")
    monkeypatch.setattr(RunFolder, "write", written)
    monkeypatch.setattr(os, "replace", replace)
    assert ran.code == (130 if isinstance(stopped_by, KeyboardInterrupt) else 3)
    assert "--resume" in ran.err
    assert "Traceback" not in ran.err
    assert len(list(Path("parts/partial").glob("*.csv"))) == 2
    resumed = run("fool", *BATCHED, "--output-dir", "parts", "--resume")
    assert resumed.code == 0, resumed.err
    for file in ("results.csv", "summary.csv", "verdicts.csv"):
        assert Path("parts", file).read_bytes() == Path("whole", file).read_bytes()
    assert not Path("parts/partial").exists()
    # Once more: nothing is left to do, and the same answer is given.
    again = run("fool", *BATCHED, "--output-dir", "parts", "--resume")
    assert again.code == 0
    assert again.out == resumed.out


@pytest.mark.slow
def test_a_forgery_that_was_trained_is_not_trained_again(run, monkeypatch):
    few = (*TRAINED, "--max-samples", 2, "--output-dir")
    assert run("fool", *few, "whole").code == 0
    written = RunFolder.write

    def stop(folder, batch):
        raise KeyboardInterrupt

    monkeypatch.setattr(RunFolder, "write", stop)
    assert run("fool", *few, "parts").code == 130
    monkeypatch.setattr(RunFolder, "write", written)
    weights = Path("parts/finetune.safetensors").read_bytes()

    def fitted(*_, **how):
        raise AuditError("it was trained again")

    monkeypatch.setattr(forgery, "fitted", fitted)
    ran = run("fool", *few, "parts", "--resume")
    assert ran.code == 0, ran.err
    assert "finetune is not trained again: finetune.safetensors is of the run" in ran.err
    assert Path("parts/finetune.safetensors").read_bytes() == weights
    assert Path("parts/results.csv").read_bytes() == Path("whole/results.csv").read_bytes()
    # What lies there when no run goes on may be of any.
    Path("parts/run.json").unlink()
    ran = run("fool", *few, "parts", "--resume")
    assert (ran.code, "it was trained again" in ran.err) == (3, True)


def test_resuming_with_other_options_is_refused(run):
    done = (*FEW, "--trick", "logit-shift", "--output-dir", "done")
    assert run("fool", *done).code == 0
    ran = run("fool", *done, "--resume", "--seed", 5)
    assert ran.code == 2
    assert "cannot resume: seed was 0, now 5" in ran.err


def test_bad_input_leaves_earlier_work_alone(run, monkeypatch):
    written = RunFolder.write

    def stop(folder, batch):
        if batch.index == 2:
            raise KeyboardInterrupt
        written(folder, batch)

    monkeypatch.setattr(RunFolder, "write", stop)
    assert run("fool", *BATCHED, "--output-dir", "parts").code == 130
    monkeypatch.setattr(RunFolder, "write", written)
    before = {path: path.read_bytes() for path in Path("parts").rglob("*") if path.is_file()}
    assert len(before) > 4
    for bad in (["--saliency", "gradientt"], ["--layer", "nope", "--saliency", "gradcam"]):
        assert run("fool", *BATCHED, "--output-dir", "parts", *bad).code == 2
        after = {path: path.read_bytes() for path in Path("parts").rglob("*") if path.is_file()}
        assert after == before
    assert run("fool", *BATCHED, "--output-dir", "parts", "--resume").code == 0


@pytest.mark.slow
def test_a_report_does_not_keep_what_another_run_made(run):
    assert run("fool", *FEW, "--output-dir", "report").code == 0
    assert run("fool", *FEW, "--output-dir", "report", "--trick", "logit-shift").code == 0
    names = {path.name for path in Path("report").iterdir()}
    assert names == {name for name in FILES if not name.startswith(("loss-sine", "level-ripple"))}


def test_one_image_is_too_few_to_pass(run):
    one = ("--max-samples", 1, "--saliency", "gradient", "--scalar", "margin")
    ran = run("fool", *one, "--trick", "logit-shift", "--fail-on", "forged")
    assert ran.code == 1
    assert "undefined" in ran.out


def test_another_model_cannot_resume_a_run(run):
    done = (*FEW, "--trick", "logit-shift", "--output-dir", "done")
    assert run("fool", *done).code == 0
    model = bundled_model()
    program = torch.export.export(
        model, (torch.rand(2, 1, 28, 28),), dynamic_shapes=({0: torch.export.Dim("n")},)
    )
    torch.export.save(program, "mine.pt2")
    ran = run("fool", "mine.pt2", *done, "--resume")
    assert ran.code == 2
    assert "model was bundled:fashion-mnist, now mine.pt2" in ran.err
