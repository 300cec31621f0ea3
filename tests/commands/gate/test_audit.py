"""What is a pass and what is none; which audits a policy needs."""

from math import nan

import numpy as np
import pandas as pd
import pytest

from saliency_audit.commands.gate.audit import check_baseline, judge
from saliency_audit.commands.gate.outcome import (
    GATE_WORDS,
    OUTCOME_COLUMNS,
    gate_sentence,
    not_run,
    outcome_table,
)
from saliency_audit.commands.gate.policy import PolicyCheck, read_policy
from saliency_audit.commands.gate.runs import alone, plan
from saliency_audit.errors import InputError
from saliency_audit.stats.summary import SUMMARY_COLUMNS, summarise
from saliency_audit.stats.undefined import FEWEST
from saliency_audit.types import COLUMNS

IMAGES = 20


def metric(name="deletion", limit="at_most", value=0.3, saliency="gradient", **more):
    scalar = more.pop("scalar", "logit" if saliency else "")
    return PolicyCheck("metric", name, saliency, scalar, limit, value, line=7, **more)


def line(mean, low, high, *, check="deletion", saliency="gradient", setting="steps=32", **more):
    scalar = "" if saliency in ("", "random") else "logit"
    n, undefined = more.get("n", IMAGES), more.get("n_undefined", 0)
    key = ("net", saliency, scalar, check, setting)
    return dict(
        zip(SUMMARY_COLUMNS, (*key, n, undefined, mean, low, high, nan, nan, None), strict=True)
    )


def judged(check, *lines, difference=None, images=IMAGES, results=None, **more):
    summary = pd.DataFrame(lines, columns=list(SUMMARY_COLUMNS))
    apart = None
    if difference is not None:
        *ends, n = difference
        key = [lines[0][name] for name in ("model", "saliency", "scalar", "check", "setting")]
        names = "model saliency scalar check setting difference difference_low difference_high n"
        apart = pd.DataFrame([(*key, *ends, n)], columns=names.split())
    results = pd.DataFrame(columns=list(COLUMNS)) if results is None else results
    return judge(check, results, summary, apart, classes=10, images=images, **more)


@pytest.mark.parametrize(
    ("limit", "bound", "values", "status", "message"),
    [
        ("at_most", 0.3, (0.28, 0.26, 0.30), "passed", "0.28 [0.26, 0.3] <= 0.3"),
        (
            "at_most",
            0.3,
            (0.28, 0.26, 0.31),
            "inconclusive",
            "0.28 [0.26, 0.31] is not wholly <= 0.3",
        ),
        ("at_most", 0.3, (0.41, 0.38, 0.44), "failed", "0.41 [0.38, 0.44] > 0.3"),
        ("at_most", 0.3, (0.31, 0.26, 0.36), "failed", "0.31 [0.26, 0.36] > 0.3"),
        ("at_least", 0.5, (0.6, 0.5, 0.7), "passed", "0.6 [0.5, 0.7] >= 0.5"),
        ("at_least", 0.5, (0.6, 0.4, 0.7), "inconclusive", "0.6 [0.4, 0.7] is not wholly >= 0.5"),
        ("at_least", 0.5, (0.4, 0.3, 0.6), "failed", "0.4 [0.3, 0.6] < 0.5"),
        (
            "at_least",
            0.5,
            (0.49999, 0.49998, 0.50004),
            "failed",
            "0.49999 [0.49998, 0.50004] < 0.5",
        ),
        ("at_least", 1, (1.0, 1.0, 1.0), "passed", "1 [1, 1] >= 1"),
    ],
)
def test_only_an_interval_that_clears_the_limit_passes(limit, bound, values, status, message):
    outcome = judged(metric(limit=limit, value=bound), line(*values))
    assert (outcome.status, outcome.message) == (status, message)
    assert outcome.effect == ("pass" if status == "passed" else "refuse")


def test_better_than_random_goes_by_the_paired_difference_in_the_check_s_direction():
    lower = metric(limit="better_than", value="random")
    higher = metric("preservation", limit="better_than", value="random")
    for check, sign in ((lower, -1), (higher, 1)):
        for ends, status in (
            ((0.2, 0.1, 0.3), "passed"),
            ((0.2, -0.1, 0.5), "inconclusive"),
            ((0.2, 0.0, 0.5), "inconclusive"),
            ((-0.1, -0.3, 0.1), "failed"),
            ((0.0, 0.0, 0.0), "failed"),
        ):
            turned = sorted(sign * end for end in ends[1:])
            values = line(0.5, 0.4, 0.6, check=check.name)
            outcome = judged(check, values, difference=(sign * ends[0], *turned, IMAGES))
            assert outcome.status == status, (check.name, ends)
            assert outcome.measured == sign * ends[0]
    assert judged(lower, line(0.5, 0.4, 0.6)).status == "undefined"
    few = judged(lower, line(0.5, 0.4, 0.6), difference=(-0.2, -0.3, -0.1, IMAGES - 1))
    assert few.status == "undefined"
    assert "no value on 1 of 20" in few.message


def test_better_than_chance():
    check = metric("accuracy", "better_than", "chance", saliency="")
    own = {"check": "accuracy", "saliency": "", "setting": ""}
    assert judged(check, line(0.5, 0.3, 0.7, **own)).status == "passed"
    assert judged(check, line(0.2, 0.1, 0.4, **own)).status == "inconclusive"
    worse = judged(check, line(0.1, 0.05, 0.3, **own))
    assert (worse.status, worse.limit) == ("failed", "> 0.1 (chance)")


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([], "no value on 20 of 20"),
        ([line(0.1, 0.05, 0.15, saliency="gradcam")], "no value on 20 of 20"),
        ([line(0.1, 0.05, 0.15, n=19, n_undefined=1)], "no value on 1 of 20"),
        ([line(0.1, 0.05, 0.15, n=19)], "no value on 1 of 20"),
        ([line(nan, nan, nan, n=0, n_undefined=20)], "no value on 20 of 20"),
    ],
)
def test_what_is_missing_is_no_pass(lines, said):
    outcome = judged(metric(), *lines)
    assert (outcome.status, outcome.effect) == ("undefined", "refuse")
    assert said in outcome.message


def test_a_single_image_is_no_pass():
    outcome = judged(metric(), line(0.1, nan, nan, n=1), images=1)
    assert outcome.status == "undefined"
    assert outcome.message == "1 image, 8 needed"


def test_labels_are_asked_for():
    check = metric("accuracy", "at_least", 0.5, saliency="")
    own = {"check": "accuracy", "saliency": "", "setting": "", "n": 0, "n_undefined": 20}
    key = ("net", "", "", "accuracy", "", nan, "undefined")
    results = pd.DataFrame([(f"{i}", None, 1, *key) for i in range(20)], columns=list(COLUMNS))
    outcome = judged(check, line(nan, nan, nan, **own), results=results)
    assert (outcome.status, outcome.message) == ("undefined", "no labels")


def test_a_metric_that_failed_is_no_pass_even_if_only_on_some_images():
    broken = line(nan, nan, nan, setting="reason=ValueError: no", n=0, n_undefined=5)
    key = ("net", "gradient", "logit", "deletion", "reason=ValueError: no", nan, "error")
    results = pd.DataFrame([(f"{i}", 1, 1, *key) for i in range(5)], columns=list(COLUMNS))
    outcome = judged(metric(), line(0.1, 0.05, 0.15, n=15), broken, results=results)
    assert (outcome.status, outcome.message) == ("undefined", "failed on 5 of 20: ValueError: no")


def test_every_setting_of_an_answer_must_pass_and_the_worst_is_told():
    check = metric("aopc", "at_least", 0.0)
    lines = [
        line(0.1 * i, 0.1 * i - 0.05, 0.3, check="aopc", setting=f"count={i}") for i in (3, 0, 1)
    ]
    outcome = judged(check, *lines)
    assert (outcome.status, outcome.setting) == ("inconclusive", "count=0")
    assert judged(check, lines[0], lines[2]).status == "passed"


def test_of_a_cascade_the_mean_over_the_stages_counts():
    check = metric("sanity-cascade", "at_most", 0.5)
    own = {"check": "sanity-cascade"}
    first = line(0.9, 0.8, 0.95, setting="draws=2;randomised=1/8", **own)
    whole = line(0.1, 0.05, 0.2, setting="draws=2;randomised=mean", **own)
    assert judged(check, first, whole).status == "passed"
    assert judged(check, first).status == "undefined"


def test_soft_checks_refuse_nothing():
    soft = judged(metric(level="warn"), line(0.4, 0.35, 0.45))
    assert (soft.status, soft.effect) == ("failed", "warn")
    across = line(0.29, 0.2, 0.4)
    assert judged(metric(inconclusive="warn"), across).effect == "warn"
    assert judged(metric(inconclusive="warn"), line(0.4, 0.35, 0.45)).effect == "refuse"
    assert judged(metric(inconclusive="warn")).effect == "refuse"


def test_the_baseline_is_matched_and_its_tolerance_given():
    check = metric(limit="no_worse_than", value="baseline", tolerance=0.05)
    baseline = pd.DataFrame([line(0.3, nan, nan)]).assign(model="older")
    for values, status in (
        ((0.32, 0.30, 0.34), "passed"),
        ((0.32, 0.30, 0.36), "inconclusive"),
        ((0.36, 0.30, 0.42), "failed"),
    ):
        assert judged(check, line(*values), baseline=baseline).status == status
    check_baseline([check], baseline)
    with pytest.raises(InputError, match="add --baseline"):
        check_baseline([check], None)
    with pytest.raises(InputError, match=r"line 7.*saliency=gradcam"):
        check_baseline(
            [metric(limit="no_worse_than", value="baseline", saliency="gradcam")], baseline
        )
    with pytest.raises(InputError, match=r"line 7.*several rows"):
        check_baseline([check], pd.concat([baseline, baseline]))
    with pytest.raises(InputError, match="no defined row"):
        check_baseline([check], baseline.assign(mean=nan))
    for setting, said in (
        ("steps=8", "the baseline has steps=32 and not steps=8"),
        ("steps=32;fill=blur", "the baseline has no row and not fill=blur"),
    ):
        other = judged(check, line(0.3, 0.2, 0.4, setting=setting), baseline=baseline)
        assert (other.status, other.message) == ("undefined", said)
        assert other.effect == "refuse"


@pytest.mark.parametrize(
    ("change", "status", "said"),
    [
        ((0.0, 0.0, 0.0, IMAGES), "passed", "difference 0 [0, 0] <= 0.02 against the baseline's"),
        ((0.01, -0.01, 0.03, IMAGES), "inconclusive", "is not wholly <= 0.02"),
        ((0.03, 0.01, 0.05, IMAGES), "failed", "> 0.02"),
        ((0.0, 0.0, 0.0, FEWEST), "passed", "on 8 common images"),
        ((0.0, 0.0, 0.0, FEWEST - 1), "undefined", "the baseline has 7 of the 20 images"),
        ((nan, nan, nan, 0), "inconclusive", "must exceed half the interval's width, 0.04"),
    ],
)
def test_the_baseline_is_compared_image_by_image_where_its_rows_are_known(change, status, said):
    check = metric(limit="no_worse_than", value="baseline", tolerance=0.02)
    own = line(0.257, 0.217, 0.297)
    *ends, n = change
    key = {name: own[name] for name in ("model", "saliency", "scalar", "check", "setting")}
    names = ("difference", "difference_low", "difference_high")
    changes = pd.DataFrame([key | dict(zip(names, ends, strict=True)) | {"n": n}])
    baseline = pd.DataFrame([own]).assign(model="older")
    outcome = judged(check, own, baseline=baseline, changes=changes)
    assert outcome.status == status
    assert said in outcome.message
    told = "; the baseline was measured on other images"
    other = judged(check, own, baseline=baseline, changes=changes, other_images=True)
    assert other.message == outcome.message + told
    missing = line(0.257, 0.217, 0.297, n=IMAGES - 1, n_undefined=1)
    assert judged(check, missing, baseline=baseline, changes=changes).status == "undefined"


def test_how_the_weights_were_randomised_is_told_unless_the_policy_says_it():
    setting = "randomise=shuffle;draws=2;randomised=mean"
    row = line(0.1, 0.05, 0.2, check="sanity-cascade", setting=setting)
    outcome = judged(metric("sanity-cascade", "at_most", 0.5), row)
    assert outcome.limit == "<= 0.5 (randomise=shuffle)"
    assert outcome.message.endswith(outcome.limit)
    given = metric("sanity-cascade", "at_most", 0.5, options={"randomise": "shuffle"})
    assert judged(given, row).limit == "<= 0.5"


@pytest.mark.parametrize("n", [2, FEWEST - 1, FEWEST])
def test_few_images_are_too_few_unless_the_check_is_a_share(n):
    random = metric("retrieval", "better_than", "random")
    shares = line(0.9, 0.8, 1.0, check="retrieval", n=n)
    for check, row, more in (
        (metric(), line(0.1, 0.05, 0.15, n=n), {}),
        (random, shares, {"difference": (0.5, 0.4, 0.6, n)}),
    ):
        outcome = judged(check, row, images=n, **more)
        if n < FEWEST:
            assert outcome.status == "undefined"
            assert outcome.message == f"{n} images, 8 needed"
        else:
            assert outcome.status == "passed"
    least = metric("retrieval", "at_least", 0.5)
    assert judged(least, shares, images=n).status == "passed"


def test_images_that_cannot_be_read_have_no_value():
    row = line(0.1, 0.05, 0.15, n=17)
    outcome = judged(metric(), row, unreadable=3)
    assert (outcome.status, outcome.n_undefined) == ("undefined", 3)
    assert outcome.message == "file unreadable on 3 of 20"
    check = PolicyCheck("trick", "logit-shift", "gradient", "logit", "verdict", ("unmoved",))
    results = fool_rows(0.4)
    summary = summarise(results, higher_is_better={})
    outcome = judge(check, results, summary, classes=10, images=IMAGES + 1, unreadable=1)
    assert (outcome.status, outcome.message) == ("undefined", "file unreadable on 1 of 21")


def test_what_is_of_the_model_but_comes_with_maps_is_found():
    check = metric("sanity-cascade-logit-spread", "at_least", 0.1)
    row = line(0.5, 0.4, 0.6, check=check.name, saliency="", setting="randomised=all")
    assert judged(check, row).status == "passed"


def fool_rows(after, *, kept=1.0, undefined=0):
    """Rows of a trick on one method: the cosine with the picture rises from 0.4 to ``after``."""
    rng = np.random.default_rng(0)
    setting = "trick=logit-shift;shift=linear"
    rows = []
    for i in range(IMAGES):
        bad = i < undefined
        for check, at, saliency, value in (
            ("prediction-kept", setting, "", kept),
            ("prob-change", setting, "", 0.0 if kept == 1 else 0.5),
            ("loss-change", setting, "", 0.0),
            ("cosine-to-picture", "stage=before", "gradient", 0.4 + rng.normal(0, 0.01)),
            ("cosine-to-picture", setting, "gradient", after + rng.normal(0, 0.01)),
            ("cosine", setting, "gradient", 1.0 if after < 0.5 else 0.2),
        ):
            missing = bad and saliency != ""
            rows.append(
                (f"{i}", 1, 1, "net", saliency, "logit" if saliency else "", check, at)
                + ((nan, "undefined") if missing else (value, "ok"))
            )
    return pd.DataFrame(rows, columns=list(COLUMNS))


@pytest.mark.parametrize(
    ("rows", "status", "said"),
    [
        ({"after": 0.4}, "passed", "unmoved"),
        ({"after": 0.98}, "failed", "forged"),
        ({"after": 0.4, "kept": 0.0}, "undefined", "changed predictions"),
        ({"after": 0.4, "undefined": 2}, "undefined", "no value on 2 of 20"),
        ({"after": 0.4, "undefined": IMAGES}, "undefined", "no value on 20 of 20"),
    ],
)
def test_a_trick_is_judged_by_its_verdict(rows, status, said):
    check = PolicyCheck("trick", "logit-shift", "gradient", "logit", "verdict", ("unmoved",))
    results = fool_rows(**rows)
    summary = summarise(results, higher_is_better={})
    outcome = judge(check, results, summary, classes=10, images=IMAGES)
    assert outcome.status == status
    assert said in outcome.message


def test_what_was_not_run_is_told():
    outcome = not_run(metric(), "the model has no layers")
    assert (outcome.status, outcome.effect) == ("not run", "refuse")
    assert outcome.limit == "<= 0.3"


def test_the_sentence_and_the_table():
    good, bad = line(0.1, 0.05, 0.15), line(0.4, 0.35, 0.45)
    table = outcome_table([judged(metric(), good), judged(metric(value=0.35), bad)], {1: 2.5})
    assert list(table.columns) == list(OUTCOME_COLUMNS)
    assert table["check"].is_unique  # CI servers tell checks apart by name
    assert table["seconds"].tolist() == [0.0, 2.5]
    assert gate_sentence(table) == (
        "refused: 1 of 2 checks did not pass: deletion × gradient: <= 0.35 failed "
        "(0.4 [0.35, 0.45] > 0.35)"
    )
    assert gate_sentence(outcome_table([judged(metric(), good)] * 3)) == (
        "released: all 3 checks passed"
    )
    warned = outcome_table([judged(metric(), good), judged(metric(level="warn"), bad)])
    assert gate_sentence(warned).startswith("released: 1 of 2 checks passed. Only warned of: ")
    assert gate_sentence(outcome_table([])).startswith("refused")
    assert gate_sentence(warned, images=9, unreadable=2).endswith(
        ". 2 of 9 images could not be read"
    )
    assert set(GATE_WORDS) >= {"passed", "failed", "inconclusive", "undefined", "not run"}


POLICY = """
[[check]]
metric = "deletion"
saliency = ["gradient", "integrated-gradients"]
better_than = "random"
[[check]]
metric = "preservation"
saliency = ["integrated-gradients", "gradient"]
at_least = 0.1
[[check]]
metric = "sanity-cascade"
saliency = "gradient"
at_most = 0.5
[[check]]
metric = "deletion"
saliency = "gradient"
steps = 8
at_most = 0.5
[[check]]
metric = "deletion"
saliency = "gradient"
at_most = 0.9
[[check]]
metric = "accuracy"
at_least = 0.5
[[check]]
trick = "logit-shift"
saliency = "gradient"
verdict = "unmoved"
[[check]]
trick = "loss-sine"
saliency = "gradient"
verdict = "unmoved"
[[check]]
trick = "logit-shift"
strength = 3
saliency = "gradient"
verdict = "unmoved"
[[check]]
attack = "topk"
saliency = "gradient"
verdict = "steady"
[[check]]
attack = "mass-center"
saliency = "gradient"
verdict = "steady"
[[check]]
attack = "topk"
eps = "1/255"
saliency = "gradient"
verdict = "steady"
"""


def test_few_runs_measure_everything_and_nothing_twice():
    checks = read_policy(POLICY, "policy").checks
    runs = plan(checks)
    assert sorted(id(c) for run in runs for c in run.checks) == sorted(id(c) for c in checks)
    of = [sorted({c.name for c in run.checks}) for run in runs]
    assert of == [
        ["accuracy", "deletion", "preservation"],
        ["sanity-cascade", "deletion"][::-1],
        ["logit-shift", "loss-sine"],
        ["logit-shift"],
        ["mass-center", "topk"],
        ["topk"],
    ]
    assert runs[0].arguments["metrics"] == {"deletion": {}, "preservation": {}, "accuracy": {}}
    assert runs[1].arguments["metrics"]["deletion"] == {"steps": 8}
    assert runs[3].arguments["strength"] == 3
    assert runs[5].arguments["eps"] == [pytest.approx(1 / 255)]


def test_no_two_runs_keep_their_batches_in_one_place():
    runs = plan(read_policy(POLICY, "policy").checks)
    jobs = [part.job for run in runs for part in (run, *alone(run))]
    assert len(set(jobs)) == len(jobs)
    assert jobs[:4] == ["run-1", "run-1-check-1", "run-1-check-2", "run-1-check-3"]
    assert alone(runs[-1]) == []
