"""`saliency-audit evaluate` from the first word to the exit code."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from saliency_audit.assets import bundled_images, bundled_model
from saliency_audit.metrics import METRICS

FEW = ("--max-samples", 6, "--saliency", "gradient", "--steps", 8)
WHOLE = [sys.executable, "-m", "saliency_audit", "evaluate"]
FOLDER = Path("saliency-audit-report/evaluate")
FILES = {
    "results.csv",
    "summary.csv",
    "verdicts.csv",
    "curves.csv",
    "verdicts.png",
    "deletion.png",
    "maps.png",
    "perturbed.png",
    "report.html",
    "run.json",
}


def images_in(folder, count=6):
    images, labels, _ = bundled_images("test")
    rows = []
    folder.mkdir()
    for i in range(count):
        Image.fromarray(images[i]).save(folder / f"{i}.png")
        rows.append({"path": f"{i}.png", "label": labels[i]})
    pd.DataFrame(rows).to_csv(folder / "labels.csv", index=False)
    return folder / "labels.csv"


def test_the_card_command_works_as_written(run):
    ran = run("evaluate", "--metric", "deletion", "--max-samples", 6, "--samples", 2)
    assert ran.code == 0, ran.err
    assert {path.name for path in FOLDER.iterdir()} == FILES
    assert "lower is better" in ran.out
    verdicts = pd.read_csv(FOLDER / "verdicts.csv")
    assert set(verdicts["saliency"]) == {
        "gradient",
        "smoothgrad",
        "integrated-gradients",
        "gradcam",
        "random",
        "sobel",
    }
    curves = pd.read_csv(FOLDER / "curves.csv")
    assert list(curves.columns) == [
        "model", "saliency", "check", "x", "mean", "ci_low", "ci_high", "n",
    ]  # fmt: skip
    own = curves[(curves["saliency"] == "gradient") & (curves["check"] == "deletion")]
    area = np.trapezoid(own["mean"], own["x"])
    mean = verdicts.set_index("saliency").loc["gradient", "mean"]
    assert area == pytest.approx(mean, abs=1e-4)
    facts = json.loads((FOLDER / "run.json").read_text())
    assert facts["finished"]
    assert facts["model_passes"] > 0


def test_a_model_file_works_as_written(run):
    torch.jit.script(bundled_model()).save("model.pt")
    ran = run("evaluate", "model.pt", "--metric", "deletion", *FEW)
    assert ran.code == 0, ran.err


def test_the_default_metrics_have_all_their_pictures(run):
    ran = run("evaluate", *FEW, "--draws", 1, "--stages", 2)
    assert ran.code == 0, ran.err
    made = {path.name for path in FOLDER.iterdir()}
    assert made >= FILES | {"preservation.png", "sanity-cascade.png", "randomised.png"}
    checks = set(pd.read_csv(FOLDER / "summary.csv")["check"])
    assert {"scalar-agreement", "sanity-cascade-ssim", "sanity-cascade-map-norm"} <= checks


@pytest.mark.slow
def test_every_metric_in_one_run(run):
    data = images_in(Path("photos"))
    marked = pd.DataFrame(
        [{"path": f"{i}.png", "xmin": 4, "ymin": 4, "xmax": 20, "ymax": 22} for i in range(6)]
    )
    marked.to_csv("boxes.csv", index=False)
    torch.save(bundled_model().state_dict(), "other.pt")
    torch.jit.script(bundled_model()).save("model.pt")
    named = [word for name in METRICS for word in ("--metric", name)]
    ran = run(
        "evaluate", "--data", data, *named, "--saliency", "gradient", "--other", "model.pt",
        "--annotations", "boxes.csv", "--judge", "model.pt", "--base", "gradient", "--steps", 4,
        "--points", 4, "--regions", 3, "--draws", 1, "--stages", 2, "--perturbations", 3,
        "--attack-steps", 2, "--plant-steps", 100, "--patch-opacity", 1, "--quiet",
    )  # fmt: skip
    assert ran.code == 0, ran.err
    summary = pd.read_csv(FOLDER / "summary.csv")
    assert set(METRICS) <= set(summary["check"])
    found = summary[summary["check"].isin(METRICS)].groupby("check")["n"].max()
    assert (found > 0).all()
    assert (FOLDER / "relative-drop.csv").is_file()
    assert not (pd.read_csv(FOLDER / "results.csv")["status"] == "error").any()


def test_the_same_seed_writes_the_same_bytes(run):
    for folder in "ab":
        assert run("evaluate", *FEW, "--metric", "aopc", "--metric", "preservation", "--regions",
                   5, "--output-dir", folder).code == 0  # fmt: skip
    for name in ("results.csv", "summary.csv", "curves.csv", "verdicts.csv"):
        assert Path("a", name).read_bytes() == Path("b", name).read_bytes()


def test_maps_made_elsewhere(run):
    data = images_in(Path("photos"))
    Path("maps").mkdir()
    for i in range(4):
        rng = np.random.default_rng(i)
        np.save(f"maps/{i}.npy", rng.random((14, 14) if i else (28, 28)))
    np.save("maps/3.npy", np.full((28, 28), np.nan))
    np.save("maps/other.npy", np.ones((28, 28)))
    Path("lime").mkdir()
    for i in range(4):
        np.save(f"lime/{i}.npy", np.random.default_rng(9 + i).random((28, 28)))
    both = ("--maps", "maps", "--maps", "LIME=lime")
    ran = run("evaluate", "--data", data, *both, "--metric", "deletion")
    assert ran.code == 0, ran.err
    assert "other" in ran.err
    rows = pd.read_csv(FOLDER / "results.csv", dtype={"image": str})
    own = rows[rows["saliency"] == "maps:maps"]
    assert (own["status"] == "error").sum() == 3
    assert own[own["status"] == "error"]["setting"].str.startswith("reason=").all()
    assert (own["status"] == "ok").sum() == 3
    named = rows[(rows["saliency"] == "LIME") & (rows["check"] == "deletion")]
    assert (named["status"] == "ok").sum() == 4
    refused = run("evaluate", "--data", data, "--maps", "maps", "--metric", "sanity-cascade")
    assert refused.code == 2
    assert "needs the method itself" in refused.err
    assert len(refused.err.strip().splitlines()) == 1 or "note" in refused.err


def test_a_method_of_ones_own(run):
    Path("mine.py").write_text(
        "def explain(model, inputs, targets, **options):\n    return abs(inputs)\n"
    )
    ran = run("evaluate", "--explain", "mine.py:explain", "--metric", "deletion", *FEW[:2])
    assert ran.code == 0, ran.err
    assert "explain:explain" in pd.read_csv(FOLDER / "verdicts.csv")["saliency"].tolist()
    broken = run("evaluate", "--explain", "mine.py:explian", "--metric", "deletion")
    assert broken.code == 2
    assert "explian" in broken.err


def test_compared_models_have_paired_differences(run):
    network = bundled_model()
    torch.jit.script(network).save("same.pt")
    for parameter in network.parameters():
        parameter.data *= 0.5
    torch.jit.script(network).save("other.pt")
    ran = run(
        "evaluate", "same.pt", "--compare", "other.pt", "--metric", "deletion", "--metric",
        "accuracy", *FEW,
    )  # fmt: skip
    assert ran.code == 0, ran.err
    compared = pd.read_csv(FOLDER / "compare.csv")
    assert set(compared["model"]) == {"other.pt"}
    assert set(compared["first"]) == {"same.pt"}
    assert {"deletion", "accuracy"} <= set(compared["check"])


def test_killed_at_any_moment_it_resumes_to_the_same_bytes(run):
    options = ["--metric", "deletion", "--saliency", "gradient", "--max-samples", "12",
               "--batch-size", "2"]  # fmt: skip
    assert run("evaluate", *options, "--output-dir", "whole").code == 0
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    resumed: list[str] = []
    for batches in (1, 3):
        process = subprocess.Popen(
            [*WHOLE, *options, *resumed, "--output-dir", "killed"], env=environment,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        limit = time.monotonic() + 120
        while len(list(Path("killed/partial").glob("*.csv"))) < batches:
            if process.poll() is not None or time.monotonic() > limit:
                break
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        process.wait()
        resumed = ["--resume"]
    assert run("evaluate", *options, "--resume", "--output-dir", "killed").code == 0
    for name in ("results.csv", "summary.csv", "curves.csv", "verdicts.csv"):
        assert Path("whole", name).read_bytes() == Path("killed", name).read_bytes()


def test_a_corrupt_image_in_the_middle_is_a_row(run):
    data = images_in(Path("photos"))
    Path("photos/3.png").write_bytes(b"\x89PNG no more")
    ran = run("evaluate", "--data", data, "--metric", "deletion", *FEW[2:])
    assert ran.code == 0, ran.err
    rows = pd.read_csv(FOLDER / "results.csv")
    assert (rows["status"] == "error").sum() == 1
    assert "1 of 6 images" in ran.err


def test_only_unreadable_images_are_one_line(run):
    data = images_in(Path("photos"), 2)
    for i in range(2):
        Path(f"photos/{i}.png").write_bytes(b"\x89PNG no more")
    ran = run("evaluate", "--data", data, "--metric", "deletion")
    assert ran.code == 2
    assert "no image of labels.csv can be read" in ran.err
    assert not FOLDER.exists()


def test_the_base_must_be_measured(run):
    images_in(Path("photos"))
    Path("mine.py").write_text("def explain(model, inputs, targets):\n    return abs(inputs)\n")
    options = ["--metric", "aopc", "--regions", "3", "--max-samples", "4"]
    ran = run("evaluate", "--explain", "mine.py:explain", *options, "--base", "gradient")
    assert ran.code == 2
    assert "--base gradient is not measured" in ran.err
    assert not FOLDER.exists()


def test_a_changed_method_does_not_resume(run):
    mine = Path("mine.py")
    mine.write_text("def explain(model, inputs, targets):\n    return abs(inputs)\n")
    options = ["evaluate", "--explain", "mine.py:explain", "--metric", "deletion", *FEW[:2]]
    assert run(*options).code == 0
    mine.write_text("def explain(model, inputs, targets):\n    return -abs(inputs)\n")
    changed = run(*options, "--resume")
    assert changed.code == 2
    assert "cannot resume" in changed.err


def test_a_preset_alone_measures_its_metrics(run):
    assert run("evaluate", "--preset", "p0", *FEW[:4]).code == 0
    checks = set(pd.read_csv(FOLDER / "summary.csv")["check"])
    assert {"discriminative", "density-perturbation"} <= checks
    assert "deletion" not in checks
    torch.jit.script(bundled_model()).save("model.pt")
    refused = run("evaluate", "model.pt", "--preset", "adebayo", *FEW[:4], "--output-dir", "no")
    assert refused.code == 2
    assert "--randomise shuffle works" in refused.err
    assert not Path("no").exists()


def test_the_preset_of_a_method_sets_its_options_and_warns(run):
    options = ["evaluate", "--preset", "relex-paper", "--metric", "retrieval", "--max-samples", 2]
    refused = run(*options, "--saliency", "gradient")
    assert refused.code == 2
    assert "--preset relex-paper is for relex; add --saliency relex" in refused.err

    ran = run(*options, "--saliency", "relex", "--relex-copies", 2)

    assert ran.code == 0
    assert "note WARNING: --preset relex-paper: 50 steps of 0.001 move a mask by" in ran.err
    set_by_it = json.loads((FOLDER / "run.json").read_text())["options"]["method options"]
    assert set_by_it == {"copies": 2, "iterations": 50, "lr": 0.001, "momentum": 0.0}


def test_fail_on_turns_the_verdict_into_the_exit_code(run):
    Path("mine.py").write_text(
        "def flat(model, inputs, targets, **options):\n    return inputs * 0\n"
    )
    undefined = run(
        "evaluate", "--explain", "mine.py:flat", "--metric", "deletion", *FEW[:2],
        "--fail-on", "worse",
    )  # fmt: skip
    assert undefined.code == 1
    assert "undefined" in undefined.err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--metric", "deltion"], "Did you mean 'deletion'"),
        (["--metric", "sparsity-gini", "--steps", "4"], "--steps is for"),
        (["--metric", "deletion", "--fill", "pink"], "--fill is 'pink'"),
        (["--metric", "deletion", "--steps", "0"], "--steps is 0"),
        (["--metric", "stability"], "--other"),
        (["--metric", "gaze-overlap"], "--annotations"),
        (["--metric", "deletion", "--preset", "adebayo"], "--preset adebayo is for"),
        (["--metric", "deletion", "--base", "gradient"], "--base is for"),
        (["--metric", "deletion", "--other", "bundled:fashion-mnist"], "--other is for stability"),
        (["--metric", "deletion", "--maps", "nowhere"], "nowhere"),
        (["--metric", "deletion", "--compare", "nothing.pt"], "nothing.pt"),
        (["--metric", "deletion", "--judge", "bundled:fashion-mnist"], "--judge is for"),
        (["--metric", "class-evidence", "--explain-class", "12"], "--explain-class is 12"),
        (["--scalar", "logits"], "Did you mean 'logit'"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(run, options, message):
    ran = run("evaluate", *options, "--saliency", "gradient", "--max-samples", 4)
    assert ran.code == 2, ran.err
    assert message in ran.err
    assert len([line for line in ran.err.splitlines() if line.startswith("error")]) == 1
    assert not FOLDER.exists()


def test_what_a_metric_lacks_is_said_before_anything_is_measured(run):
    ran = run("evaluate", "--metric", "stability", "--max-samples", 8)
    assert ran.code == 2
    assert "--metric stability compares two models; give it with --other" in ran.err
    assert "clean accuracy" not in ran.err


def test_many_processes_without_a_launcher_are_refused(run, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.delenv("RANK", raising=False)
    ran = run("evaluate", "--metric", "accuracy", "--max-samples", 8)
    assert ran.code == 2
    assert "WORLD_SIZE is 2, but no RANK says which of them" in ran.err


def test_pictures_go_by_the_view_whatever_is_measured(run):
    """Other bytes of maps.png, the same numbers; signs are nothing to show an image through."""
    seen = {}
    for view in ("symmetric", "minmax"):
        ran = run("evaluate", "--metric", "deletion", "--saliency", "gradient", "--steps", 4,
                  "--max-samples", 2, "--view", view, "--output-dir", view)  # fmt: skip
        assert ran.code == 0, ran.err
        seen[view] = [Path(view, name).read_bytes() for name in ("maps.png", "results.csv")]
    assert seen["symmetric"][0] != seen["minmax"][0]
    assert seen["symmetric"][1] == seen["minmax"][1]
    refused = run("evaluate", "--metric", "retrieval", "--view", "symmetric")
    assert refused.code == 2
    assert "--view symmetric is for pictures" in refused.err
