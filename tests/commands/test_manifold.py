"""The manifold of `manifold-distance`: learned once, kept in a file, given in one or refused."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from saliency_audit.assets import bundled_model
from saliency_audit.commands import manifold
from saliency_audit.training import manifold as training

METRIC = ("--metric", "manifold-distance")
FEW = (*METRIC, "--max-samples", 8, "--batch-size", 8, "--attack-steps", 2)
PCA = (*FEW, "--manifold", "pca")
OUT = ("--output-dir", "out")
FILE = Path("out/manifold.safetensors")
ARCH = ("--arch", "saliency_audit.assets:FashionMnistCnn", "--channels", 1, "--mean", 0, "--std", 1)
CHECKS = [f"manifold-distance{of}" for of in ("", "-clean", "-noise")]


@pytest.fixture
def steps(monkeypatch):
    """Steps of every VAE-GAN that is trained: a small one, on few images, of few steps."""
    done, plain = [], training.train_vae_gan

    def count(data, design, **options):
        from dataclasses import replace

        from saliency_audit.data import subset

        small = replace(design, divisor=64)
        options["course"] = replace(options["course"], batch=4)
        for one in plain(subset(data, 12, 0), small, **options):
            done.append(one.step)
            yield one

    monkeypatch.setattr(training, "train_vae_gan", count)
    monkeypatch.setattr(manifold, "_TRIED", 8)
    return done


def refused(run, *arguments):
    ran = run(*arguments, "--output-dir", "new")
    assert ran.code == 2, ran.err
    assert not Path("new").exists()
    (line,) = [line for line in ran.err.splitlines() if not line.startswith("note ")]
    return line


def images(folder, *values):
    Path(folder).mkdir(exist_ok=True)
    for i, value in enumerate(values):
        pixels = np.full((28, 28), value, dtype=np.uint8)
        pixels[i] = 9
        Image.fromarray(pixels).save(Path(folder) / f"{i}.png")


def larger():
    """A model of images that are not 28 x 28, and two of them."""
    torch.save(bundled_model().state_dict(), "one.pt")
    images("two", 200, 90)
    return ("one.pt", *ARCH, "--size", 72, "--data", "two")


def test_a_plane_is_learned_kept_and_given_to_another_run(run):
    ran = run("evaluate", *PCA, "--components", 3, *OUT)
    assert ran.code == 0, ran.err
    assert "trains on 6,000 bundled images of Fashion-MNIST" in ran.err
    assert "a plane of 3 components (5" in ran.err
    assert all(name in ran.out for name in CHECKS)
    summary = pd.read_csv("out/summary.csv")
    assert {*CHECKS, *(f"{name}-median" for name in CHECKS)} <= set(summary["check"])
    assert Path("out/manifold-distance.png").is_file()
    assert "How far from images do adversarial examples lie?" in Path("out/report.html").read_text()
    assert FILE.name in json.loads(Path("out/run.json").read_text())["files"]

    given = run("evaluate", *FEW, "--manifold", FILE, "--output-dir", "new")
    assert given.code == 0, given.err
    before, after = (pd.read_csv(f"{name}/results.csv") for name in ("out", "new"))
    pd.testing.assert_frame_equal(before, after)
    assert not Path("new/manifold.safetensors").exists()

    for name, said in {"gone": None, "broken": torch.nan}.items():
        state = load_file(FILE)
        with safe_open(FILE, "pt") as file:
            kept = file.metadata()
        if said is None:
            kept = {key: value for key, value in kept.items() if key != "design"}
        else:
            state["mean"][0] = said
        save_file(state, f"{name}.safetensors", kept)
    Path("new").rename("earlier")
    assert "gone.safetensors is no manifold; give manifold.safetensors" in refused(
        run, "evaluate", *FEW, "--manifold", "gone.safetensors"
    )
    assert "nowhere: there is no such file; give manifold.safetensors" in refused(
        run, "evaluate", *FEW, "--manifold", "nowhere"
    )
    assert "broken.safetensors cannot be used: it holds numbers that are not finite" in refused(
        run, "evaluate", *FEW, "--manifold", "broken.safetensors"
    )
    assert "cannot be used: it is of images of 1x28x28, and" in refused(
        run, "evaluate", *larger(), *FEW, "--manifold", FILE
    )


def test_a_stopped_training_goes_on_and_gives_the_same_numbers(run, steps, monkeypatch):
    short = (*FEW, "--manifold-epochs", 2)
    assert run("evaluate", *short, *OUT).code == 0
    assert steps == [1, 2, 3, 4, 5, 6]
    steps.clear()
    other = ("--output-dir", "other", "--resume")
    plain = training._learn

    def stop(*given):
        if len(steps) == 4:
            raise KeyboardInterrupt
        plain(*given)

    monkeypatch.setattr(manifold, "KEPT_EVERY", 0.0)
    with monkeypatch.context() as patch:
        patch.setattr(training, "_learn", stop)
        assert run("evaluate", *short, *other).code == 130
    assert Path("other/manifold-training.pt").is_file()
    assert not Path("other/manifold.safetensors").exists()
    ran = run("evaluate", *short, *other)
    assert ran.code == 0, ran.err
    assert steps == [1, 2, 3, 4, 5, 6]
    assert not Path("other/manifold-training.pt").exists()
    assert FILE.read_bytes() == Path("other/manifold.safetensors").read_bytes()
    assert Path("out/results.csv").read_bytes() == Path("other/results.csv").read_bytes()
    # What is there is not trained again; what another seed would give is.
    assert run("evaluate", *short, *OUT).code == 0
    assert len(steps) == 6
    assert run("evaluate", *short, "--seed", 2, *OUT).code == 0
    assert len(steps) == 12


@pytest.mark.slow
def test_several_models_one_manifold_and_any_batch_size(run):
    torch.save(bundled_model().state_dict(), "one.pt")
    arch = (*ARCH, "--size", 28, "--train", "bundled:fashion-mnist")
    compared = ("--compare", "bundled:fashion-mnist")
    ran = run("evaluate", "one.pt", *arch, *PCA, *compared, *OUT)
    assert ran.code == 0, ran.err
    differences = pd.read_csv("out/compare.csv")
    assert set(CHECKS) <= set(differences["check"])
    assert (differences["difference"].abs() < 1e-3).all()
    small = ("--batch-size", 3, "--output-dir", "small")
    assert run("evaluate", "one.pt", *arch, *PCA, *compared, *small).code == 0
    before, after = (pd.read_csv(f"{name}/results.csv") for name in ("out", "small"))
    key = ["model", "check", "image"]
    before, after = (rows.sort_values(key, ignore_index=True) for rows in (before, after))
    pd.testing.assert_frame_equal(before, after, rtol=1e-3)


@pytest.mark.slow
def test_a_gate_takes_it(run):
    Path("policy.toml").write_text(
        '[data]\nmax_samples = 8\nmin_images = 8\n[run]\nmanifold = "pca"\ncomponents = 5\n'
        '[[check]]\nmetric = "manifold-distance"\nattack_steps = 2\nat_most = 99\n'
    )
    ran = run("gate", "--policy", "policy.toml", *OUT)
    assert ran.code == 0, ran.err
    assert "manifold-distance" in ran.out
    assert FILE.is_file()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--components", 3), "--components is for --manifold pca; add that or leave it"),
        (("--manifold", "pca", "--manifold-epochs", 3), "--manifold-epochs is for training a VAE"),
        (("--manifold", "x.safetensors", "--components", 3), "--components is for learning what"),
        (("--manifold", "x.safetensors", "--train", "d"), "--train is for learning what"),
        (("--manifold", "x.safetensors"), "x.safetensors"),
        (("--manifold", "pca", "--components", 999), "components is 999"),
        (("--eps", 0), "eps is 0"),
    ],
)
def test_what_means_nothing_is_refused_in_a_line(run, options, said):
    assert said in refused(run, "evaluate", *FEW, *options)


def test_it_is_for_its_metric(run):
    few = ("--metric", "accuracy", "--max-samples", 8)
    assert "--manifold is for manifold-distance; add --metric manifold-distance" in refused(
        run, "evaluate", *few, "--manifold", "pca"
    )
    assert "--components is for manifold-distance; add --metric" in refused(
        run, "evaluate", *few, "--components", 3
    )


def test_training_images_that_are_none_or_one_are_refused(run):
    images("one", 200)
    Path("none").mkdir()
    one = refused(run, "evaluate", *PCA, "--train", "one")
    assert "has 1 image, of which no manifold can be learned; give some thousands" in one
    assert "none" in refused(run, "evaluate", *PCA, "--train", "none")
    large = refused(run, "evaluate", *larger(), *FEW)
    assert "no training images of 1x72x72 are bundled; give some with --train" in large
    wide = (*larger(), *FEW, "--train", "two")
    assert "up to 4,096 values" in refused(run, "evaluate", *wide, "--manifold", "pca")
    assert "p3-mnist makes images of 28 x 28, and the model takes 72 x 72" in refused(
        run, "evaluate", *wide, "--manifold-preset", "p3-mnist"
    )
