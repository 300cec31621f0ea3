"""Networks trained anew, on images whose class stands in known pixels."""

from pathlib import Path

import pandas as pd
import pytest
import torch
from torch import nn

from saliency_audit.commands.evaluate.recipe import RECIPE, read_recipe
from saliency_audit.errors import InputError
from saliency_audit.training import retrain
from tests.planted_images import CLASSES, SIDE, write_planted
from tests.two_processes import two_processes

WRITTEN = CLASSES / SIDE**2
FEW = (
    *("model.pt", "--arch", "planted_net:build", "--size", SIDE, "--channels", 1, "--mean", 0.5),
    *("--std", 0.5, "--data", "test", "--train", "train", "--target", "label"),
    *("--recipe", "epochs=6", "--recipe", "batch-size=20", "--recipe", "lr=0.2"),
    *("--repeats", 2, "--output-dir", "out"),
)
EXPLAIN = """
import torch
def {name}(model, images, targets):
    maps = torch.rand(images.shape, generator=torch.Generator().manual_seed(len(images))) / 2
    maps[:, :, 0, :3] += 1
    return {value}
"""


def build():
    return nn.Sequential(nn.Flatten(), nn.Linear(SIDE**2, CLASSES))


@pytest.fixture
def planted(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    write_planted("train", 40, 0)
    write_planted("test", 20, 1)
    Path("planted_net.py").write_text(
        "from torch import nn\n"
        f"build = lambda: nn.Sequential(nn.Flatten(), nn.Linear({SIDE**2}, {CLASSES}))\n"
    )
    torch.manual_seed(0)
    torch.save(build().state_dict(), "model.pt")
    Path("true.py").write_text(EXPLAIN.format(name="found", value="maps"))
    Path("reverse.py").write_text(EXPLAIN.format(name="missed", value="1.5 - maps"))


@pytest.fixture
def trained(monkeypatch):
    """Accuracies of all trainings of this process."""
    seen, plain = [], retrain.retrained_accuracy

    def count(*given, **options):
        seen.append(plain(*given, **options))
        return seen[-1]

    monkeypatch.setattr(retrain, "retrained_accuracy", count)
    return seen


def table():
    """Means by check, method and the last part of the setting."""
    summary = pd.read_csv("out/summary.csv")
    summary["saliency"] = summary["saliency"].str.removeprefix("explain:")
    return summary.set_index(["check", "saliency", "setting"])["mean"]


def test_what_decides_is_found(run, planted, trained):
    ran = run(
        "evaluate", *FEW, "--metric", "roar", "--metric", "kar", "--metric", "diffroar",
        "--fractions", WRITTEN, "--fractions", 1 - WRITTEN, "--explain", "true.py:found",
    )  # fmt: skip
    assert ran.code == 0, ran.err
    # Each kind of training once: the images, and of 3 methods 2 shares of 2 sides, and 2 masks.
    assert len(trained) == 2 * (1 + 3 * (2 * 2 + 2))
    means, share = table(), f"removed={WRITTEN:g}"
    rest = f"removed={1 - WRITTEN:g}"
    assert means["roar-accuracy", "found", share] < 0.5  # chance is a third
    assert means["roar-accuracy", "random", share] > 0.9
    assert means["kar-accuracy", "found", rest] > 0.95
    assert means["kar-accuracy", "random", rest] < 0.7
    assert means["diffroar-at", "found", share] > 0.5
    shares = f"{share},{1 - WRITTEN:g}"
    assert means["roar", "found", shares] > 0.2
    assert means["roar", "random", shares] == 0
    assert "roar (of 2 trainings each): explain:found better than random" in ran.out
    assert "compared with the random map in trainings from the same weights\n" in ran.out
    assert Path("out/roar.png").is_file() or list(Path("out").glob("roar*.png"))


def test_the_order_in_reverse_has_minus_the_value(run, planted):
    diffs = {}
    for file in ("true.py:found", "reverse.py:missed"):
        asked = ("--metric", "diffroar", "--fractions", 0.25, "--explain", file)
        ran = run("evaluate", *FEW, *asked)
        assert ran.code == 0, ran.err
        diffs[file] = table()["diffroar", file.split(":")[1], "removed=0.25"]
    assert diffs["true.py:found"] == -diffs["reverse.py:missed"] != 0


def test_nothing_is_trained_twice(run, planted, trained, monkeypatch):
    asked = ("--metric", "diffroar", "--fractions", 0.5, "--saliency", "gradient")
    first = run("evaluate", *FEW, *asked)
    assert first.code == 0, first.err
    results, done = Path("out/results.csv").read_bytes(), len(trained)
    assert done == 2 * 3 * 2
    kept = pd.read_csv("out/trainings.csv")
    assert len(kept) == done

    Path("out/results.csv").unlink()
    # A run that was killed in the middle of its trainings goes on behind the last of them.
    kept.head(7).to_csv("out/trainings.csv", index=False)
    again = run("evaluate", *FEW, *asked, "--resume")
    assert again.code == 0, again.err
    assert len(trained) == done + done - 7
    assert Path("out/results.csv").read_bytes() == results
    assert "7 of them are done" in again.err

    # Others by seed and recipe; of more shares only those that are not there yet.
    before = len(trained)
    assert run("evaluate", *FEW, *asked, "--fractions", 0.25).code == 0
    assert len(trained) == before + done
    assert run("evaluate", *FEW, *asked, "--seed", 3, "--recipe", "epochs=1").code == 0
    assert len(trained) == before + 2 * done


def test_a_program_is_explained_and_another_architecture_is_trained(run, planted, trained):
    torch.jit.script(build()).save("model.ts")
    options = [one for one in FEW if one not in ("model.pt", "--arch", "planted_net:build")]
    asked = ("--metric", "diffroar", "--fractions", 0.5, "--saliency", "gradient")
    ran = run("evaluate", "model.ts", *options, *asked)
    assert ran.code == 2
    assert "name an architecture to train with --retrain" in ran.err
    assert not Path("out").exists()
    ran = run("evaluate", "model.ts", *options, *asked, "--retrain", "planted_net:build")
    assert ran.code == 0, ran.err
    assert len(trained) == 12


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (("--recipe", "epoch=3"), "write NAME=VALUE, NAME one of epochs"),
        (("--recipe", "epochs=many"), "epochs is 5 by default"),
        (("--recipe", "batch-size=1000"), "--recipe batch-size is 1000 but there are 120 training"),
        (("--recipe", "epochs=0"), "--recipe is 'epochs=0'; give epochs at least 1"),
        (("--recipe", "lr=-1"), "--recipe is 'lr=-1'; give lr a number above 0"),
        (("--recipe", "optimizer=lion"), "give optimizer sgd or adam or adamw"),
        (("--fractions", 0.001), "none or all"),
    ],
)
def test_what_cannot_be_trained_is_one_line(run, planted, more, says):
    ran = run("evaluate", *FEW, "--metric", "roar", *more)
    assert ran.code == 2
    assert says in ran.err
    assert not Path("out").exists()


@pytest.mark.parametrize("idle", [("--recipe", "epochs=1"), ("--retrain", "torchvision:resnet18")])
def test_what_trains_nothing_is_refused(run, idle):
    ran = run("evaluate", "--metric", "deletion", *idle)
    assert ran.code == 2
    assert f"{idle[0]} is for retrained-stability, label-randomisation, roar" in ran.err


def test_images_without_labels_are_refused(run, planted):
    Path("test/0/0.png").rename("other.png")
    Path("list.csv").write_text("path,label\nother.png,\n")
    ran = run("evaluate", *FEW, "--metric", "kar", "--train", "list.csv")
    assert ran.code == 2
    assert "1 of 1 images of --train have none" in ran.err


@pytest.mark.slow
def test_two_processes_share_the_trainings_and_find_what_one_does(run, planted):
    asked = ("evaluate", *FEW[:-2], "--metric", "roar", "--fractions", 0.3)
    alone = run(*asked, "--device", "cpu", "--saliency", "gradient", "--output-dir", "alone")
    assert alone.code == 0, alone.err
    ran = two_processes(*asked, "--saliency", "gradient", "--output-dir", "together")
    assert ran.returncode == 0, ran.stderr
    for name in ("results.csv", "summary.csv", "curves.csv"):
        assert Path("alone", name).read_bytes() == Path("together", name).read_bytes(), name
    kept = [
        pd.read_csv(f"{one}/trainings.csv").drop(columns="seconds").sort_values("key")
        for one in ("alone", "together")
    ]
    assert kept[0].to_dict("list") == kept[1].to_dict("list")
    assert not Path("together/trainings-1.csv").exists()


def test_networks_trained_anew_are_kept(run, planted, monkeypatch):
    seen, plain = [], retrain.trained_anew

    def count(*given, **options):
        seen.append(plain(*given, **options))
        return seen[-1]

    monkeypatch.setattr(retrain, "trained_anew", count)
    asked = (
        "--metric",
        "label-randomisation",
        "--metric",
        "retrained-stability",
        "--ssim-window",
        5,
    )
    asked = (*asked, "--saliency", "gradient")
    first = run("evaluate", *FEW[:-4], *FEW[-2:], *asked)
    assert first.code == 0, first.err
    assert len(seen) == 3
    summary = pd.read_csv("out/summary.csv").set_index(["check", "saliency"])["mean"]
    # Two that learned where the class stands are alike.
    assert summary["retrained-stability", "gradient"] > summary["retrained-stability", "random"]
    assert summary["label-randomisation", "sobel"] == 1
    results = Path("out/results.csv").read_bytes()
    again = run("evaluate", *FEW[:-4], *FEW[-2:], *asked)
    assert again.code == 0, again.err
    assert len(seen) == 3
    assert Path("out/results.csv").read_bytes() == results
    for kind in ("permuted", "again", "swapped"):
        assert Path(f"out/trained-{kind}.safetensors").is_file()
    other = run("evaluate", *FEW[:-4], *FEW[-2:], *asked, "--recipe", "epochs=1", "--resume")
    assert other.code == 2
    assert "cannot resume: epochs was 6, now 1" in other.err
    assert run("evaluate", *FEW[:-4], *FEW[-2:], *asked, "--swap", 0.5).code == 0
    assert len(seen) == 4


def test_a_gate_names_the_command_that_trains(run, planted):
    Path("policy.toml").write_text(
        '[[check]]\nmetric = "roar"\nsaliency = "gradient"\nbetter_than = "random"\n'
    )
    ran = run("gate", "model.pt", *FEW[1:13], "--policy", "policy.toml")
    assert ran.code == 2
    assert "saliency-audit evaluate --metric roar --fail-on worse" in ran.err


def test_a_recipe_is_the_papers_but_for_what_is_given():
    assert read_recipe([]) == RECIPE
    found = read_recipe(["epochs=20", "freeze-bn=1", "optimizer=sgd", "max-steps=7"])
    assert (found.epochs, found.freeze_bn, found.optimizer, found.max_steps) == (20, True, "sgd", 7)
    with pytest.raises(InputError, match="accumulate"):
        read_recipe(["accumulate=2"])
