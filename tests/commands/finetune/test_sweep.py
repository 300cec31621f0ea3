"""`saliency-audit finetune --sweep`: a grid of trainings, compared."""

import json
from itertools import product
from math import nan
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from saliency_audit.commands.finetune import sweep
from saliency_audit.commands.finetune.grid import Grid, Point
from saliency_audit.commands.finetune.sweep_report import write_sweep_report
from saliency_audit.commands.finetune.sweep_tables import (
    KEY,
    NUMBERS,
    correlations,
    heat_table,
    points_table,
    sentence,
    shared,
)
from saliency_audit.options import Given, Option
from saliency_audit.ranges import POSITIVE
from saliency_audit.report.table import parts, plain, widths
from tests.planted_images import CLASSES, SIDE, write_planted
from tests.two_processes import two_processes

OF_DATA = (
    *("model.pt", "--arch", "sweep_net:build", "--size", SIDE, "--channels", 1, "--mean", 0.5),
    *("--std", 0.5, "--data", "train", "--val", "test", "--train-batch-size", 20),
    *("--max-steps", 3, "--lr", 0.2),
)
TINY = (*OF_DATA, "--max-samples", 8, "--audit", "accuracy,gradient-norm-target")
PGD = ("--objective", "pgd", "--steps", 1)


@pytest.fixture
def tiny(run, tmp_path, monkeypatch):
    """A linear network whose three classes stand in three pixels."""
    monkeypatch.syspath_prepend(str(tmp_path))
    write_planted("train", 20, 0)
    write_planted("test", 8, 1)
    Path("sweep_net.py").write_text(
        "from torch import nn\n"
        f"build = lambda: nn.Sequential(nn.Flatten(), nn.Linear({SIDE**2}, {CLASSES}))\n"
    )
    torch.manual_seed(0)
    torch.save(nn.Sequential(nn.Flatten(), nn.Linear(SIDE**2, CLASSES)).state_dict(), "model.pt")
    return run


@pytest.fixture
def lived(monkeypatch):
    """Folders of the runs of this process, the sweep's own last."""
    seen, plain_live = [], sweep.live

    def live(given, *rest, **options):
        code = plain_live(given, *rest, **options)
        seen.append(Path(given.output_dir).name)
        return code

    monkeypatch.setattr(sweep, "live", live)
    return seen


def contents(folder, *names):
    return [(Path(folder) / name).read_bytes() for name in names]


TABLES = ("sweep.csv", "correlations.csv", "results.csv")


def test_a_point_is_a_plain_run_with_its_options(tiny):
    asked = (
        "finetune", *PGD, *TINY, "--sweep", "eps=0.2", "--sweep", "norm=linf",
        "--sweep-seeds", 2, "--seed", 3, "--output-dir", "out",
    )  # fmt: skip
    ran = tiny(*asked)
    assert ran.code == 0, ran.err
    table = pd.read_csv("out/sweep.csv", keep_default_na=False)
    assert list(table) == ["eps", "norm", "seed", *KEY, *NUMBERS]
    names = {path.name for path in Path("out/points").iterdir()}
    assert names == {"eps=0.2,norm=linf,seed=3", "eps=0.2,norm=linf,seed=4"}
    options = ("--eps", 0.2, "--norm", "linf", "--seed", 4, "--output-dir", "plain")
    ran = tiny("finetune", *PGD, *TINY, *options)
    assert ran.code == 0, ran.err
    files = ("results.csv", "verdicts.csv", "model.safetensors")
    assert contents("out/points/eps=0.2,norm=linf,seed=4", *files) == contents("plain", *files)
    verdicts = pd.read_csv("plain/verdicts.csv")
    own = table[(table["eps"] == 0.2) & (table["norm"] == "linf") & (table["seed"] == 4)]
    assert list(own["check"]) == list(verdicts["check"]) == ["accuracy", "gradient-norm-target"]
    for mine, theirs in {"mean": "after", "ci_low": "after_low", "before": "before"}.items():
        assert list(own[mine]) == list(verdicts[theirs])
    # What was measured of each trained model stands under its point's name.
    rows = pd.read_csv("out/results.csv")
    of_point = rows[(rows["model"] == "eps=0.2,norm=linf,seed=4")].drop(columns="model")
    plain_rows = pd.read_csv("plain/results.csv")
    trained = plain_rows[plain_rows["model"] == "finetuned"].drop(columns="model")
    assert of_point.reset_index(drop=True).equals(trained.reset_index(drop=True))
    facts = json.loads(Path("out/run.json").read_text())
    assert facts["finished"]
    assert facts["trainings"] == 2
    assert {"points/eps=0.2,norm=linf,seed=3/results.csv", "sweep.csv"} <= set(facts["files"])
    assert Path("out/against-eps.png").is_file()
    assert Path("out/against-accuracy.png").is_file()
    assert not Path("out/against-norm.png").exists()

    Path("out/points/eps=0.2,norm=linf,seed=3/verdicts.csv").unlink()
    ran = tiny(*asked, "--resume")
    assert ran.code == 3
    assert "verdicts.csv' is not there any more; drop --resume to train again" in ran.err


@pytest.mark.slow
def test_a_killed_sweep_goes_on_and_trains_nothing_twice(tiny, lived, monkeypatch):
    asked = ("finetune", *PGD, *TINY, "--sweep", "eps=0,0.1,0.2", "--output-dir")
    assert tiny(*asked, "whole").code == 0
    assert lived == ["eps=0,seed=0", "eps=0.1,seed=0", "eps=0.2,seed=0", "whole"]
    lived.clear()

    with monkeypatch.context() as patch:
        rows = sweep._rows

        def killed(work, point):
            # Behind the second training, before the sweep knows of it.
            if point.values["eps"] == 0.1:
                raise KeyboardInterrupt
            return rows(work, point)

        patch.setattr(sweep, "_rows", killed)
        assert tiny(*asked, "cut").code == 130
    assert not Path("cut/sweep.csv").exists()
    weights = Path("cut/points/eps=0.1,seed=0/model.safetensors")
    written = weights.stat().st_mtime_ns
    ran = tiny(*asked, "cut", "--resume")
    assert ran.code == 0, ran.err
    # The first is not even looked at again, the second is as it was.
    names = [f"eps={eps},seed=0" for eps in (0, 0.1, 0.1, 0.2)]
    assert lived == [*names, "cut"]
    assert weights.stat().st_mtime_ns == written
    assert contents("cut", *TABLES) == contents("whole", *TABLES)
    lived.clear()
    again = tiny(*asked, "cut", "--resume")
    assert again.code == 0
    assert lived == ["cut"]
    assert again.out == ran.out

    ran = tiny(*asked, "cut", "--resume", "--max-steps", 2)
    assert ran.code == 2
    assert "cannot resume: max_steps was 3, now 2" in ran.err
    ran = tiny(*asked[:-3], "--sweep", "eps=0,0.1", "--output-dir", "cut", "--resume")
    assert ran.code == 2
    assert "cannot resume: eps was [0.0, 0.1, 0.2], now [0.0, 0.1]" in ran.err
    # Another sweep in the same folder leaves none of the earlier points behind.
    ran = tiny(*asked[:-3], "--sweep", "eps=0,0.3", "--output-dir", "cut")
    assert ran.code == 0, ran.err
    names = {path.name for path in Path("cut/points").iterdir()}
    assert names == {"eps=0,seed=0", "eps=0.3,seed=0"}


def test_a_training_that_fails_costs_no_other(tiny):
    asked = ("finetune", "--objective", "gradient-norm", *TINY, "--min-accuracy", 0.3)
    ran = tiny(*asked, "--sweep", "weight=0,1e12", "--output-dir", "out")
    assert ran.code == 0, ran.err
    assert "1 of 2 trainings failed, the first (weight=1e+12,seed=0): " in ran.out
    table = pd.read_csv("out/sweep.csv")
    assert set(table["weight"]) == {0}
    facts = json.loads(Path("out/run.json").read_text())
    assert list(facts["trainings_failed"]) == ["weight=1e+12,seed=0"]
    assert "What failed" in Path("out/report.html").read_text()
    ran = tiny(*asked, "--sweep", "weight=1e12", "--output-dir", "none")
    assert ran.code == 3
    assert "all 1 trainings failed" in ran.err


@pytest.mark.slow
def test_metrics_that_train_anew_are_those_of_evaluate(tiny):
    anew = ("--fractions", 0.1, "--repeats", 2, "--recipe", "max-steps=3,batch-size=20")
    ran = tiny(
        "finetune", *PGD, *OF_DATA, "--audit", "roar", "--saliency", "gradient", *anew,
        "--sweep", "eps=0,0.2", "--output-dir", "out",
    )  # fmt: skip
    assert ran.code == 0, ran.err
    # What no trained model decides is trained once: the images, and those of the two controls.
    first, second = (
        pd.read_csv(f"out/points/eps={eps},seed=0/evaluate/trainings.csv").set_index("key")
        for eps in (0, 0.2)
    )
    assert len(first) == len(second) == 2 * (1 + 3 * 2)
    both = first.index.intersection(second.index)
    assert set(first["saliency"][both].fillna("")) == {"", "random", "sobel"}
    assert len(both) == 2 * (1 + 2 * 2)
    assert first.loc[both].equals(second.loc[both])  # their seconds, too
    weights = "out/points/eps=0.2,seed=0/model.safetensors"
    ran = tiny(
        "evaluate", weights, *OF_DATA[1:11], "--data", "test", "--train", "train",
        "--metric", "roar", "--saliency", "gradient", *anew, "--output-dir", "plain",
    )  # fmt: skip
    assert ran.code == 0, ran.err
    summary = pd.read_csv("plain/summary.csv")
    theirs = summary[(summary["check"] == "roar") & (summary["saliency"] == "gradient")]
    table = pd.read_csv("out/sweep.csv")
    mine = table[(table["check"] == "roar") & (table["eps"] == 0.2)]
    assert len(mine) == len(theirs) == 1
    columns = ["saliency", "setting", "mean", "ci_low", "ci_high", "n"]
    assert mine[columns].to_numpy().tolist() == theirs[columns].to_numpy().tolist()
    assert set(table["check"]) == {"accuracy", "roar"}


@pytest.mark.parametrize(
    ("asked", "line"),
    [
        (("--sweep", "epz=0,1"), "unknown option of pgd or of the training 'epz'. Did you mean"),
        (("--sweep", "weight=1"), "unknown option of pgd"),
        (("--sweep", "eps=0,x"), "--sweep is 'eps=x'; give a number such as 0.5 or 8/255"),
        (("--sweep", "epochs=1.5"), "--sweep is 'epochs=1.5'; give a whole number"),
        (("--sweep", "eps=-1"), "--eps is -1; give at least 0"),
        (("--sweep", "norm=l1"), "--sweep is 'norm=l1'; give linf or l2"),
        (("--sweep", "random-start=maybe"), "give true or false"),
        (("--sweep", "eps="), "--sweep is 'eps='; write a name and values"),
        (("--sweep", "eps"), "--sweep is 'eps'; write NAME=VALUES"),
        (("--sweep", "eps=0,,1"), "--sweep is 'eps=0,,1'; write a name and values"),
        (("--sweep", "eps=0,0.0"), "--sweep eps has 0.0 twice"),
        (("--sweep", "eps=0", "--sweep", "eps=1"), "--sweep eps is there twice"),
        (("--sweep", "eps=0,1", "--eps", 0.5), "--eps is given and swept (--sweep eps=0,1)"),
        (("--sweep", "lr=0.1", "--lr", 1), "--lr is given and swept"),
        (("--sweep", "eps=0", "--audit", "none"), "--audit none measures nothing"),
        (("--sweep", "eps=0", "--repeats", 2), "--repeats is for --audit roar, kar, diffroar"),
        (("--sweep", "eps=0", "--max-train", 9, "--audit", "roar"), "--max-train 9 is not for"),
        (("--sweep", "eps=0", "--audit", "kar", "--recipe", "x=1"), "--recipe is 'x=1'"),
        (("--sweep", "eps=0", "--audit", "kar"), "--recipe batch-size is 100 but there are 60"),
        (("--sweep", "loss=mse"), "unknown loss 'mse'"),
        (("--sweep-seeds", 2), "--sweep-seeds is for --sweep"),
        (("--audit", "roar"), "--audit roar trains networks anew, for --sweep"),
        (("--fractions", 0.5), "--fractions is for --sweep"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_trained(tiny, asked, line):
    ran = tiny("finetune", *PGD, *OF_DATA, *asked)
    assert ran.code == 2, ran.err
    assert line in ran.err
    assert ran.err.count("error:") == 1
    assert not Path("saliency-audit-report").exists()


def test_networks_anew_need_images_that_no_other_was_validated_on(tiny):
    options = [o for o in OF_DATA if o not in ("--val", "test")]
    ran = tiny("finetune", *PGD, *options, "--sweep", "eps=0,1", "--audit", "roar")
    assert ran.code == 2
    assert "give other images with --val" in ran.err


@pytest.mark.slow
def test_two_processes_find_what_one_does(tiny):
    asked = ["finetune", *PGD, *TINY, "--sweep", "eps=0,0.1,0.2", "--output-dir"]
    assert tiny(*asked, "one").code == 0
    ran = two_processes(*asked, "two")
    assert ran.returncode == 0, ran.stderr
    assert contents("two", *TABLES) == contents("one", *TABLES)
    for name in ("eps=0,seed=0", "eps=0.1,seed=0", "eps=0.2,seed=0"):
        files = (f"points/{name}/model.safetensors", f"points/{name}/results.csv")
        assert contents("two", *files) == contents("one", *files)
        # One process alone trained it.
        facts = json.loads(Path(f"two/points/{name}/run.json").read_text())
        assert facts["processes"] == 1
    listed = json.loads(Path("two/run.json").read_text())["files"]
    assert "points/eps=0.1,seed=0/results.csv" in listed
    assert ran.stdout.count("pgd, 3 trainings") == 1
    # What the first process refuses ends the other, too.
    ran = two_processes(*asked, "two", "--resume", "--max-steps", "2")
    assert ran.returncode != 0
    assert "cannot resume: max_steps was 3, now 2" in ran.stderr


def planted(options, seeds, checks):
    """A sweep that was never run: each check's mean by the values of a point.

    Args:
        options: values by name.
        seeds: of each point.
        checks: ``(values, seed) -> mean`` by check.
    """
    wanted = Grid(
        {
            name: Option(name, "text" if isinstance(values[0], str) else "fraction", range=POSITIVE)
            for name, values in options.items()
        },
        [
            Point(dict(zip(options, values, strict=True)), seed, Given())
            for values in product(*options.values())
            for seed in range(seeds)
        ],
        [],
    )
    rows = [
        {**point.values, "seed": point.seed, "check": check, "saliency": "", "setting": ""}
        | {"mean": mean(point.values, point.seed), "ci_low": nan, "ci_high": nan}
        | {"n": 8, "before": 0.9}
        for point in wanted.points
        for check, mean in checks.items()
    ]
    return pd.DataFrame(rows, columns=[*options, "seed", *KEY, *NUMBERS]), wanted


def said(table, wanted):
    found = correlations(table, wanted.numeric)
    return sentence(table, found, wanted, objective="pgd", failed={})


def test_what_rises_with_an_option_is_said_to():
    checks = {
        "accuracy": lambda of, seed: 0.9 - 0.1 * of["eps"] ** 3,
        "robust-accuracy": lambda of, seed: 0.2 + of["eps"] ** 2 / 10,
        "deletion": lambda of, seed: [0.5, 0.6, 0.5, 0.6, 0.5][int(2 * of["eps"])],
    }
    table, wanted = planted({"eps": [0.0, 0.5, 1.0, 1.5, 2.0]}, 1, checks)
    found = correlations(table, ["eps"]).set_index(["check", "against"])
    assert found.loc[("robust-accuracy", "eps"), "spearman"] == 1
    assert found.loc[("accuracy", "eps"), "spearman"] == -1
    assert found.loc[("robust-accuracy", "accuracy"), "spearman"] == -1
    assert 0.9 < found.loc[("robust-accuracy", "eps"), "pearson"] < 1
    assert set(found["n"]) == {5}
    assert said(table, wanted) == (
        "pgd, 5 trainings. As eps grows from 0 to 2, higher: robust-accuracy 0.200 to 0.600; "
        "lower: accuracy 0.900 to 0.100; no trend shown for deletion."
    )
    few, wanted = planted({"eps": [0.0, 1.0, 2.0]}, 1, checks)
    assert "5 trainings are the fewest that can show a trend" in said(few, wanted)


def test_correlations_are_over_points_and_seeds():
    rng = np.random.default_rng(0)
    noise = {(eps, seed): rng.normal() for eps in (0.0, 1.0, 2.0) for seed in range(4)}
    checks = {"accuracy": lambda of, seed: of["eps"] / 4 + noise[of["eps"], seed]}
    table, wanted = planted({"eps": [0.0, 1.0, 2.0], "norm": ["l2"]}, 4, checks)
    found = correlations(table, wanted.numeric)
    line = found.iloc[0]
    assert (len(found), line["n"]) == (1, 12)
    frame = pd.DataFrame([(eps, eps / 4 + value) for (eps, _), value in noise.items()])
    assert line["pearson"] == pytest.approx(frame.corr().iloc[0, 1])
    assert line["spearman"] == pytest.approx(frame.corr("spearman").iloc[0, 1])
    assert line["pearson_low"] < line["pearson"] < line["pearson_high"]


def test_what_one_point_alone_has_is_compared_with_nothing():
    table, _ = planted({"eps": [0.0, 1.0]}, 1, {"accuracy": lambda of, seed: 0.5})
    more = table.tail(1).assign(check="robust-accuracy", setting="eps=1;norm=l2")
    assert set(shared(pd.concat([table, more]))["check"]) == {"accuracy"}


def test_a_heat_table_has_the_means_over_seeds():
    table, wanted = planted(
        {"weight": [0.1, 0.01], "mu": [1e-3, 1e-4, 1e-5]},
        2,
        {"accuracy": lambda of, seed: of["weight"] + 1000 * of["mu"] + seed / 10},
    )
    heat = heat_table(table, ("accuracy", "", ""), wanted.numeric)
    assert list(heat.columns) == ["weight \\ mu", "1e-05", "0.0001", "0.001"]
    assert heat.rows == [["0.01", "0.070", "0.160", "1.06"], ["0.1", "0.160", "0.250", "1.15"]]


def test_the_table_of_points_fits_80_columns():
    checks = ("accuracy", "robust-accuracy", "deletion", "discriminative", "topk-intersection")
    means = {check: lambda of, seed: of["eps"] + seed for check in checks}
    table, wanted = planted({"eps": [0.0, 0.5], "norm": ["l2", "linf"]}, 2, means)
    shown = points_table(table, wanted)
    assert [plain(row[0]) for row in shown.rows] == ["before", "0", "0", "0.5", "0.5"]
    assert [plain(cell) for cell in shown.rows[-1]] == ["0.5", "linf", *["1.00"] * 5]
    assert all(sum(widths(part)) + len(part.columns) <= 80 for part in parts(shown, 79))
    # A point whose trainings all failed keeps its row.
    lost = points_table(table[table["norm"] == "l2"], wanted)
    assert [plain(cell) for cell in lost.rows[-1]] == ["0.5", "linf", *["failed"] * 5]


def test_two_numbers_have_a_picture_of_both(tmp_path):
    checks = {
        "accuracy": lambda of, seed: 0.9 - of["weight"],
        "gradient-norm-target": lambda of, seed: nan if of["weight"] else of["mu"],
    }
    table, wanted = planted({"weight": [0.0, 0.1], "mu": [1e-5, 1e-3]}, 1, checks)
    found = correlations(table, wanted.numeric)
    write_sweep_report(
        tmp_path,
        table=table,
        found=found,
        failed=pd.DataFrame(columns=["training", "why"]),
        wanted=wanted,
        objective="score-matching",
        sentence="It is so.",
        run={},
    )
    names = {path.name for path in tmp_path.glob("*.png")}
    assert names == {
        "against-weight.png",
        "against-mu.png",
        "against-accuracy.png",
        "heat-accuracy.png",
        "heat-gradient-norm-target.png",
    }
    assert "It is so." in (tmp_path / "report.html").read_text()
    assert len(pd.read_csv(tmp_path / "correlations.csv")) == len(found) == 5
