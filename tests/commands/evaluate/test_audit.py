"""The whole audit from Python: what is measured, beside what, and what goes wrong."""

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from saliency_audit import audits
from saliency_audit.catalogue.entries import SaliencyMethod
from saliency_audit.commands.evaluate.verdict import BETTER, SAME, UNDEFINED, WORSE
from saliency_audit.data import from_tensors
from saliency_audit.errors import InputError, UnsupportedError
from saliency_audit.metrics import CHECKS, METRICS
from saliency_audit.models import Classifier
from saliency_audit.stats.paired import differences
from saliency_audit.stats.summary import summarise
from saliency_audit.types import COLUMNS

CHEAP = {"samples": 4, "steps": 4}


class Corners(nn.Module):
    """Class k is the brightness of corner k, over all else."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(144, 4)
        weight = torch.zeros(4, 12, 12)
        for k in range(4):
            weight[k, 8 * (k // 2) : 8 * (k // 2) + 4, 8 * (k % 2) : 8 * (k % 2) + 4] = 1
        self.layer.weight.data = weight.flatten(1)
        self.layer.bias.data.zero_()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.layer(images.mean(1).flatten(1))


@pytest.fixture
def model() -> Classifier:
    return Classifier(Corners(), input_shape=(3, 12, 12), name="corners")


@pytest.fixture
def data():
    generator = torch.Generator().manual_seed(1)
    images = torch.rand(10, 3, 12, 12, generator=generator) * 0.3
    labels = torch.arange(10) % 4
    for image, k in zip(images, labels.tolist(), strict=True):
        image[:, 8 * (k // 2) : 8 * (k // 2) + 4, 8 * (k % 2) : 8 * (k % 2) + 4] += 0.6
    return from_tensors(images, labels)


def rows(model, data, **options):
    options = {"saliency": ["gradient"], "options": CHEAP} | options
    return audits.table(audits.evaluate(model, data, **options))


def verdicts_of(frame, classes=4):
    summary = summarise(
        frame,
        higher_is_better={name: check.higher_is_better for name, check in CHECKS.items()},
        chance=audits.evaluate_chances(frame, classes),
    )
    return audits.evaluate_verdicts(summary, differences(frame), frame).set_index(
        ["check", "saliency"]
    )


def test_a_true_map_is_better_than_random_and_an_inverted_one_worse(model, data):
    def inverted(model, images, targets, *, scalar, generators, batch_size):
        return 1 - model.network.layer.weight.detach().view(4, 1, 12, 12)[targets].clamp(0, 0.9)

    frame = rows(
        model,
        data,
        metrics={
            "deletion": {},
            "preservation": {},
            "deletion-gap": {},
            "discriminative": {"fill": "zero"},
        },
        methods={"inverted": SaliencyMethod(inverted, "of the test")},
    )
    verdicts = verdicts_of(frame)
    for metric in ("deletion", "preservation", "deletion-gap", "discriminative"):
        if metric != "discriminative":  # in a random order these easy images stay right, too
            assert verdicts.loc[(metric, "gradient"), "verdict"] == BETTER
        assert verdicts.loc[(metric, "inverted"), "verdict"] == WORSE
        assert verdicts.loc[(metric, "random"), "verdict"] == ""
    assert "gradient better than random" in audits.evaluate_sentence(
        verdicts.reset_index(), images=10
    )


def test_a_map_that_sees_no_model_is_not_shown_to_depend_on_it(model, data):
    def edges(model, images, targets, *, scalar, generators, batch_size):
        return images

    frame = rows(
        model,
        data,
        metrics={"sanity-cascade": {"draws": 4}},
        methods={"edges": SaliencyMethod(edges, "of the test")},
    )
    verdicts = verdicts_of(frame)
    assert verdicts.loc[("sanity-cascade", "edges"), "verdict"] == SAME
    assert verdicts.loc[("sanity-cascade", "edges"), "mean"] == pytest.approx(1)
    assert verdicts.loc[("sanity-cascade", "sobel"), "mean"] == 1
    assert verdicts.loc[("sanity-cascade", "gradient"), "verdict"] == BETTER


def test_a_map_of_what_a_file_rounds_away_is_not_shown_to_follow_from_the_image(model, data):
    def jitter(model, images, targets, *, scalar, generators, batch_size):
        return (1e5 * images).sin()

    frame = rows(
        model,
        data,
        metrics=["level-coherence"],
        methods={"jitter": SaliencyMethod(jitter, "of the test")},
    )
    verdicts = verdicts_of(frame)
    assert verdicts.loc[("level-coherence", "jitter"), "verdict"] == SAME
    assert verdicts.loc[("level-coherence", "jitter"), "mean"] == pytest.approx(0, abs=0.1)
    assert verdicts.loc[("level-coherence", "gradient"), "verdict"] == BETTER
    assert verdicts.loc[("level-coherence", "random"), "verdict"] == ""
    told = audits.evaluate_sentence(verdicts.reset_index(), images=10)
    assert "gradient shown to follow from the stored image" in told
    assert "jitter not shown to follow from the stored image" in told


def test_two_shares_are_the_whole(model, data):
    options = {"metrics": ["deletion", "accuracy"], "saliency": ["gradient"], "batch_size": 3}
    whole = list(audits.evaluate(model, data, **options))
    shares = [b for r in range(2) for b in audits.evaluate(model, data, shard=(r, 2), **options)]
    shares.sort(key=lambda batch: batch.index)
    assert [b.rows for b in whole] == [b.rows for b in shares]
    assert [b.curves for b in whole] == [b.curves for b in shares]


def test_finished_batches_need_no_work(model, data):
    left = audits.evaluate(model, data, metrics=["accuracy"], batch_size=3, begin=lambda: {0, 2})
    assert [batch.index for batch in left] == [1, 3]


def test_a_map_is_made_once_for_all_metrics(model, data):
    calls = []

    def counted(model, images, targets, *, scalar, generators, batch_size):
        calls.append(len(images))
        return images

    of_map = [name for name, m in METRICS.items() if m.of == "map" and not m.needs]
    metrics = {name: {} for name in of_map} | {"aopc": {"counts": (2,)}}
    rows(model, data, metrics=metrics, methods={"counted": SaliencyMethod(counted, "of the test")})
    assert calls == [1, 10]  # tried on one image first


def test_a_metric_that_fails_for_one_method_leaves_the_others(model, data):
    def refuses(model, images, targets, *, scalar, generators, batch_size):
        raise UnsupportedError("not today; try tomorrow")

    def breaks(model, images, targets, *, scalar, generators, batch_size):
        raise RuntimeError("out of luck")

    told = []
    frame = rows(
        model,
        data,
        metrics=["deletion", "sparsity-gini"],
        methods={
            "refuses": SaliencyMethod(refuses, "of the test", recorded=True),
            "breaks": SaliencyMethod(breaks, "of the test", recorded=True),
        },
        tell=told.append,
    )
    for name, reason in (("refuses", "not today, try tomorrow"), ("breaks", "RuntimeError")):
        mine = frame[frame["saliency"] == name]
        assert set(mine["status"]) == {"error"}
        assert mine["setting"].str.contains(reason).all()
        assert sum(name in line for line in told) == 1
    assert (frame[frame["saliency"] == "gradient"]["status"] == "ok").all()
    verdicts = verdicts_of(frame)
    assert verdicts.loc[("deletion", "refuses"), "verdict"] == UNDEFINED
    assert verdicts.loc[("deletion", "gradient"), "verdict"] == BETTER


def test_maps_made_elsewhere_cannot_be_asked_again(model, data):
    def recorded(model, images, targets, *, scalar, generators, batch_size):
        return images

    methods = {"maps:x": SaliencyMethod(recorded, "of the test", recorded=True)}
    with pytest.raises(UnsupportedError, match="needs the method itself"):
        rows(model, data, metrics=["sanity-cascade"], methods=methods)
    told = []
    frame = rows(
        model,
        data,
        metrics=audits.METRICS_BY_DEFAULT,
        by_default=True,
        saliency=None,
        methods=methods,
        tell=told.append,
    )
    assert "sanity-cascade" not in set(frame["check"])
    assert any("sanity-cascade" in line for line in told)
    assert set(frame["saliency"]) == {"maps:x", "random", "sobel", "gradient"}  # the agreement's


def test_an_unusable_map_has_a_row_that_says_why(model, data):
    def recorded(model, images, targets, *, scalar, generators, batch_size, names):
        missing = torch.tensor([name == "00003" for name in names])
        return images.masked_fill(missing.view(-1, 1, 1, 1), torch.nan)

    frame = rows(
        model,
        data,
        metrics=["sparsity-gini"],
        methods={"maps:x": SaliencyMethod(recorded, "of the test", recorded=True)},
        problems={"maps:x": {"00003": "no such file; looked for 00003.npy"}},
    )
    mine = frame[(frame["saliency"] == "maps:x") & (frame["image"] == "00003")]
    assert list(mine["status"]) == ["error", "undefined"]
    assert mine["setting"].iloc[0] == "reason=no such file, looked for 00003.npy"


def test_without_labels_what_needs_them_is_undefined(model, data):
    told = []
    unlabelled = from_tensors(torch.stack([data[i].image for i in range(4)]))
    frame = rows(
        model, unlabelled, metrics=["discriminative", "accuracy", "deletion"], tell=told.append
    )
    states = frame.groupby("check")["status"].unique().map(set)
    assert states["discriminative"] == states["accuracy"] == {"undefined"}
    assert states["deletion"] == {"ok"}
    assert any("needs labels" in line for line in told)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"metrics": ["deltion"]}, "Did you mean 'deletion'"),
        ({"metrics": ["stability"]}, "--other"),
        ({"metrics": ["gaze-overlap"]}, "--annotations"),
        ({"metrics": {"deletion": {"steps": 0}}}, "--steps is 0"),
        ({"metrics": {"deletion": {"fill": "pink"}}}, "pink"),
        ({"saliency": ["gradcam"]}, "gradcam"),
    ],
)
def test_bad_input_is_named(options, message, model, data):
    with pytest.raises(InputError, match=message):
        rows(model, data, **({"metrics": ["deletion"]} | options))


def test_two_models_are_measured_on_the_same_images(model, data):
    other = Classifier(Corners(), input_shape=(3, 12, 12), name="corners")
    other.network.layer.weight.data *= 2
    frame = rows(model, data, metrics=["deletion", "accuracy"], models=[other])
    assert list(dict.fromkeys(frame["model"])) == ["corners", "corners (2)"]
    assert frame.groupby("model").size().nunique() == 1


def test_models_of_other_classes_are_refused(model, data):
    other = Classifier(nn.Sequential(nn.Flatten(), nn.Linear(432, 7)), input_shape=(3, 12, 12))
    with pytest.raises(InputError, match="7 outputs"):
        rows(model, data, metrics=["deletion"], models=[other])


def test_the_judge_is_who_is_tested(model, data):
    judge = Classifier(Corners(), input_shape=(3, 12, 12), name="judge")
    judge.network.layer.weight.data *= -1
    frame = rows(model, data, metrics=["discriminative"], beside={"judge": judge})
    own = rows(model, data, metrics=["discriminative"])
    assert frame["value"].mean() < own["value"].mean()
    with pytest.raises(InputError, match="--judge"):
        rows(model, data, metrics=["deletion"], beside={"judge": judge})


def test_more_than_a_twentieth_undefined_is_no_verdict():
    base = {"model": "m", "saliency": "s", "scalar": "logit", "check": "deletion", "setting": ""}
    beside = {"difference": -0.2, "difference_low": -0.3, "difference_high": -0.1}
    for undefined, word in ((0, BETTER), (5, BETTER), (6, UNDEFINED)):
        line = base | {
            "n": 100 - undefined,
            "n_undefined": undefined,
            "mean": 0.1,
            "ci_low": 0.0,
            "ci_high": 0.2,
        }
        verdicts = audits.evaluate_verdicts(
            pd.DataFrame([line]),
            pd.DataFrame([base | beside | {"n": 100 - undefined}]),
            pd.DataFrame(columns=list(COLUMNS)),
        )
        assert list(verdicts["verdict"]) == [word]


def test_a_failure_on_some_images_counts_against_the_verdict():
    base = {"model": "m", "saliency": "s", "scalar": "logit", "check": "deletion"}
    beside = {"difference": -0.2, "difference_low": -0.3, "difference_high": -0.1}
    numbers = {"mean": 0.1, "ci_low": 0.0, "ci_high": 0.2}
    good = base | numbers | {"setting": "steps=32", "n": 40, "n_undefined": 0}
    bad = base | {"setting": "reason=no luck", "n": 0, "n_undefined": 32, "mean": np.nan}
    paired = pd.DataFrame([base | beside | {"setting": "steps=32", "n": 40}])
    for lines in ([good, bad], [bad, good]):
        verdicts = audits.evaluate_verdicts(
            pd.DataFrame(lines), paired, pd.DataFrame(columns=list(COLUMNS))
        )
        assert verdicts[["n", "n_undefined", "verdict"]].values.tolist() == [[40, 32, UNDEFINED]]


def test_fewer_than_eight_images_have_no_verdict(model, data):
    few = from_tensors(torch.stack([data[i].image for i in range(7)]))
    verdicts = verdicts_of(rows(model, few, metrics=["deletion"]))
    assert verdicts.loc[("deletion", "gradient"), "verdict"] == UNDEFINED


def test_models_of_one_name_are_still_told_apart(model, data):
    other = Classifier(
        nn.Sequential(nn.Flatten(), nn.Linear(432, 7)), input_shape=(3, 12, 12), name="corners"
    )
    with pytest.raises(InputError, match="7 outputs"):
        rows(model, data, metrics=["stability"], beside={"other": other})


def test_a_single_image_has_no_verdict(model, data):
    one = from_tensors(data[0].image.unsqueeze(0), torch.tensor([0]))
    verdicts = verdicts_of(rows(model, one, metrics=["deletion"]))
    assert verdicts.loc[("deletion", "gradient"), "verdict"] == UNDEFINED


def test_chance_is_read_off_the_setting():
    frame = pd.DataFrame(
        {
            "check": ["gaze-overlap", "gaze-overlap", "accuracy", "deletion", "deletion-gap"],
            "setting": ["top=0.05", "top=0.1", "", "steps=32", "steps=32"],
        }
    )
    chances = audits.evaluate_chances(frame, 10)
    assert chances == {
        ("gaze-overlap", "top=0.05"): 0.05,
        ("gaze-overlap", "top=0.1"): 0.1,
        ("accuracy", ""): 0.1,
        ("deletion-gap", "steps=32"): 0.0,
    }


def test_the_dataset_mean_is_that_of_all_images(model, data):
    frame = rows(model, data, metrics={"deletion": {"fill": "dataset-mean"}})
    assert (frame["status"] == "ok").all()
    assert np.isfinite(frame["value"].astype(float)).all()


def test_a_misspelled_argument_is_refused(model, data):
    with pytest.raises(TypeError, match="jugde"):
        rows(model, data, metrics=["discriminative"], jugde=model)
