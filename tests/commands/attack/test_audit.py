"""The whole attack audit from Python: the user's own module and tensors, rows out."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torch import nn

from saliency_audit import audits
from saliency_audit.assets import bundled_images, bundled_model
from saliency_audit.catalogue.attacks import ATTACKS
from saliency_audit.commands.attack.jobs import Job, control_of
from saliency_audit.commands.attack.targets import Targets, least_salient_quarter
from saliency_audit.data import from_tensors
from saliency_audit.errors import InputError, UnsupportedError
from saliency_audit.methods.gradient import gradient
from saliency_audit.metrics import CHECKS
from saliency_audit.models import Classifier
from saliency_audit.stats.summary import summarise
from saliency_audit.types import COLUMNS

EPS = 8 / 255
ATTACKED = "attack=topk;eps=8/255;attacked=gradient"
NOISE = "attack=random;eps=8/255"
MAP_CHECKS = {
    "topk-intersection", "spearman", "spearman-abs", "pearson", "ssim", "cosine", "mse",
    "mass-center-shift", "retrieval-clean-clean", "retrieval-clean-attacked",
    "retrieval-attacked-clean", "retrieval-attacked-attacked",
}  # fmt: skip
IMAGE_CHECKS = {"prediction-kept", "confidence-change", "l2-distance", "linf-distance"}


@pytest.fixture(scope="module")
def model():
    # Twice the deviation and half the first weights: the same network with units of its own.
    network = bundled_model()
    network.features[0].weight.data *= 0.5
    return Classifier(network, input_shape=(1, 28, 28), std=0.5, name="fashion")


@pytest.fixture(scope="module")
def data():
    pixels, labels, _ = bundled_images("test")
    return from_tensors(
        torch.from_numpy(pixels[:8]).unsqueeze(1).float() / 255, torch.from_numpy(labels[:8])
    )


def run(model, data, **options):
    defaults = {"saliency": ["gradient"], "measure": ["gradient"], "search": {"steps": 8}}
    return audits.table(audits.attack(model, data, **(defaults | options)))


def judged(rows):
    summary = summarise(
        rows,
        higher_is_better={name: check.higher_is_better for name, check in CHECKS.items()},
        chance=audits.attack_chances(k=16, pixels=784, classes=10),
        controls=audits.attack_controls(rows),
    )
    return summary, audits.attack_verdicts(summary, rows), audits.attack_predictions(summary, rows)


def values(rows, check, setting, saliency="gradient", scalar="logit"):
    found = rows[
        (rows["check"] == check)
        & (rows["setting"] == setting)
        & (rows["saliency"] == saliency)
        & (rows["scalar"] == scalar)
    ]
    assert len(found), (check, setting)
    return found["value"].astype(float).to_numpy()


@pytest.fixture(scope="module")
def rows(model, data):
    return run(model, data, measure=["gradient", "gradcam", "occlusion", "sobel"])


def test_the_map_is_moved_and_noise_does_not_move_it(rows):
    assert tuple(rows.columns) == COLUMNS
    summary, verdicts, _ = judged(rows)
    line = verdicts.iloc[0]
    assert (line["attack"], line["eps"], line["saliency"]) == ("topk", "8/255", "gradient")
    assert line["verdict"] == "fragile"
    assert line["similarity"] < 0.1 < 0.2 < line["control"]
    assert line["chance"] == pytest.approx(16 / 784)
    assert line["success"] == 1
    assert (values(rows, "prediction-kept", ATTACKED, "") == 1).all()
    of_maps = summary[(summary["setting"] == ATTACKED) & (summary["saliency"] == "gradient")]
    assert set(of_maps["check"]) == MAP_CHECKS
    assert of_maps["control"].notna().all()
    of_images = summary[(summary["setting"] == ATTACKED) & (summary["saliency"] == "")]
    assert set(of_images["check"]) == IMAGE_CHECKS | {"attack-success"}
    assert of_images.loc[of_images["check"] == "l2-distance", "control"].notna().all()


def test_every_measured_method_stands_under_every_attack(rows):
    for name, scalar in (("gradcam", "logit"), ("occlusion", "logit"), ("sobel", "")):
        for setting in (ATTACKED, NOISE):
            assert len(values(rows, "cosine", setting, name, scalar)) == 8


def test_the_budget_holds_and_distances_are_in_both_units(rows):
    assert values(rows, "linf-distance", ATTACKED, "").max() <= EPS + 1e-6
    pixel = values(rows, "l2-distance", ATTACKED, "")
    model_space = values(rows, "l2-distance", ATTACKED + ";space=model", "")
    np.testing.assert_allclose(model_space, pixel / 0.5, rtol=1e-5)
    noise = values(rows, "linf-distance", NOISE, "", "")
    np.testing.assert_allclose(noise, EPS, rtol=1e-5)


def test_what_is_stated_is_what_the_files_show(model, data, tmp_path):
    rows = run(model, data, folder=tmp_path)
    clean = torch.stack([data[i].image for i in range(8)])
    names = [data[i].name for i in range(8)]
    paths = [tmp_path / "images" / audits.file_of(name, ATTACKED, "logit") for name in names]
    read = torch.stack(
        [torch.from_numpy(np.asarray(Image.open(path)) / 255).float()[None] for path in paths]
    )
    with model.audited():
        classes = model(clean).argmax(1)
        assert torch.equal(model(read).argmax(1), classes)
        before, after = (gradient(model, images, classes) for images in (clean, read))
    shared = []
    for one, other in zip(before.abs().flatten(1), after.abs().flatten(1), strict=True):
        both = set(one.topk(16).indices.tolist()) & set(other.topk(16).indices.tolist())
        shared.append(len(both) / 16)
    np.testing.assert_allclose(values(rows, "topk-intersection", ATTACKED), shared, atol=1e-9)
    expected = (read - clean).flatten(1).norm(dim=1)
    np.testing.assert_allclose(values(rows, "l2-distance", ATTACKED, ""), expected, rtol=1e-5)


def test_any_batch_size_and_any_neighbours_give_the_same_numbers(model, data):
    whole, single = (run(model, data, batch_size=size) for size in (32, 1))
    key = ["image", "saliency", "scalar", "check", "setting"]
    both = whole.merge(single, on=key, suffixes=("", "_single"))
    assert len(both) == len(whole) == len(single)
    of_noise = both[both["setting"].str.startswith("attack=random")]
    np.testing.assert_allclose(
        of_noise["value"].astype(float), of_noise["value_single"].astype(float), atol=1e-3
    )
    # A sign can tip where a gradient is within round-off of zero; numbers hardly notice.
    similar = both[both["check"] == "spearman-abs"]
    gap = (similar["value"] - similar["value_single"]).astype(float).abs()
    assert gap.max() < 0.05


@pytest.mark.slow
def test_the_same_seed_gives_the_same_rows(model, data):
    options = {"saliency": ["smoothgrad"], "measure": ["smoothgrad"], "options": {"samples": 3}}
    one, other = (run(model, data, seed=3, search={"steps": 3}, **options) for _ in range(2))
    pd.testing.assert_frame_equal(one, other)
    third = run(model, data, seed=4, search={"steps": 3}, **options)
    assert not one["value"].equals(third["value"])


def test_worst_case_is_the_worst_attack_of_each_image(model, data):
    rows = run(model, data, attacks=["topk", "mass-center", "target-region"])
    settings = [
        f"attack={n};eps=8/255;attacked=gradient" for n in ("topk", "mass-center", "target-region")
    ]
    each = np.stack([values(rows, "topk-intersection", setting) for setting in settings])
    worst = values(rows, "topk-intersection", "attack=worst-case;eps=8/255;attacked=gradient")
    np.testing.assert_array_equal(worst, each.min(0))
    _, verdicts, _ = judged(rows)
    line = verdicts.set_index("attack").loc["worst-case"]
    noise = values(rows, "topk-intersection", "attack=random-worst;eps=8/255")
    assert line["control"] == pytest.approx(noise.mean())
    assert noise.mean() <= values(rows, "topk-intersection", NOISE).mean()


@pytest.mark.slow
def test_mass_center_and_target_region_beat_noise(model, data):
    rows = run(model, data, attacks=["mass-center", "target-region"], search={"steps": 20})
    shift = values(rows, "mass-center-shift", "attack=mass-center;eps=8/255;attacked=gradient")
    assert shift.mean() > 2 * values(rows, "mass-center-shift", NOISE).mean()
    summary, _, _ = judged(rows)
    line = summary[
        (summary["check"] == "mass-in-target")
        & summary["setting"].str.startswith("attack=target-region")
    ].iloc[0]
    assert line["ci_low"] > line["control"]
    _, verdicts, _ = judged(rows)
    assert set(verdicts["verdict"]) <= {"fragile", "shifted"}
    before = values(rows, "mass-in-target", "attack=none;toward=target-region")
    assert line["mean"] > 1.5 * before.mean()


@pytest.mark.slow
def test_structured_comes_near_the_map_of_another_image(model, data):
    rows = run(model, data, attacks=["structured"], search={"steps": 60})
    setting = "attack=structured;eps=none;attacked=gradient"
    before = values(rows, "pearson-to-target", "attack=none;toward=structured")
    after = values(rows, "pearson-to-target", setting)
    noise = values(
        rows, "pearson-to-target", "attack=random;eps=none;attacked=gradient;toward=structured"
    )
    assert after.mean() > 0.4 > noise.mean()
    assert (after > before).all()
    # Noise beside it went as far.
    ours = values(rows, "l2-distance", setting, "")
    theirs = values(rows, "l2-distance", "attack=random;eps=none;attacked=gradient", "")
    np.testing.assert_allclose(theirs, ours, rtol=0.02)
    first, last = (values(rows, "map-term", f"{setting};step={step}", "") for step in (0, 54))
    assert (last < first).all()
    assert values(rows, "prediction-term", f"{setting};step=54", "").max() > 0
    _, verdicts, _ = judged(rows)
    line = verdicts.iloc[0]
    assert line["aim"] == pytest.approx(after.mean())
    assert line["aim_control"] == pytest.approx(noise.mean())
    assert line["verdict"] in ("fragile", "shifted")


@pytest.mark.slow
def test_structured_within_a_budget_and_towards_a_picture(model, data):
    picture = torch.zeros(28, 28)
    picture[4:10, 4:24] = 1
    rows = run(
        model, data, attacks=["structured", "target-region"], eps=[16 / 255], target_map=picture,
        search={"steps": 30, "rule": "sign"},
    )  # fmt: skip
    setting = "attack=structured;eps=16/255;attacked=gradient"
    assert values(rows, "linf-distance", setting, "").max() <= 16 / 255 + 1e-6
    after = values(rows, "pearson-to-target", setting)
    assert (after > values(rows, "pearson-to-target", "attack=none;toward=structured")).all()
    region = values(rows, "mass-in-target", "attack=target-region;eps=16/255;attacked=gradient")
    assert (region > values(rows, "mass-in-target", "attack=none;toward=target-region")).all()


def test_pgd_changes_classes_and_noise_does_not(model, data):
    rows = run(model, data, attacks=["pgd"], eps=[EPS, 0.3], search={"steps": 10})
    _, verdicts, predictions = judged(rows)
    assert verdicts.empty
    large = predictions.set_index("eps").loc["0.3"]
    assert large["success"] == 1
    assert large["control"] < 1
    kept = values(rows, "prediction-kept", "attack=pgd;eps=0.3", "", "")
    success = values(rows, "attack-success", "attack=pgd;eps=0.3", "", "")
    np.testing.assert_array_equal(kept, 1 - success)


def test_no_budget_leaves_every_map_as_it_was(model, data):
    rows = run(model, data, eps=[0.0])
    setting = "attack=topk;eps=0;attacked=gradient"
    assert (values(rows, "topk-intersection", setting) == 1).all()
    assert (values(rows, "attack-success", setting, "") == 0).all()
    _, verdicts, _ = judged(rows)
    assert verdicts["verdict"].tolist() == ["undefined"]


def test_maps_that_say_nothing_are_undefined(data):
    class Constant(nn.Module):
        def forward(self, images):
            return images.new_tensor([1.0, 0.0]).expand(len(images), 2) + 0 * images.sum()

    rows = run(Classifier(Constant(), input_shape=(1, 28, 28)), data)
    _, verdicts, _ = judged(rows)
    assert verdicts["verdict"].tolist() == ["undefined"]
    assert set(rows.loc[rows["check"] == "cosine", "status"]) == {"undefined"}


def test_what_a_stand_in_is_worth_is_measured(rows):
    agreement = values(rows, "surrogate-agreement", "surrogate=exact-forward;beta=30")
    assert len(agreement) == 8
    assert (agreement > 0.2).all()


def test_examples_are_the_worst_images(model, data):
    (batch,) = audits.attack(model, data, saliency=["gradient"], measure=["gradient"],
                             search={"steps": 8})  # fmt: skip
    rows = audits.table([batch])
    kept = rows[(rows["check"] == "topk-intersection") & (rows["setting"] == ATTACKED)]
    roles = {example.role for example in batch.examples}
    assert roles == {"image", "attacked", "before", "after"}
    drawn = {example.image for example in batch.examples if example.role == "attacked"}
    worst = kept.sort_values("value", kind="stable")["image"].iloc[0]
    assert worst in drawn


def test_what_cannot_be_attacked_is_refused_in_one_line(model, data):
    with pytest.raises(UnsupportedError, match="--measure deeplift"):
        run(model, data, saliency=["deeplift"])
    scripted = Classifier(
        torch.jit.script(bundled_model()), input_shape=(1, 28, 28), format="torchscript"
    )
    with pytest.raises(UnsupportedError, match="--attack pgd works") as refusal:
        run(scripted, data)
    assert "\n" not in str(refusal.value)
    assert len(run(scripted, data, attacks=["pgd"], search={"steps": 2}))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"attacks": ["topkk"]}, "topk"),
        ({"saliency": ["gradients"]}, "gradient"),
        ({"eps": [-1.0]}, "eps is -1"),
        ({"eps": [0.001]}, "1/255"),
        ({"attacks": ["structured"], "search": {"restarts": 2}}, "--restarts"),
        ({"norm": "l2"}, "give eps, such as 2"),
        ({"norm": "l1"}, "l1"),
        ({"k": 0.0}, "k"),
        ({"k": 1000}, "784"),
        ({"search": {"steps": 0}}, "--steps"),
        ({"search": {"beta": -1.0}}, "--beta"),
        ({"search": {"smooth": "softmax"}}, "softplus"),
        ({"attacks": ["structured"], "search": {"momentum": 1.0}}, "momentum"),
        ({"attacks": ["pgd"], "search": {"rule": "adam"}}, "pgd"),
    ],
)
def test_wrong_input_is_named(model, data, options, message):
    with pytest.raises(InputError, match=message):
        run(model, data, **options)


def test_structured_needs_another_image_or_a_picture(model, data):
    alone = from_tensors(data[0].image[None])
    with pytest.raises(InputError, match="--target-map"):
        run(model, alone, attacks=["structured"])


def test_images_off_the_grid_are_brought_to_it(model):
    images = torch.rand(3, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    rows = run(model, from_tensors(images), search={"steps": 2})
    assert values(rows, "linf-distance", ATTACKED, "").max() <= EPS + 1e-6


def test_bfloat16_is_attacked_in_full_precision_and_the_model_is_left_as_it_was(data):
    model = Classifier(bundled_model(), input_shape=(1, 28, 28), precision="bf16")
    model.train().requires_grad_(True)
    rows = run(model, data, search={"steps": 4})
    assert values(rows, "topk-intersection", ATTACKED).mean() < 0.9
    assert all(module.training for module in model.modules())
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_noise_that_changes_the_class_is_no_control():
    class Brittle(nn.Module):
        """Any change of the image changes the class; the map is that of a smooth network."""

        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.body = nn.Sequential(
                nn.Conv2d(1, 4, 5), nn.Softplus(), nn.Flatten(), nn.Linear(4 * 576, 2)
            )

        def forward(self, images):
            off = (images * 255 - 128).abs().flatten(1).amax(1) > 0.5
            return self.body(images) + 1e4 * torch.stack([~off, off], dim=1).to(images.dtype)

    images = torch.full((3, 1, 28, 28), 128 / 255)
    rows = run(
        Classifier(Brittle(), input_shape=(1, 28, 28)), from_tensors(images), search={"steps": 2}
    )
    assert np.isnan(values(rows, "topk-intersection", NOISE)).all()
    assert (values(rows, "prediction-kept", NOISE, "", "") == 0).all()
    _, verdicts, _ = judged(rows)
    assert verdicts["verdict"].tolist() == ["undefined"]


def test_a_region_that_is_everything_is_refused(model, data):
    bright = torch.ones(28, 28)
    bright[0, 0] = 0
    with pytest.raises(InputError, match="--target-map"):
        run(model, data, attacks=["target-region"], target_map=bright)


def test_several_scalars_each_have_their_noise(model, data):
    rows = run(model, data, scalars=["logit", "log-prob"], search={"steps": 3})
    _, verdicts, _ = judged(rows)
    assert verdicts["scalar"].tolist() == ["logit", "log-prob"]
    assert verdicts["control"].notna().all()


def test_budgets_that_are_written_alike_are_one(model, data):
    rows = run(model, data, eps=[EPS, EPS], search={"steps": 2})
    assert len(values(rows, "cosine", ATTACKED)) == 8


def test_a_method_that_refuses_the_network_is_left_out_of_all(data):
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.SiLU(), nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(64, 3)
    )
    told = []
    rows = run(
        Classifier(network, input_shape=(1, 28, 28)), data, saliency=["all"], tell=told.append,
        measure=["gradient"], search={"steps": 1}, options={"samples": 2, "steps": 2},
    )  # fmt: skip
    assert any("fullgrad is not attacked" in line for line in told)
    assert rows["setting"].str.contains("attacked=gradient").any()


def test_with_the_prediction_attacked_only_what_is_asked_for_is_measured(model, data):
    rows = run(
        model, data, attacks=["pgd"], saliency=["gradcam"], measure=None, search={"steps": 2}
    )
    assert set(rows["saliency"]) == {"", "gradcam"}


def test_images_without_a_label_have_no_attack_on_it(model):
    images = torch.rand(3, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    rows = run(model, from_tensors(images), target="label", search={"steps": 1})
    assert set(rows.loc[rows["check"] == "attack-success", "status"]) == {"undefined"}


def test_noise_alone_is_measured(model, data):
    rows = run(model, data, attacks=["random"], eps=[EPS, 2 / 255])
    large, small = (
        values(rows, "topk-intersection", f"attack=random;eps={eps}").mean()
        for eps in ("8/255", "2/255")
    )
    assert large < small < 1
    assert not rows["setting"].str.contains("topk").any()


def test_structured_wants_the_map_of_the_first_image_and_of_the_second_for_that(model, data):
    images, names = torch.stack([data[i][2] for i in range(3)]), ["a", "b", "c"]
    maps = gradient(model, images, model(images).argmax(1), scalar="logit").abs().sum(1)
    first, second, _ = maps / maps.sum((1, 2), keepdim=True)
    targets = Targets(None, images[:2], names[:2], model, seed=0, batch_size=2, options={})
    job = Job("structured", None, "linf", "gradient", "logit")
    found = targets(job, maps, names)
    torch.testing.assert_close(found, torch.stack([second, first, first]))
    assert "first image" in ATTACKS["structured"].summary


def test_the_least_salient_quarter():
    clean = torch.ones(1, 6, 8)
    clean[0, 3:, 4:] = 0
    region = least_salient_quarter(clean)
    assert region[0, 3:, 4:].eq(1).all()
    assert float(region.sum()) == 12


def summarised(lines):
    """A summary of the gradient map: (check, setting) to mean, low, high, undefined images."""
    rows = [
        {
            "model": "m", "saliency": "gradient", "scalar": "logit", "check": check,
            "setting": where, "mean": mean, "ci_low": low, "ci_high": high, "n": 9,
            "n_undefined": undefined, "chance": 0.02,
        }
        for (check, where), (mean, low, high, undefined) in lines.items()
    ]  # fmt: skip
    empty = pd.DataFrame(columns=COLUMNS)
    (word,) = audits.attack_verdicts(pd.DataFrame(rows), empty)["verdict"]
    return word


@pytest.mark.parametrize(
    ("attacked", "noise", "word"),
    [
        ((0.1, 0.0, 0.2, 0), (0.5, 0.4, 0.6, 0), "fragile"),
        ((0.3, 0.2, 0.35, 0), (0.5, 0.4, 0.6, 0), "shifted"),
        ((0.1, 0.0, 0.45, 0), (0.5, 0.4, 0.6, 0), "steady"),
        ((0.6, 0.5, 0.7, 0), (0.5, 0.4, 0.6, 0), "steady"),
        ((0.6, 0.5, 0.7, 3), (0.5, 0.4, 0.6, 0), "undefined"),
        ((0.1, float("nan"), float("nan"), 0), (0.5, 0.4, 0.6, 0), "undefined"),
        ((float("nan"),) * 3 + (9,), (float("nan"),) * 3 + (9,), "undefined"),
    ],
)
def test_the_words_follow_their_definition(attacked, noise, word):
    lines = {("topk-intersection", ATTACKED): attacked, ("topk-intersection", NOISE): noise}
    assert summarised(lines) == word


@pytest.mark.parametrize(
    ("target", "noise", "word"),
    [
        ((0.8, 0.7, 0.9, 0), (0.2, 0.1, 0.3, 0), "fragile"),
        ((0.5, 0.4, 0.55, 0), (0.2, 0.1, 0.3, 0), "shifted"),
        ((0.2, 0.1, 0.4, 0), (0.2, 0.1, 0.3, 0), "steady"),
    ],
)
def test_an_attack_that_reaches_what_it_wants_is_not_steady(target, noise, word):
    setting = "attack=structured;eps=8/255;attacked=gradient"
    beside = "attack=random;eps=8/255;toward=structured"
    lines = {
        ("topk-intersection", setting): (0.5, 0.4, 0.6, 0),
        ("topk-intersection", NOISE): (0.5, 0.4, 0.6, 0),
        ("pearson-to-target", setting): target,
        ("pearson-to-target", beside): noise,
    }
    assert summarised(lines) == word


def test_a_centre_of_mass_that_moved_further_than_by_noise_is_shifted():
    setting = "attack=mass-center;eps=8/255;attacked=gradient"
    same = {
        ("topk-intersection", setting): (0.5, 0.4, 0.6, 0),
        ("topk-intersection", NOISE): (0.5, 0.4, 0.6, 0),
        ("mass-center-shift", NOISE): (2.0, 1.0, 3.0, 0),
    }
    for moved, word in ((9.0, "shifted"), (3.9, "shifted"), (2.5, "steady")):
        ends = (moved, moved - 0.5, moved + 0.5, 0)
        assert summarised(same | {("mass-center-shift", setting): ends}) == word


def test_nothing_is_the_control_of_a_control():
    assert control_of("cosine", NOISE) is None
    assert control_of("map-term", f"{ATTACKED};step=3") is None
    assert (
        control_of("l2-distance", f"{ATTACKED};space=model")
        == "attack=random;eps=8/255;space=model"
    )


def test_files_of_different_images_have_different_names():
    names = ["a/1.png", "b/1.png", "ü/1.png", "x" * 300 + ".png"]
    files = {audits.file_of(name, ATTACKED, "logit") for name in names}
    assert len(files) == 4
    assert all(len(file) < 120 and Path(file).name == file for file in files)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no NVIDIA GPU")
@pytest.mark.parametrize("method", ["gradient", "smoothgrad", "gradcam"])
def test_a_gpu_moves_the_map_as_far(data, method):
    similar = []
    for device in ("cpu", "cuda"):
        model = Classifier(bundled_model(), input_shape=(1, 28, 28)).to(device)
        rows = run(
            model, data, saliency=[method], measure=[method], options={"samples": 8}, batch_size=12
        )
        setting = f"attack=topk;eps=8/255;attacked={method}"
        similar.append(values(rows, "topk-intersection", setting, method).mean())
    assert similar[1] == pytest.approx(similar[0], abs=0.2)


class Step(torch.autograd.Function):
    """ReLU with a derivative of its own, which nothing is put in for."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return torch.where(x > 0, x, torch.zeros_like(x))

    @staticmethod
    def backward(ctx, gradient):
        return gradient * (ctx.saved_tensors[0] > 0)


class Bends(nn.Module):
    def __init__(self, bend):
        super().__init__()
        self.bend = bend

    def forward(self, x):
        return self.bend(x)


def bent(bend):
    """The bundled network with another way to write its activations."""
    network = bundled_model()
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.ReLU):
                setattr(parent, name, Bends(bend))
    return Classifier(network, input_shape=(1, 28, 28))


@pytest.mark.parametrize(
    "bend",
    [
        lambda x: x.clamp(min=0),
        lambda x: torch.maximum(x, torch.zeros_like(x)),
        lambda x: x * (x > 0),
    ],
)
def test_how_a_relu_is_written_does_not_change_the_verdict(bend, data):
    lines = [judged(run(m, data))[1].iloc[0] for m in (bent(torch.relu), bent(bend))]
    assert [line["verdict"] for line in lines] == ["fragile", "fragile"]
    assert lines[0]["similarity"] == pytest.approx(lines[1]["similarity"], abs=0.05)


@pytest.mark.parametrize("search", [{}, {"smooth": "none"}])
def test_a_map_that_no_attack_can_follow_is_not_steady(search, data):
    told = []
    model = bent(Step.apply if not search else torch.relu)
    rows = run(model, data, search={"steps": 4, **search}, tell=told.append)
    summary, verdicts, _ = judged(rows)
    assert verdicts.iloc[0]["verdict"] == "undefined"
    assert sum("no attack can follow" in line for line in told) == 1
    agreement = summary[summary["check"] == "surrogate-agreement"]
    assert agreement["n"].tolist() == [0]
    assert agreement["n_undefined"].tolist() == [8]
    # What was found all the same is found.
    moved = rows["check"].eq("topk-intersection") & rows["setting"].eq(ATTACKED)
    rows.loc[moved, "value"] = 0.0
    assert judged(rows)[1].iloc[0]["verdict"] == "fragile"
