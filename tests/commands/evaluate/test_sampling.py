"""Samples of a network that knows where the class stands, judged by others."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torch import nn

from saliency_audit.commands.evaluate import sampling
from saliency_audit.errors import AuditError
from saliency_audit.training import retrain
from tests.planted_images import CLASSES, SIDE, write_planted
from tests.two_processes import two_processes

ARCH = ("--arch", "planted_net:build", "--size", SIDE, "--channels", 1, "--data", "test")
FEW = ("model.pt", *ARCH, "--metric", "gan-test", "--gan-steps", 8, "--gan-samples", 10)
JUDGED = (*FEW, "--judge", "judge.pt")
TABLES = ("results.csv", "summary.csv", "samples/manifest.csv")


def weights(seed, classes=CLASSES):
    """A bright pixel of the first row is the class; the other pixels count for nothing much."""
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(classes, SIDE**2, generator=generator)
    weight[range(classes), range(classes)] += 8
    return {"1.weight": weight, "1.bias": torch.zeros(classes)}


@pytest.fixture
def planted(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    write_planted("test", 4, 1)
    Path("planted_net.py").write_text(
        "from torch import nn\n"
        f"build = lambda: nn.Sequential(nn.Flatten(), nn.Linear({SIDE**2}, {CLASSES}))\n"
    )
    torch.save(weights(0), "model.pt")
    torch.save(weights(1), "judge.pt")


def means(folder):
    summary = pd.read_csv(f"{folder}/summary.csv")
    return summary.set_index(["model", "check"])["mean"]


def same(*folders):
    for name in TABLES:
        first, *others = (Path(folder, name).read_bytes() for folder in folders)
        assert all(other == first for other in others), name
    pictures = [
        {path.name: path.read_bytes() for path in Path(folder, "samples").glob("*.png")}
        for folder in folders
    ]
    assert pictures[0]
    assert all(one == pictures[0] for one in pictures)


def test_the_files_are_what_was_judged(run, planted):
    ran = run("evaluate", *JUDGED, "--output-dir", "out", "--compare", "judge.pt")
    assert ran.code == 0, ran.err
    assert "10 samples of 8 steps, 80 gradients of each model" in ran.err
    assert "WARNING: the judge has the weights of judge.pt" in ran.err
    found = means("out")
    assert f"model.pt, gan-test: judge.pt gives {found['model.pt', 'gan-test']:.1%} [" in ran.out
    assert "of 10 samples the class they were made for" in ran.out
    assert "(chance 33.3%)" in ran.out
    assert Path("out/samples.png").is_file()
    assert "Gradient Slingshots" in Path("out/report.html").read_text()
    manifest = pd.read_csv("out/samples/manifest.csv")
    assert list(manifest["model"]) == ["model.pt"] * 10 + ["judge.pt"] * 10
    assert list(manifest["label"]) == [0, 1, 2, 0, 1, 2, 0, 1, 2, 0] * 2
    assert set(manifest["start"]) == {"noise"}
    assert sorted(manifest["path"]) == sorted(p.name for p in Path("out/samples").glob("*.png"))
    # The network climbs its own logits, so a judge with the same weights sees the class.
    assert found["judge.pt", "gan-test"] == found["judge.pt", "gan-test-own"] == 1
    by_row = manifest["judged"] == manifest["label"]
    assert by_row[:10].mean() == pytest.approx(found["model.pt", "gan-test"])

    # The manifest is data: the judge's accuracy on it is the answer of both models together.
    read = (*ARCH[:-2], "--data", "out/samples/manifest.csv", "--max-samples", 100)
    again = run("evaluate", "judge.pt", *read, "--metric", "accuracy", "--output-dir", "read")
    assert again.code == 0, again.err
    accuracy = pd.read_csv("read/summary.csv").set_index("check")["mean"]["accuracy"]
    assert accuracy == pytest.approx(by_row.mean())


def test_real_images_that_are_left_alone_have_the_judges_accuracy(run, planted):
    Path("test/0/0.png").write_bytes(b"no picture")
    left = ("--denoise", 1e-9, "--gan-lr", 1e-9, "--gan-steps", 1, "--target", "label")
    ran = run("evaluate", *JUDGED[:-4], "--judge", "judge.pt", *left, "--output-dir", "out")
    assert ran.code == 0, ran.err
    found = means("out")["model.pt"]
    assert found["gan-test"] == found["gan-test-judge-accuracy"] == found["gan-test-start"]
    manifest = pd.read_csv("out/samples/manifest.csv")
    assert len(manifest) == 3 * 4 - 1
    for path, start in zip(manifest["path"], manifest["start"], strict=True):
        pictures = (Image.open(Path(*at)) for at in (("out/samples", path), ("test", start)))
        first, second = (np.asarray(picture) for picture in pictures)
        assert (first == second).all()


def test_numbers_depend_on_no_batch_and_a_run_goes_on_where_it_was_killed(
    run, planted, monkeypatch
):
    monkeypatch.setattr(sampling, "AT_ONCE", 4)
    asked = ("evaluate", *JUDGED, "--langevin", 1e-4)
    assert run(*asked, "--output-dir", "whole").code == 0
    assert run(*asked, "--output-dir", "small", "--batch-size", 3).code == 0
    same("whole", "small")

    made, plain = [], sampling.Sampling._made

    def dies(self, place, part, stepped):
        made.append(part.index)
        if made == [0, 1]:
            raise AuditError("no power")
        return plain(self, place, part, stepped)

    monkeypatch.setattr(sampling.Sampling, "_made", dies)
    assert run(*asked, "--output-dir", "killed").code == 3
    first = Path("killed/samples/sample-0001-class-0.png").stat().st_mtime_ns
    ran = run(*asked, "--output-dir", "killed", "--resume")
    assert ran.code == 0, ran.err
    assert made == [0, 1, 1, 2]
    assert Path("killed/samples/sample-0001-class-0.png").stat().st_mtime_ns == first
    same("whole", "killed")
    # A finished run has nothing left to do.
    assert run(*asked, "--output-dir", "killed", "--resume").code == 0
    assert made == [0, 1, 1, 2]
    other = run(*asked, "--output-dir", "killed", "--resume", "--gan-steps", 9)
    assert other.code == 2
    assert "cannot resume: steps was 8, now 9" in other.err

    # Files of a run before do not stay beside those of another.
    assert run(*asked, "--output-dir", "killed", "--wanted-class", 2).code == 0
    names = {path.name for path in Path("killed/samples").glob("*.png")}
    assert names == {f"sample-{i:04d}-class-2.png" for i in range(1, 11)}


@pytest.mark.slow
def test_two_processes_make_the_samples_that_one_does(run, planted):
    asked = ("evaluate", *JUDGED, "--gan-samples", 150)
    alone = run(*asked, "--device", "cpu", "--output-dir", "alone")
    assert alone.code == 0, alone.err
    ran = two_processes(*asked, "--output-dir", "together")
    assert ran.returncode == 0, ran.stderr
    same("alone", "together")


def test_a_judge_is_trained_once_and_serves_other_metrics_too(run, planted, monkeypatch):
    write_planted("train", 20, 0)
    seen, plain = [], retrain.trained_anew

    def count(*given, **options):
        seen.append(plain(*given, **options))
        return seen[-1]

    monkeypatch.setattr(retrain, "trained_anew", count)
    recipe = ("--recipe", "epochs=20,batch-size=20,lr=0.05", "--train", "train")
    asked = ("evaluate", *FEW, "--judge", "anew", *recipe, "--output-dir", "out")
    ran = run(*asked)
    assert ran.code == 0, ran.err
    assert "gan-test: trained-again gives" in ran.out
    assert len(seen) == 1
    results = Path("out/results.csv").read_bytes()
    assert means("out")["model.pt", "gan-test-judge-accuracy"] > 0.6
    more = ("--metric", "discriminative", "--saliency", "gradient", "--points", 3)
    ran = run(*asked, *more)
    assert ran.code == 0, ran.err
    assert "discriminative" in set(pd.read_csv("out/summary.csv")["check"])
    assert run(*asked).code == 0
    assert len(seen) == 1
    assert Path("out/results.csv").read_bytes() == results
    done = run(*asked, "--resume")
    assert "gan-test: trained-again gives" in done.out


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ((), "--metric gan-test asks a second model; give it with --judge"),
        (("--judge", "none.pt"), "none.pt"),
        (("--judge", "judge.pt", "--wanted-class", 3), "--wanted-class is 3; the model has 3"),
        (("--judge", "judge.pt", "--denoise", 0.1), "--gan-samples 10 and --denoise"),
        (("--judge", "judge.pt", "--denoise", 0), "--denoise"),
        (("--judge", "judge.pt", "--train", "test"), "--train is for --judge anew"),
        (("--judge", "judge.pt", "--recipe", "epochs=1"), "--recipe is for"),
        (
            ("--judge", "judge.pt", "--outputs", "multi-label"),
            "gan-test needs classes that exclude",
        ),
        (("--judge", "anew"), "give some with --train"),
        (("--judge", "other.pt2"), "models in one run must know the same classes"),
    ],
)
def test_what_cannot_be_judged_is_one_line(run, planted, more, says):
    wider = nn.Sequential(nn.Flatten(), nn.Linear(SIDE**2, CLASSES + 1)).eval()
    if "other.pt2" in more:
        batch = {0: torch.export.Dim("batch")}
        program = torch.export.export(
            wider, (torch.rand(2, 1, SIDE, SIDE),), dynamic_shapes=(batch,)
        )
        torch.export.save(program, "other.pt2")
    ran = run("evaluate", *FEW, *more, "--output-dir", "out")
    assert ran.code == 2
    assert says in ran.err
    assert not Path("out").exists()


def test_options_of_samples_are_refused_without_any(run, planted):
    for option in (("--langevin", 1), ("--denoise", 0.1), ("--judge", "anew")):
        ran = run("evaluate", "model.pt", *ARCH, "--metric", "deletion", *option)
        assert ran.code == 2
        assert option[0] in ran.err
        assert "gan-test" in ran.err


def test_a_gate_names_the_command_that_makes_samples(run, planted):
    Path("policy.toml").write_text('[[check]]\nmetric = "gan-test"\nat_least = 0.5\n')
    ran = run("gate", "model.pt", *ARCH, "--policy", "policy.toml")
    assert ran.code == 2
    assert "saliency-audit evaluate --metric gan-test" in ran.err
