"""`saliency-audit finetune` from the first word to the exit code."""

import json
import os
import re
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
from safetensors.torch import load_file
from torch import nn

from saliency_audit.assets import FashionMnistCnn, bundled_images
from saliency_audit.catalogue.training_presets import PRESETS
from saliency_audit.commands.finetune.options import OPTIONS
from saliency_audit.commands.finetune.plan import budgets, planned
from saliency_audit.data import open_data
from saliency_audit.models import load
from saliency_audit.options import Given
from saliency_audit.report.folder import RunFolder
from saliency_audit.training.checkpoint import read_checkpoint
from tests.two_processes import two_processes

FOLDER = Path("saliency-audit-report/finetune")
FEW = ("--max-steps", 4, "--max-samples", 2, "--max-val", 20, "--max-train", 200)
BARE = (*FEW[:2], *FEW[4:], "--audit", "accuracy")
"""For what is not about the audit, which costs more than the training."""
ARCH = "saliency_audit.assets.fashion_mnist_cnn:FashionMnistCnn"
FILES = {
    "before-after.png",
    "changes.png",
    "checkpoint",
    "compare.csv",
    "curves.csv",
    "model.pt2",
    "model.safetensors",
    "report.html",
    "results.csv",
    "run.json",
    "summary.csv",
    "training.csv",
    "training.png",
    "verdicts.csv",
}
AUDITED = {
    "accuracy",
    "robust-accuracy",
    "gradient-norm-target",
    "gradient-norm-others",
    "sparsity-gini",
    "deletion",
    "discriminative",
    "stability",
    "topk-intersection",
    "scalar-agreement",
}


@pytest.fixture(scope="module")
def once(tmp_path_factory):
    """One run of the command as it would be typed, in a process of its own."""
    folder = tmp_path_factory.mktemp("finetune")
    command = [sys.executable, "-m", "saliency_audit", "finetune", "--objective", "gradient-norm"]
    ran = subprocess.run(
        [*command, *map(str, FEW), "--train-batch-size", "32"],
        cwd=folder,
        capture_output=True,
        text=True,
        env={**os.environ, "COLUMNS": "200", "OMP_NUM_THREADS": "1"},
    )
    assert ran.returncode == 0, ran.stderr
    return folder / FOLDER, ran


def test_it_writes_all_that_is_promised(once):
    folder, ran = once
    # Pictures of the curves are named after the checks.
    assert {path.name for path in folder.iterdir()} >= FILES
    summary = pd.read_csv(folder / "summary.csv", keep_default_na=False)
    assert set(summary["model"]) == {"bundled:fashion-mnist", "finetuned"}
    for model, of_model in summary.groupby("model"):
        missing = AUDITED - set(of_model["check"])
        assert missing == ({"stability"} if model != "finetuned" else set())
    assert "accuracy" in ran.stdout
    assert "After gradient-norm" in ran.stdout
    training = pd.read_csv(folder / "training.csv")
    assert list(training["step"]) == [1, 2, 3, 4]
    terms = training["cross-entropy"] + training["gradient-norm"]
    assert np.allclose(terms, training["loss"], rtol=1e-4)
    assert training["val_accuracy"].notna().tolist() == [False] * 3 + [True]
    facts = json.loads((folder / "run.json").read_text())
    assert facts["finished"]
    assert facts["training_images"] == 200
    assert facts["settings"]["options"]["weight"] == 1e-3
    # Both models have seen at least the 20 images whose accuracy is told, one the training's too.
    assert facts["model_passes"] > 4 * 32 + 2 * 20
    assert facts["clean_accuracy_n"] == 20


def test_the_weights_load_into_plain_torch_and_say_what_the_program_says(once):
    folder, _ = once
    network = FashionMnistCnn().eval()
    network.load_state_dict(load_file(folder / "model.safetensors"))
    images = torch.from_numpy(bundled_images("test")[0][:8, None]).float() / 255
    with torch.no_grad():
        logits = network(images)
        program = torch.export.load(folder / "model.pt2").module()(images)
        given = load(None)(images)
    assert torch.allclose(logits, program, atol=1e-5)
    assert not torch.allclose(logits, given, atol=1e-3)
    same = load(str(folder / "checkpoint" / "last.pt"), arch=ARCH, channels=1, size=28)
    assert torch.allclose(same(images), logits, atol=1e-5)


def test_accuracy_is_of_all_validation_images(once):
    folder, _ = once
    rows = pd.read_csv(folder / "results.csv")
    own = rows[(rows["check"] == "accuracy") & (rows["model"] == "finetuned")]
    assert len(own) == 20
    training = pd.read_csv(folder / "training.csv")
    assert own["value"].mean() == pytest.approx(training["val_accuracy"].iloc[-1])


def test_a_stopped_training_goes_on_to_the_same_weights(run, tmp_path):
    options = ("--objective", "adversarial", "--penalty", "l1", *BARE, "--train-batch-size", 32)
    ran = run("finetune", *options, "--checkpoint-every", 2, "--output-dir", "whole")
    assert ran.code == 0, ran.err
    # As if it had been killed after the second step: what later steps left is not there.
    command = [sys.executable, "-m", "saliency_audit", "finetune", *map(str, options)]
    command += ["--checkpoint-every", "2", "--output-dir", "stopped"]
    process = subprocess.Popen(
        command,
        cwd=tmp_path,
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    checkpoint = tmp_path / "stopped" / "checkpoint" / "last.pt"
    for _ in range(1200):
        if checkpoint.is_file():
            break
        time.sleep(0.05)
    process.kill()
    process.wait()
    ran = run("finetune", *options, "--checkpoint-every", 2, "--output-dir", "stopped", "--resume")
    assert ran.code == 0, ran.err
    assert "resuming after step" in ran.err
    whole, stopped = (load_file(f"{name}/model.safetensors") for name in ("whole", "stopped"))
    assert all(torch.equal(whole[name], stopped[name]) for name in whole)
    assert Path("whole/results.csv").read_bytes() == Path("stopped/results.csv").read_bytes()
    assert list(pd.read_csv("stopped/training.csv")["step"]) == [1, 2, 3, 4]
    again = run("finetune", *options, "--checkpoint-every", 2, "--output-dir", "whole", "--resume")
    assert again.code == 0
    other = run("finetune", *options, "--lr", 0.5, "--output-dir", "whole", "--resume")
    assert other.code == 2
    assert "cannot resume: lr was 0.01, now 0.5" in other.err


@pytest.mark.slow
def test_an_audit_that_was_stopped_goes_on_and_nothing_is_trained_again(run, monkeypatch):
    options = ("finetune", "--objective", "cross-entropy", *FEW, "--train-batch-size", 32)
    assert run(*options, "--output-dir", "whole").code == 0
    written, kept = RunFolder.write, []

    def stop(folder, batch):
        if len(kept) == 2:
            raise KeyboardInterrupt
        written(folder, batch)
        kept.append((batch.job, batch.index))

    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, "write", stop)
        assert run(*options, "--output-dir", "parts").code == 130
    assert kept == [("accuracy", 0), ("metrics", 0)]
    model = Path("parts/checkpoint/last.pt").read_bytes()
    ran = run(*options, "--output-dir", "parts", "--resume")
    assert ran.code == 0, ran.err
    assert "resuming: 2 batches are done" in ran.err
    assert "resuming after step 4" in ran.err
    assert Path("parts/checkpoint/last.pt").read_bytes() == model
    for file in ("results.csv", "summary.csv", "verdicts.csv", "curves.csv"):
        assert Path("parts", file).read_bytes() == Path("whole", file).read_bytes()


def test_ctrl_c_keeps_the_last_step(tmp_path):
    command = [sys.executable, "-m", "saliency_audit", "finetune", "--objective", "cross-entropy"]
    process = subprocess.Popen(
        [
            *(*command, "--max-val", "20", "--train-batch-size", "8", "--epochs", "50"),
            *("--checkpoint-every", "4"),
        ],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    checkpoint = tmp_path / FOLDER / "checkpoint" / "last.pt"
    for _ in range(1200):
        if checkpoint.is_file():
            break
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=120)
    assert process.returncode == 130, told
    assert "stopping after this step" in told
    assert "add --resume" in told
    state = read_checkpoint(checkpoint)
    rows = pd.read_csv(tmp_path / FOLDER / "training.csv")
    assert rows["step"].iloc[-1] == state["step"] >= 4
    assert not (tmp_path / FOLDER / "model.safetensors").exists()


def test_a_network_of_ones_own_is_trained_from_scratch_and_compared(run):
    Path("small_net.py").write_text(
        "from torch import nn\n\n\n"
        "def build():\n"
        "    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Dropout(),\n"
        "                         nn.Linear(4 * 26 * 26, 10))\n"
    )
    arch = ("--arch", "small_net:build", "--channels", 1, "--size", 28)
    common = (*arch, *FEW, "--mean", 0.3, "--std", 0.4, "--lr", 0.1)
    first = run(
        "finetune", "--from-scratch", "--objective", "cross-entropy", *common, "--output-dir", "a"
    )
    assert first.code == 0, first.err
    verdicts = pd.read_csv("a/verdicts.csv", keep_default_na=False)
    assert set(verdicts["word"]) == {""}
    taught = run(
        "finetune",
        *("--from-scratch", "--objective", "interpretation", *common),
        *("--teacher", "a/model.safetensors", "--teacher-samples", 2),
        *("--against", "a/model.safetensors", "--other", "a/model.safetensors"),
        *("--output-dir", "b"),
    )
    assert taught.code == 0, taught.err
    summary = pd.read_csv("b/summary.csv", keep_default_na=False)
    assert set(summary["model"]) == {"model.safetensors", "finetuned"}
    assert "After interpretation, compared with model.safetensors, on" in taught.out
    assert not Path("b/partial").exists()
    # With the model it is compared with as the other training, that one agrees with itself.
    own = summary[(summary["check"] == "stability") & (summary["saliency"] == "gradient")]
    assert own.set_index("model")["mean"].astype(float)["model.safetensors"] > 0.99


def test_a_training_without_an_audit(run):
    options = ("--objective", "cross-entropy", *FEW[:2], *FEW[4:], "--audit", "none")
    ran = run("finetune", *options)
    assert ran.code == 0, ran.err
    assert "After cross-entropy: nothing was audited." in ran.out
    assert re.search(r"\n3 steps of 64 images, about \d+ s here\n", ran.err)
    assert len(pd.read_csv(FOLDER / "training.csv")) == 3
    assert pd.read_csv(FOLDER / "results.csv").empty
    assert {"model.safetensors", "report.html"} <= {path.name for path in FOLDER.iterdir()}


def test_softplus_stays_in_what_is_written(run):
    ran = run("finetune", "--objective", "score-matching", *FEW)
    assert ran.code == 0, ran.err
    assert "softplus (beta 10) takes the place of ReLU" in ran.err
    model = load(str(FOLDER / "model.safetensors"), arch=ARCH, channels=1, size=28)
    assert model.activation == ("softplus", 10.0)
    images = torch.from_numpy(bundled_images("test")[0][:8, None]).float() / 255
    with torch.no_grad():
        program = load(str(FOLDER / "model.pt2"))(images)
        assert torch.allclose(model(images), program, atol=1e-4)
        plain = FashionMnistCnn().eval()
        plain.load_state_dict(load_file(FOLDER / "model.safetensors"))
        assert not torch.allclose(plain(images), program, atol=1e-2)
    summary = pd.read_csv(FOLDER / "summary.csv", keep_default_na=False)
    name = "bundled:fashion-mnist"
    assert list(dict.fromkeys(summary["model"])) == [name, f"{name} with softplus", "finetuned"]
    verdicts = pd.read_csv(FOLDER / "verdicts.csv").set_index("check")
    before, alone = verdicts.loc["gradient-norm-target", ["before", "swapped"]]
    assert alone < 0.95 * before
    training = pd.read_csv(FOLDER / "training.csv")
    assert {"trace", "mean-gradient-norm", "score-matching"} <= set(training.columns)


def test_what_people_marked_is_read_by_name_of_the_training_image(run):
    train = open_data("bundled:fashion-mnist-train", input_shape=(1, 28, 28), max_samples=200)
    for name, _, image in train:
        path = Path("marked", f"{name}.png")
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((image[0].numpy() > 0.1).astype(np.uint8) * 255).save(path)
    ran = run("finetune", "--objective", "harmonise", "--annotations", "marked", *BARE)
    assert ran.code == 0, ran.err
    assert (pd.read_csv(FOLDER / "training.csv")["annotated"] == 1).all()


def test_two_processes_end_where_one_does(run):
    options = ("--objective", "gradient-norm", *BARE, "--freeze-bn")
    alone = run("finetune", *options, "--output-dir", "alone")
    assert alone.code == 0, alone.err
    ran = two_processes("finetune", *options, "--output-dir", "together")
    assert ran.returncode == 0, ran.stderr
    one, two = (load_file(f"{name}/model.safetensors") for name in ("alone", "together"))
    for name, weight in one.items():
        assert torch.allclose(weight.double(), two[name].double(), atol=1e-5), name
    losses = [pd.read_csv(f"{name}/training.csv")["loss"] for name in ("alone", "together")]
    assert np.allclose(*losses, rtol=1e-4)


@pytest.mark.slow
def test_the_accuracy_told_by_two_processes_is_of_the_model_they_write(run):
    Path("norm_net.py").write_text(
        "from torch import nn\n\n\ndef build():\n"
        "    return nn.Sequential(\n"
        "        nn.Conv2d(1, 8, 3, 2), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3, 2),\n"
        "        nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(288, 10))\n"
    )
    # With the statistics of each, a share of the images came out otherwise.
    ran = two_processes(
        "finetune",
        *("--from-scratch", "--arch", "norm_net:build", "--channels", 1, "--size", 28),
        *("--mean", 0, "--std", 1, "--objective", "cross-entropy", "--max-train", 1000),
        *("--max-val", 300, "--train-batch-size", 8, "--max-steps", 100, "--lr", 0.05),
        *("--audit", "accuracy"),
        *("--output-dir", "together"),
    )
    assert ran.returncode == 0, ran.stderr
    told = pd.read_csv("together/training.csv")["val_accuracy"].iloc[-1]
    written = json.loads(Path("together/run.json").read_text())["clean_accuracy"]
    assert told == pytest.approx(written)


def test_random_weights_are_no_teacher_of_their_own(run):
    options = ("--from-scratch", "--arch", ARCH, "--channels", 1, "--size", 28, *BARE)
    ran = run("finetune", "--objective", "interpretation", *options)
    assert ran.code == 2
    assert "has nobody to learn from; give --teacher" in ran.err


@pytest.mark.slow
def test_maps_of_an_earlier_teacher_are_not_taken_for_this_runs(run):
    options = ("--objective", "interpretation", *FEW[:2], *FEW[4:-1], 20, "--audit", "accuracy")
    options = (*options, "--train-batch-size", 10)
    maps = FOLDER / "partial" / "teacher-maps.npy"
    maps.parent.mkdir(parents=True)
    stale = np.full((20, 1, 28, 28), 1e3, np.float32)
    np.save(maps, stale)
    ran = run("finetune", *options, "--teacher-samples", 2, "--resume")
    assert ran.code == 0, ran.err
    assert pd.read_csv(FOLDER / "training.csv")["interpretation"].max() < 1e3


def few_classes(folder, classes):
    """A folder of class folders, two pictures in each."""
    for name in classes:
        Path(folder, name).mkdir(parents=True)
        for i in range(2):
            Image.fromarray(np.full((28, 28), 40 * i, np.uint8)).save(f"{folder}/{name}/{i}.png")
    return folder


def broken_lines(pictures):
    lines = ["path,label", *(f"{path},{label}" for path, label in pictures)]
    Path("list.csv").write_text("\n".join(lines) + "\n")
    return "list.csv"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((), "give --objective NAME; known: cross-entropy, "),
        (("--objective", "scorematching"), "Did you mean 'score-matching'"),
        (("--preset", "p9"), "unknown preset 'p9'"),
        (("--preset", "p0", "--objective", "pgd"), "--preset p0 is of --objective score-matching"),
        (("--objective", "pgd", "--mu", 1), "--mu is for --objective score-matching, not pgd"),
        (("--objective", "pgd", "--eps", -1), "--eps is -1"),
        (("--objective", "pgd", "--eps", 8), "for 8 of 255 levels give 8/255"),
        (("--objective", "adversarial", "--penalty", "l1", "--eps", 2), "give 2/255"),
        (("--objective", "pgd", "--min-accuracy", 70), "--min-accuracy is 70; give"),
        (("--objective", "gradient-norm", "--of", "prob"), "unknown --of 'prob'"),
        (("--objective", "jacobian", "--lr", 0), "--lr is 0; give more than 0"),
        (("--objective", "jacobian", "--max-train", 20), "there are 20 training images"),
        (("--objective", "jacobian", "--accumulate", 3), "give a multiple of 3"),
        (("--objective", "pgd", "--teacher", "x"), "--teacher is for --objective interpretation"),
        (("--objective", "pgd", "--permute"), "--permute is for --objective interpretation"),
        (("--objective", "harmonise"), "--objective harmonise needs what people marked"),
        (
            ("--objective", "adversarial", "--penalty", "weighted"),
            "--penalty weighted needs what people marked",
        ),
        (("--objective", "pgd", "--annotations", "x"), "leave it for pgd"),
        (("--objective", "pgd", "--data", "bundled:photographs"), "have no label"),
        (("--objective", "pgd", "--audit-eps", 0), "--audit-eps is 0"),
        (("--objective", "pgd", "--saliency", "gradients"), "Did you mean 'gradient'"),
        (("--objective", "pgd", "--surrogate", "softplus", "--beta", 0), "--beta is 0"),
        (
            ("--objective", "adversarial", "--eps2", 0.1),
            "--eps2 is for --penalty elastic; leave it for l2",
        ),
        (("--objective", "adversarial", "--group", 7), "--group is for --penalty group"),
        (
            ("--objective", "adversarial", "--joint-channels"),
            "--joint-channels is for --penalty group",
        ),
        (("--objective", "adversarial", "--step-size", 0.1), "--step-size is for --steps 2"),
        (
            ("--objective", "score-matching", "--trace", "hutchinson", "--sigma", 0.1),
            "--sigma is for --trace taylor",
        ),
        (
            ("--objective", "pgd", "--optimizer", "adam", "--momentum", 0.5),
            "--momentum is of sgd; leave it for --optimizer adam",
        ),
        (
            ("--objective", "pgd", "--audit", "none", "--audit", "accuracy"),
            "--audit is none and accuracy; leave none or the rest",
        ),
        (
            ("--objective", "pgd", "--audit", "accuracy", "--audit-eps", "8/255"),
            "--audit-eps is for --audit robust-accuracy, topk-intersection, not accuracy",
        ),
        (("--objective", "pgd", "--audit", "none", "--against", "x"), "--against is for --audit"),
        (("--objective", "pgd", "--beta", 20), "no softplus is trained; leave it"),
        (("--objective", "pgd", "--data", "nowhere"), "--data nowhere: there is no such folder"),
    ],
)
def test_wrong_input_is_one_line_and_writes_nothing(run, arguments, told):
    ran = run("finetune", *arguments)
    assert ran.code == 2
    assert told in ran.err
    assert ran.err.count("error") == 1
    assert not FOLDER.exists()


def test_images_that_nothing_can_be_learned_from_are_refused(run):
    one = few_classes("one", ["a"])
    ran = run("finetune", "--objective", "pgd", "--data", one, "--val", one)
    assert (ran.code, "are of class 0; training needs at least two classes" in ran.err) == (2, True)
    beyond = broken_lines([("one/a/0.png", 0), ("one/a/1.png", 10)])
    ran = run("finetune", "--objective", "pgd", "--data", beyond)
    assert (ran.code, "label 10 but the model has 10 outputs" in ran.err) == (2, True)
    Path("empty").mkdir()
    ran = run("finetune", "--objective", "pgd", "--data", "empty")
    assert ran.code == 2
    assert "empty" in ran.err


def test_the_same_images_twice_are_warned_of(run):
    two = few_classes("two", ["a", "b"])
    options = ("--train-batch-size", 4, "--max-steps", 1, "--max-samples", 1)
    ran = run("finetune", "--objective", "cross-entropy", "--data", two, "--val", two, *options)
    assert ran.code == 0, ran.err
    assert "WARNING: --data and --val are the same images" in ran.err
    assert "8 of 10 classes have no training image" in ran.err


def test_programs_cannot_be_trained(run):
    torch.jit.script(nn.Sequential(nn.Flatten(), nn.Linear(784, 10))).save("model.pt")
    ran = run("finetune", "model.pt", "--channels", 1, "--size", 28, "--objective", "pgd")
    assert ran.code == 2
    assert "give the state dict with --arch" in ran.err


def test_a_training_that_diverges_keeps_the_last_good_weights(run):
    options = ("--objective", "gradient-norm", *FEW, "--schedule", "constant")
    ran = run("finetune", *options, "--lr", "1e6", "--checkpoint-every", 1)
    assert ran.code == 3
    assert "lower --lr (now 1e+06) or --weight (now 0.001)" in ran.err
    assert not (FOLDER / "model.safetensors").exists()
    state = read_checkpoint(FOLDER / "checkpoint" / "last.pt")
    assert f"holds the weights of step {state['step']}" in ran.err
    assert all(weight.isfinite().all() for weight in state["state_dict"].values())


def test_an_accuracy_that_falls_too_low_ends_it(run):
    options = ("--objective", "cross-entropy", *FEW, "--lr", 5, "--schedule", "constant")
    ran = run("finetune", *options, "--checkpoint-every", 1, "--min-accuracy", 0.8)
    assert ran.code == 3
    assert "is below --min-accuracy 0.8" in ran.err
    assert len(pd.read_csv(FOLDER / "training.csv")) < 4


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_is_a_plan(preset):
    given = Given(**{option.name: option.default for option in OPTIONS})
    plan = planned(given.but(preset=preset, from_scratch=False))
    assert plan.name == PRESETS[preset].objective
    assert plan.recipe.batch_size == PRESETS[preset].recipe["batch_size"]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"objective": "noise"}, [(2 / 255, "linf")]),
        ({"objective": "pgd"}, [(2 / 255, "linf"), (8 / 255, "linf")]),
        ({"objective": "pgd", "eps": 2 / 255}, [(2 / 255, "linf")]),
        ({"objective": "pgd", "eps": 1 / 300}, [(2 / 255, "linf")]),
        ({"preset": "p4-adversarial"}, [(2 / 255, "linf"), (1.5, "l2")]),
        ({"objective": "pgd", "audit_eps": 1.0, "audit_norm": "l2"}, [(1.0, "l2")]),
    ],
)
def test_pgd_is_audited_within_what_it_trains_within_unless_told(options, expected):
    given = Given(**{option.name: option.default for option in OPTIONS}).but(**options)
    assert budgets(given, planned(given)) == expected


def test_a_method_that_the_model_does_not_allow_is_refused_before_the_training(run):
    Path("flat.py").write_text(
        "from torch import nn\n\n\ndef build():\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(784, 10))\n"
    )
    arch = ("--from-scratch", "--arch", "flat:build", "--channels", 1, "--size", 28)
    ran = run("finetune", *arch, "--objective", "pgd", "--saliency", "gradcam", *FEW)
    assert ran.code == 2
    assert not FOLDER.exists()


def test_a_checkpoint_without_its_settings_is_not_resumed(run):
    options = ("--objective", "cross-entropy", *BARE)
    assert run("finetune", *options).code == 0
    ran = run("finetune", *options, "--resume", "--seed", 1)
    assert (ran.code, "cannot resume: seed was 0, now 1" in ran.err) == (2, True)
    (FOLDER / "run.json").unlink()
    ran = run("finetune", "--objective", "noise", *BARE, "--resume")
    assert ran.code == 0, ran.err
    assert "resuming" not in ran.err


def test_what_cannot_be_read_is_left_out_and_said(run):
    two = few_classes("two", ["a", "b"])
    Path("two/a/0.png").write_bytes(b"no picture")
    val = few_classes("val", ["a", "b"])
    options = ("--train-batch-size", 4, "--epochs", 2, "--max-samples", 1)
    ran = run("finetune", "--objective", "cross-entropy", "--data", two, "--val", val, *options)
    assert ran.code == 0, ran.err
    assert ran.err.count("training images that cannot be read are left out") == 1
    # Once in each of two epochs.
    assert json.loads((FOLDER / "run.json").read_text())["training_unreadable"] == 2


def test_folders_of_other_classes_are_not_taken_for_the_same_indices(run):
    train, val = few_classes("train", ["a", "b", "c"]), few_classes("val", ["a", "c"])
    ran = run("finetune", "--objective", "cross-entropy", "--data", train, "--val", val)
    assert ran.code == 2
    assert "one index would mean two classes; give --classes" in ran.err


SMOOTH = (
    "from torch import nn\n\n\ndef build():\n"
    "    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.SiLU(), nn.Flatten(), nn.Linear(2704, 10))\n"
)


def test_softplus_is_claimed_only_where_it_replaces_something(run):
    Path("smooth_net.py").write_text(SMOOTH)
    arch = ("--from-scratch", "--arch", "smooth_net:build", "--channels", 1, "--size", 28)
    ran = run("finetune", *arch, "--objective", "score-matching", *BARE)
    assert ran.code == 0, ran.err
    assert "softplus" not in ran.err
    model = load(str(FOLDER / "model.safetensors"), arch="smooth_net:build", channels=1, size=28)
    assert model.activation is None
    ran = run("finetune", *arch, "--objective", "pgd", "--surrogate", "softplus", *BARE)
    assert ran.code == 2
    assert "no ReLU or the like" in ran.err


def test_a_softplus_model_stays_what_it_is(run):
    assert run("finetune", "--objective", "score-matching", *BARE, "--output-dir", "a").code == 0
    given = ("a/model.safetensors", "--arch", ARCH, "--channels", 1, "--size", 28)
    for option in (("--surrogate", "none"), ("--surrogate", "softplus", "--beta", 30)):
        ran = run("finetune", *given, "--objective", "pgd", *option)
        assert ran.code == 2
        assert "runs softplus (beta 10) as its file says" in ran.err


def test_the_way_to_a_divergence_is_written(run):
    options = ("--objective", "gradient-norm", *FEW, "--schedule", "constant", "--lr", "1e6")
    assert run("finetune", *options).code == 3
    assert len(pd.read_csv(FOLDER / "training.csv")) >= 1
