"""Attacks that follow no gradient, and what they tell of those that do."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from saliency_audit.assets import bundled_images, bundled_model
from saliency_audit.commands.attack.masked import moved_further
from saliency_audit.commands.attack.verdict import attack_sentence
from saliency_audit.data import from_tensors
from saliency_audit.errors import InputError
from saliency_audit.models import Classifier
from saliency_audit.types import COLUMNS
from tests.commands.attack.test_audit import EPS, NOISE, Step, bent, judged, run, values

EVOLUTION = {"rule": "evolution", "steps": 6, "population": 12}
FEW = ("--max-samples", 8, "--steps", 6, "--population", 10)


@pytest.fixture(scope="module")
def model():
    return Classifier(bundled_model(), input_shape=(1, 28, 28), name="fashion")


@pytest.fixture(scope="module")
def data():
    pixels, labels, _ = bundled_images("test")
    return from_tensors(
        torch.from_numpy(pixels[:8]).unsqueeze(1).float() / 255, torch.from_numpy(labels[:8])
    )


def word_of(rows, attack="topk"):
    verdicts = judged(rows)[1].set_index("attack")
    return verdicts.loc[attack]


def test_what_cannot_be_differentiated_is_attacked_and_says_by_what(model, data):
    rows = run(model, data, saliency=["guided-backprop"], measure=["gradcam"], search=EVOLUTION)
    setting = "attack=topk;eps=8/255;attacked=guided-backprop;search=evolution"
    left = values(rows, "topk-intersection", setting, "guided-backprop")
    assert left.mean() < values(rows, "topk-intersection", NOISE, "guided-backprop").mean() - 0.1
    assert values(rows, "linf-distance", setting, "").max() <= EPS + 1e-6
    assert (values(rows, "prediction-kept", setting, "") == 1).all()
    assert len(values(rows, "cosine", setting, "gradcam")) == 8
    # Neither stand-in nor gradients of the network: it followed none.
    assert not rows["check"].isin(["surrogate-agreement", "completeness"]).any()
    line = word_of(rows)
    assert (line["search"], line["verdict"]) != ("gradient", "steady")
    assert line["search"] == "evolution"
    assert line["reason"] == ""


def test_any_batch_size_gives_the_same_rows(model, data):
    images = torch.stack([data[i].image for i in range(4)])
    options = {"saliency": ["smoothgrad"], "measure": ["smoothgrad"], "options": {"samples": 2}}
    small = {"rule": "evolution", "steps": 3, "population": 6}
    whole, single = (
        run(model, from_tensors(images), batch_size=size, search=small, **options)
        for size in (32, 1)
    )
    key = ["image", "saliency", "scalar", "check", "setting"]
    both = whole.merge(single, on=key, suffixes=("", "_single"))
    both = both[both["setting"].str.contains("search=evolution")]
    assert len(both) == both["value_single"].notna().sum() > 40
    np.testing.assert_allclose(
        both["value"].astype(float), both["value_single"].astype(float), rtol=1e-3, atol=1e-5
    )


@pytest.mark.slow
def test_all_attacks_on_maps_and_controls_and_their_worst_case(model, data):
    rows = run(
        model, data, attacks=["topk", "mass-center", "target-region", "structured"],
        eps=[EPS], saliency=["gradcam", "sobel"], measure=["gradcam"], search=EVOLUTION,
    )  # fmt: skip
    verdicts = judged(rows)[1]
    assert set(verdicts["attack"]) == {
        "topk", "mass-center", "target-region", "structured", "worst-case",
    }  # fmt: skip
    assert set(verdicts["search"]) == {"evolution"}
    single = verdicts[verdicts["attack"] != "worst-case"]
    assert single["success"].notna().all()
    assert single["l2_mean"].notna().all()
    assert set(zip(verdicts["saliency"], verdicts["scalar"], strict=True)) == {
        ("gradcam", "logit"), ("sobel", ""),
    }  # fmt: skip
    assert (rows["check"] == "prediction-term").any()
    moved = (verdicts["attack"] == "topk") & (verdicts["saliency"] == "gradcam")
    assert set(verdicts.loc[moved, "verdict"]) <= {"fragile", "shifted"}


def test_the_two_searches_stand_side_by_side(model, data):
    rows = run(model, data, saliency=["gradcam"], measure=["gradcam"], attacks=["topk"],
               search={"steps": 6, "population": 10, "cross_check": True})  # fmt: skip
    setting = "attack=topk;eps=8/255;attacked=gradcam"
    by_gradient, by_evolution = (
        values(rows, "topk-intersection", one, "gradcam")
        for one in (setting, f"{setting};search=evolution")
    )
    summary, verdicts, _ = judged(rows)
    assert verdicts["attack"].tolist() == ["topk"]
    line = verdicts.iloc[0]
    assert (line["search"], line["verdict"], line["reason"]) == ("gradient", "fragile", "")
    assert line["similarity"] == pytest.approx(by_gradient.mean())
    assert line["evolution"] == pytest.approx(by_evolution.mean())
    crossed = summary[summary["setting"] == f"{setting};search=evolution"]
    assert crossed.loc[crossed["check"] == "topk-intersection", "control"].notna().all()
    assert (summary["setting"] == setting).any()
    images = values(rows, "completeness", "midpoints=16;way=contrast", "", "")
    assert (images < 0.5).all()


class Astray(nn.Module):
    """A network whose maps have a derivative that tells nothing of how they change."""

    def __init__(self):
        super().__init__()
        self.honest = bent(Step.apply).network
        torch.manual_seed(0)
        self.faint = nn.Sequential(
            nn.Flatten(), nn.Linear(784, 16), nn.Softplus(), nn.Linear(16, 10)
        )

    def forward(self, images):
        return self.honest(images) + 0.1 * self.faint(images)


def test_steady_is_undefined_where_evolution_finds_more(data):
    model = Classifier(Astray(), input_shape=(1, 28, 28))
    alone = run(model, data, search={"steps": 6})
    assert word_of(alone)["verdict"] == "steady"
    rows = run(model, data, search={"steps": 6, "population": 16, "cross_check": True})
    line = word_of(rows)
    assert line["evolution"] < line["similarity"]
    assert line["verdict"] == "undefined"
    assert line["reason"] == "gradients masked (evolution moves the map further)"


class Rounded(nn.Module):
    """The predictions of a network that no gradient sees, and a picture that it sees."""

    def __init__(self, network, faint=1e-9):
        super().__init__()
        self.network = network
        self.faint = faint

    def forward(self, images):
        logits = (self.network(images) * 1e3).round() / 1e3
        picture = images[:, :, : images.shape[2] // 2].square().flatten(1).sum(1, keepdim=True)
        signs = torch.ones(logits.shape[1]) - 2 * (torch.arange(logits.shape[1]) % 2)
        return logits + self.faint * signs * picture


@pytest.mark.parametrize("search", [{}, {"cross_check": True, "population": 8}])
def test_steady_is_undefined_where_gradients_do_not_add_up(search, data):
    twin = Classifier(Rounded(bundled_model()), input_shape=(1, 28, 28))
    rows = run(twin, data, attacks=["topk", "mass-center"], search={"steps": 3, **search})
    assert np.nanmean(values(rows, "completeness", "midpoints=16;way=contrast", "", "")) > 0.9
    verdicts = judged(rows)[1]
    steady = verdicts[verdicts["reason"] != ""]
    assert len(steady)
    assert set(steady["verdict"]) == {"undefined"}
    assert "steady" not in set(verdicts["verdict"])
    assert (
        steady["reason"]
        .str.fullmatch(r"gradients masked \(completeness (1\.0\d|0\.9\d\d), over one half\)")
        .all()
    )
    # What was found is found, whatever the gradients are worth.
    moved = rows["check"].eq("topk-intersection") & rows["setting"].str.startswith("attack=topk")
    rows.loc[moved, "value"] = 0.0
    assert word_of(rows)["verdict"] == "fragile"
    assert word_of(rows)["reason"] == ""
    # As was what the other attack did not find.
    assert word_of(rows, "worst-case")["verdict"] in ("fragile", "undefined")


def test_a_class_that_stayed_without_a_gradient_is_told_of(data):
    options = {"attacks": ["pgd"], "search": {"steps": 2}}
    twin = Classifier(Rounded(bundled_model()), input_shape=(1, 28, 28))
    for model, told in ((twin, True), (bent(torch.relu), False)):
        _, verdicts, predictions = judged(run(model, data, **options))
        sentence = attack_sentence(verdicts, predictions, images=8)
        assert ("shows nothing: gradients masked (completeness" in sentence) is told


def test_a_gradient_without_a_value_is_no_gradient(data):
    twin = Classifier(Rounded(bundled_model()), input_shape=(1, 28, 28))
    rows = run(twin, data, search={"steps": 2})
    complete = rows["check"].str.startswith("completeness")
    rows.loc[complete, ["value", "status"]] = np.nan, "undefined"
    assert word_of(rows)["reason"].startswith("gradients masked (completeness without a value")


@pytest.mark.parametrize(
    ("shift", "more"), [(-0.1, True), (0.0, False), (0.1, False), (float("nan"), False)]
)
def test_more_is_more_on_the_same_images(shift, more):
    rng = np.random.default_rng(0)
    found = rng.random(20)
    rows = [
        (str(i), 0, 0, "net", "gradient", "logit", "topk-intersection", name, value, "ok")
        for name, of in (("b", found + shift), ("a", found))
        for i, value in enumerate(of + 0.001 * rng.standard_normal(20))
    ]
    frame = pd.DataFrame(rows, columns=list(COLUMNS))
    assert moved_further(frame, by="b", than="a", higher=False) is more
    assert moved_further(frame, by="b", than="a", higher=True) is (shift > 0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"attacks": ["pgd"], "search": {"rule": "evolution"}}, "attacks on maps"),
        ({"search": {"rule": "evolution", "cross_check": True}}, "--cross-check"),
        ({"search": {"population": 5}}, "--population is for --search evolution"),
        ({"search": {"std": 0.1}}, "--evolution-std is for --search evolution"),
        ({"search": {"rule": "evolution", "population": 1}}, "--population"),
        ({"search": {"rule": "evolution", "std": 0.0}}, "--std"),
    ],
)
def test_wrong_input_is_named(model, data, options, message):
    with pytest.raises(InputError, match=message):
        run(model, data, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--population", 5], "--population is for --search evolution, not gradient"),
        (["--search", "evolution", "--momentum", 1], "--momentum is for --search gradient"),
        (["--search", "evolution", "--surrogate", "none"], "--surrogate is for --search gradient"),
        (["--search", "evolution", "--cross-check"], "--cross-check"),
        (["--search", "evolution", "--attack", "pgd"], "leave one of them"),
        (["--cross-check", "--attack", "pgd"], "--cross-check is for --attack"),
        (["--cross-check", "--population", 1], "at least 2"),
        (["--search", "evolution", "--evolution-std", 0], "more than 0"),
        (["--saliency", "lrp"], "add --search evolution"),
        (["--saliency", "lrp", "--cross-check"], "add --search evolution"),
        (["--explain", "mine.py:maps"], "add --search evolution"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(run, options, message):
    ran = run("attack", "--max-samples", 2, *options)
    assert ran.code == 2, ran.err
    assert message in ran.err.strip().splitlines()[-1]
    assert not Path("saliency-audit-report").exists()


def test_torchscript_is_attacked_by_evolution(run):
    torch.jit.script(bundled_model()).save("model.pt")
    given = ("attack", "model.pt", "--channels", 1, *FEW[:2], "--saliency", "gradient")
    refused = run(*given)
    assert refused.code == 2
    assert "add --search evolution" in refused.err
    ran = run(*given, "--measure", "gradient", "--search", "evolution", *FEW)
    assert ran.code == 0, ran.err
    assert "by evolution" in ran.out
    verdicts = pd.read_csv("saliency-audit-report/attack/verdicts.csv")
    assert verdicts["search"].tolist() == ["evolution"]
    assert verdicts["similarity"].iloc[0] < verdicts["control"].iloc[0]
    assert len(list(Path("saliency-audit-report/attack/images").glob("*evolution*.png"))) == 8
    assert "by evolution" in Path("saliency-audit-report/attack/report.html").read_text()


def test_a_function_of_ones_own_is_attacked(run):
    Path("mine.py").write_text(
        "import numpy as np\n"
        "def maps(model, inputs, targets):\n"
        "    return np.abs(np.gradient(np.asarray(inputs), axis=3))\n"
    )
    ran = run(
        "attack",
        "--explain",
        "mine.py:maps",
        "--search",
        "evolution",
        "--measure",
        "gradient",
        *FEW,
    )
    assert ran.code == 0, ran.err
    verdicts = pd.read_csv("saliency-audit-report/attack/verdicts.csv")
    assert verdicts["saliency"].tolist() == ["explain:maps"]
    assert verdicts["similarity"].iloc[0] < verdicts["control"].iloc[0]


@pytest.mark.slow
def test_the_same_seed_writes_the_same_bytes(run):
    few = ("attack", "--search", "evolution", "--saliency", "gradcam", "--measure", "gradcam",
           "--max-samples", 8, "--batch-size", 2, "--steps", 2, "--population", 4)  # fmt: skip
    assert run(*few, "--output-dir", "whole").code == 0
    assert run(*few, "--output-dir", "again").code == 0
    for file in ("results.csv", "verdicts.csv", "images/manifest.csv"):
        assert Path("again", file).read_bytes() == Path("whole", file).read_bytes()
