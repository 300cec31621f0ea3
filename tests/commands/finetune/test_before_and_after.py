"""Before and after on the same images: which images, which rows, and what a resumed run adds."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from saliency_audit import audits
from saliency_audit.catalogue.methods import CONTROLS
from saliency_audit.commands.finetune.before_and_after import (
    FINETUNED,
    JOBS,
    before_and_after,
    check_before_and_after,
)
from saliency_audit.commands.finetune.verdict import SAME, budget_of, finetune_verdicts
from saliency_audit.data import from_tensors
from saliency_audit.data.dataset import subset
from saliency_audit.errors import InputError
from saliency_audit.methods import METHODS
from saliency_audit.metrics import CHECKS
from saliency_audit.models import Classifier
from saliency_audit.stats.paired import between_models
from saliency_audit.stats.summary import summarise

COUNT, SLOW = 20, 9
LITTLE, WIDE = (4 / 255, "linf"), (0.5, "l2")


def network(seed):
    torch.manual_seed(seed)
    made = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.ReLU(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(36, 3)
    )
    made[4].weight.data *= 4
    return made


def classifier(seed, name="model"):
    return Classifier(network(seed), input_shape=(1, 8, 8), name=name)


@pytest.fixture
def data():
    images = torch.rand(COUNT, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    return from_tensors(images, torch.arange(COUNT) % 3)


def run(before, after, data, **options):
    given = {"max_samples": SLOW, "search": {"steps": 2}, "batch_size": 4} | options
    return list(before_and_after(before, after, data, **given))


def verdicts_of(rows):
    better = {name: check.higher_is_better for name, check in CHECKS.items()}
    summary = summarise(rows, higher_is_better=better)
    return finetune_verdicts(summary, between_models(rows), rows).set_index("check")


def test_accuracy_is_of_all_images_and_the_rest_of_the_same_few(data):
    before, after = classifier(0, "net"), classifier(1)
    rows = audits.table(run(before, after, data))
    assert list(dict.fromkeys(rows["model"])) == ["net", FINETUNED]
    few = set(subset(data, SLOW, 0).names)
    for (check, model), own in rows.groupby(["check", "model"]):
        expected = set(data.names) if check == "accuracy" else few
        assert set(own["image"]) == expected, (check, model)
    with torch.no_grad():
        images = torch.stack([sample.image for sample in data])
        for model, name in ((before, "net"), (after, FINETUNED)):
            right = (model(images).argmax(1) == torch.arange(COUNT) % 3).double().mean()
            own = rows[(rows["check"] == "accuracy") & (rows["model"] == name)]
            assert own["value"].mean() == pytest.approx(float(right))
    # Whoever calls it keeps the name of his model.
    assert after.name == "model"


def test_paired_differences_equal_those_made_by_hand(data):
    rows = audits.table(run(classifier(0, "net"), classifier(1), data))
    verdicts = verdicts_of(rows)
    for check in ("accuracy", "deletion", "gradient-norm-target", "topk-intersection"):
        setting = "attack=topk;eps=8/255;attacked=gradient"
        own = rows[(rows["check"] == check) & ~rows["saliency"].isin(CONTROLS)]
        if check == "topk-intersection":
            own = own[own["setting"] == setting]
        by_model = own.pivot(index="image", columns="model", values="value").astype(float)
        line = verdicts.loc[check]
        assert line["difference"] == pytest.approx((by_model[FINETUNED] - by_model["net"]).mean())
        assert line["before"] == pytest.approx(by_model["net"].mean())
        assert line["after"] == pytest.approx(by_model[FINETUNED].mean())
        assert line["n"] == (COUNT if check == "accuracy" else SLOW)


def test_the_same_weights_before_and_after_show_no_difference(data):
    rows = audits.table(run(classifier(0, "net"), classifier(0), data, other=classifier(2, "o")))
    verdicts = verdicts_of(rows)
    assert len(verdicts) == 10
    assert set(verdicts["word"]) == {SAME}
    assert (verdicts["difference"] == 0).all()


def test_stability_is_with_another_training_or_with_the_model_before(data):
    before, after = classifier(0, "net"), classifier(1)
    kept = audits.table(run(before, after, data))
    kept = kept[kept["check"] == "stability"]
    assert set(kept["model"]) == {FINETUNED}
    assert set(kept["setting"]) == {"k=0.4;pixels=all;other=net"}
    other = audits.table(run(before, after, data, other=classifier(2, "o;k=1")))
    other = other[other["check"] == "stability"]
    assert set(other["model"]) == {"net", FINETUNED}
    assert set(other["setting"]) == {"k=0.4;pixels=all;other=o,k-1"}
    # The same weights keep all of the map.
    same = audits.table(run(before, classifier(0), data))
    same = same[(same["check"] == "stability") & (same["saliency"] == "gradient")]
    assert same["value"].tolist() == [1.0] * SLOW


@pytest.mark.slow
def test_the_model_under_another_activation_is_measured_as_any_model_before(data):
    before, after = classifier(0, "net"), classifier(1)
    smooth = before.replaced(before.network, name="smooth", activation=("softplus", 2.0))
    batches = run(before, after, data, swapped=smooth)
    rows = audits.table(batches)
    assert list(dict.fromkeys(rows["model"])) == ["net", "smooth", FINETUNED]
    for models, names in (((before, after), ("net", FINETUNED)), ((smooth, after), ("smooth",))):
        alone = audits.table(run(*models, data))
        # Whose maps stability compares is another matter.
        pair = [
            frame[frame["model"].isin(names) & ~frame["check"].str.startswith("stability")]
            for frame in (rows, alone)
        ]
        pd.testing.assert_frame_equal(*(frame.reset_index(drop=True) for frame in pair))
    roles = {(e.role, e.saliency) for batch in batches for e in batch.examples}
    assert {("before", "gradient"), ("swapped", "gradient"), ("after", "gradient")} <= roles
    images = torch.stack([sample.image for sample in data])
    maps = METHODS["gradient"].function(smooth, images, smooth(images).argmax(1), scalar="logit")
    shown = [
        e
        for batch in batches
        for e in batch.examples
        if (e.role, e.saliency) in (("swapped", "gradient"),)
    ]
    for example in shown:
        mine = maps[data.names.index(example.image), 0].detach()
        np.testing.assert_allclose(example.pixels, mine, rtol=1e-4, atol=1e-6)
    assert shown


def test_without_a_model_before_only_the_one_after_is_measured(data):
    batches = run(None, classifier(1), data)
    rows = audits.table(batches)
    assert set(rows["model"]) == {FINETUNED}
    assert "stability" not in set(rows["check"])
    verdicts = verdicts_of(rows)
    assert set(verdicts["word"]) == {""}
    assert verdicts["before"].isna().all()
    assert verdicts["after"].notna().all()
    assert {e.role for b in batches for e in b.examples} == {"image", "after"}


def test_a_second_budget_is_one_more_question_and_changes_no_other(data):
    models = (classifier(0, "net"), classifier(1))
    few = [audits.table(run(*models, data, budgets=[one])) for one in (LITTLE, WIDE)]
    batches = run(*models, data, budgets=(LITTLE, WIDE))
    assert [*dict.fromkeys(batch.job for batch in batches)] == [
        *("accuracy", "metrics", "metrics-trained", "attack-before", "attack-after"),
        *("attack-before-trained", "attack-after-trained"),
    ]
    both = audits.table(batches)
    # As if each had been asked for alone, and nothing twice.
    whole = pd.concat(few).drop_duplicates(["image", "model", "saliency", "check", "setting"])
    key = [name for name in both.columns if name != "value"]
    pd.testing.assert_frame_equal(
        *(rows.sort_values(key).reset_index(drop=True) for rows in (both, whole))
    )
    verdicts = finetune_verdicts(summarise(both, higher_is_better={}), between_models(both), both)
    for check, budgets in (
        ("robust-accuracy", ["4/255", "0.5 (l2)"]),
        ("topk-intersection", ["4/255", "0.5 (l2)"]),
        ("accuracy", [""]),
    ):
        lines = verdicts[verdicts["check"] == check].to_dict("records")
        assert [budget_of(line) for line in lines] == budgets
        assert {line["n"] for line in lines} == {COUNT if check == "accuracy" else SLOW}


@pytest.mark.parametrize(
    "checks", [["robust-accuracy"], ["sparsity-gini", "topk-intersection"], ["accuracy"], []]
)
def test_what_is_measured_can_be_chosen_and_is_the_same_as_of_all(data, checks):
    models = (classifier(0, "net"), classifier(1))
    chosen = run(*models, data, checks=checks)
    # Only what belongs to them is run.
    extra = {"topk-intersection": "attack", "accuracy": "accuracy"}
    jobs = {extra.get(check, "metrics") for check in checks}
    assert {batch.job.split("-")[0] for batch in chosen} == jobs
    if checks:
        whole = run(*models, data, begin=lambda job: () if job.split("-")[0] in jobs else range(9))
        verdicts, every = (verdicts_of(audits.table(batches)) for batches in (chosen, whole))
        assert sorted(verdicts.index) == sorted(checks)
        pd.testing.assert_frame_equal(verdicts, every.loc[verdicts.index])


def test_a_resumed_run_adds_what_is_missing_and_nothing_else(data):
    whole = run(classifier(0, "net"), classifier(1), data)
    found = [(batch.job, batch.index) for batch in whole]
    counts = {"accuracy": 5, "metrics": 3, "attack-before": 3, "attack-after": 3}
    assert set(counts) <= set(JOBS)
    assert found == [(job, index) for job in counts for index in range(counts[job])]
    models = (classifier(0, "net"), classifier(1))
    done = set(found[::2])

    def begin(job):
        return {index for of, index in done if of == job}

    rest = run(*models, data, begin=begin)
    assert [(batch.job, batch.index) for batch in rest] == found[1::2]
    for again, first in zip(rest, whole[1::2], strict=True):
        pd.testing.assert_frame_equal(audits.table([again]), audits.table([first]))
    done = set(found)
    assert not run(*models, data, begin=begin)


def test_shares_of_several_processes_are_the_whole(data):
    models = (classifier(0, "net"), classifier(1))
    whole = run(*models, data)
    shares = [batch for rank in (0, 1) for batch in run(*models, data, shard=(rank, 2))]
    shares.sort(key=lambda batch: (JOBS.index(batch.job), batch.index))
    for share, first in zip(shares, whole, strict=True):
        pd.testing.assert_frame_equal(audits.table([share]), audits.table([first]))


def test_examples_say_which_model_and_class_a_map_is_of(data):
    before, after = classifier(0, "net"), classifier(1)
    examples = [example for batch in run(before, after, data) for example in batch.examples]
    names = list(dict.fromkeys(e.image for e in examples))
    images = {sample.name: sample.image for sample in data}
    for name in names:
        own = {(e.role, e.saliency): e for e in examples if e.image == name}
        assert set(own) == {
            ("image", ""),
            *((role, s) for role in ("before", "after") for s in ("gradient", *CONTROLS)),
        }
        pixels = images[name][None].requires_grad_()
        for role, model in (("before", before), ("after", after)):
            logits = model(pixels)
            (gradient,) = torch.autograd.grad(logits.max(), pixels)
            example = own[role, "gradient"]
            np.testing.assert_allclose(example.pixels, gradient[0, 0], rtol=1e-4, atol=1e-6)
            assert example.setting == f"class=class {int(logits.argmax())}"
        label = int(data.labels[data.names.index(name)])
        assert own["image", ""].setting == f"label=class {label}"


def test_progress_goes_to_its_end_and_unreadable_images_are_told_once(data):
    from dataclasses import replace

    from saliency_audit.data.images import Unreadable

    def read(position):
        if position == 3:
            raise Unreadable("broken")
        return data.read(position)

    told: list[tuple[int, int]] = []
    rows = audits.table(
        run(
            classifier(0, "net"),
            classifier(1),
            replace(data, read=read),
            max_samples=COUNT,
            advance=lambda done, total: told.append((done, total)),
        )
    )
    assert (rows["check"] == "").sum() == 1
    assert told == sorted(told)
    assert told[-1][0] == told[-1][1]
    assert len({total for _, total in told}) == 1


def test_methods_that_cannot_be_attacked_are_measured_and_said(data):
    lines: list[str] = []
    given = {"saliency": ["deeplift"], "tell": lines.append}
    rows = audits.table(run(classifier(0, "net"), classifier(1), data, **given))
    assert "deletion" in set(rows["check"])
    assert "topk-intersection" not in set(rows["check"])
    assert lines == ["deeplift is not attacked: it cannot be differentiated"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"saliency": ["gradiant"]}, "gradient"),
        ({"scalar": "logits"}, "logit"),
        ({"budgets": [(0.0, "linf")]}, "--audit-eps is 0; images have 8 bits"),
        ({"budgets": [(float("nan"), "linf")]}, "--audit-eps is nan"),
        ({"budgets": [(0.1, "l1")]}, "l1"),
    ],
)
def test_impossible_wishes_are_refused_beforehand(change, message):
    given = {"saliency": ["gradient"], "scalar": "logit", "budgets": [(0.1, "linf")]} | change
    with pytest.raises(InputError, match=message):
        check_before_and_after(**given)


def test_a_map_is_of_the_model_that_made_it_though_the_other_could_not(data, monkeypatch):
    gradient, tried = METHODS["gradient"], []

    def only_after(model, images, *given, **options):
        # It is tried on one image first.
        if model.name == "net" and tried:
            raise RuntimeError("not of this network")
        tried.append(model.name)
        return gradient.function(model, images, *given, **options)

    faulty = replace(gradient, code=only_after, differentiable=False)
    monkeypatch.setitem(METHODS, "gradient", faulty)
    saliency = ["gradient", "input-x-gradient"]
    batches = run(classifier(0, "net"), classifier(1), data, saliency=saliency, max_samples=2)
    examples = [example for batch in batches for example in batch.examples]
    roles = {name: {e.role for e in examples if e.saliency == name} for name in saliency}
    assert roles == {"gradient": {"after"}, "input-x-gradient": {"before", "after"}}
