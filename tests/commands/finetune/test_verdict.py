"""Words from paired differences, and the sentence that says them."""

import numpy as np
import pandas as pd
import pytest

from saliency_audit.commands.finetune.tables import budget_of
from saliency_audit.commands.finetune.verdict import (
    BETTER,
    CHANGED,
    FINETUNE_WORDS,
    QUESTIONS,
    SAME,
    UNDEFINED,
    WORSE,
    finetune_sentence,
    finetune_verdicts,
)
from saliency_audit.metrics import CHECKS
from saliency_audit.stats.paired import between_models
from saliency_audit.stats.summary import summarise
from saliency_audit.types import COLUMNS

N = 20
SETTINGS = {"topk-intersection": "attack=topk;eps=8/255;attacked=gradient"}
OF_MAPS = ("deletion", "discriminative", "stability", "topk-intersection", "sparsity-gini")


def rows_of(check, model, values, *, saliency=None, setting=None, status="ok"):
    saliency = ("gradient" if check in OF_MAPS else "") if saliency is None else saliency
    setting = SETTINGS.get(check, "") if setting is None else setting
    return [
        (f"{i}", 0, 0, model, saliency, "logit", check, setting, value, status)
        for i, value in enumerate(values)
    ]


def verdicts_of(*parts):
    frame = pd.DataFrame([row for part in parts for row in part], columns=list(COLUMNS))
    better = {name: check.higher_is_better for name, check in CHECKS.items()}
    summary = summarise(frame, higher_is_better=better)
    return finetune_verdicts(summary, between_models(frame), frame)


def change(check, by, n=N, noise=0.01):
    rng = np.random.default_rng(0)
    before = 0.5 + 0.1 * rng.standard_normal(n)
    after = before + by + noise * rng.standard_normal(n)
    return rows_of(check, "net", before), rows_of(check, "finetuned", after)


@pytest.mark.parametrize("check", QUESTIONS)
@pytest.mark.parametrize("by", [-0.1, 0.1])
def test_words_follow_the_direction_of_each_check(check, by):
    (line,) = verdicts_of(*change(check, by)).to_dict("records")
    better = CHECKS[check].higher_is_better
    expected = CHANGED if better is None else BETTER if better == (by > 0) else WORSE
    assert line["word"] == expected
    assert line["difference"] == pytest.approx(by, abs=0.01)
    assert line["difference_low"] < line["difference"] < line["difference_high"]


@pytest.mark.parametrize(("error", "word"), [(0.1, BETTER), (0.9, UNDEFINED)])
@pytest.mark.parametrize("check", ["robust-accuracy", "topk-intersection"])
def test_an_attack_shows_nothing_where_gradients_are_masked(check, error, word):
    for masked in ("net", "finetuned"):
        rows = rows_of(
            "completeness", masked, [error] * N, saliency="", setting="midpoints=16;way=contrast"
        )
        (line,) = verdicts_of(*change(check, 0.1), rows).to_dict("records")
        assert line["word"] == word
    (other,) = verdicts_of(*change("accuracy", 0.1), rows).to_dict("records")
    assert other["word"] == BETTER


def test_directions_are_those_meant():
    lower = {"deletion"}
    neither = {"gradient-norm-target", "gradient-norm-others", "sparsity-gini"}
    for check in QUESTIONS:
        expected = None if check in neither else check not in lower
        assert CHECKS[check].higher_is_better is expected


def test_a_paired_interval_shows_what_two_intervals_that_overlap_do_not():
    (line,) = verdicts_of(*change("deletion", -0.02, noise=0.001)).to_dict("records")
    assert line["before_low"] < line["after_high"]
    assert line["word"] == BETTER
    (line,) = verdicts_of(*change("deletion", 0.0, noise=0.1)).to_dict("records")
    assert line["word"] == SAME


def test_few_images_or_many_without_a_value_are_undefined():
    assert list(verdicts_of(*change("deletion", -0.1, n=7))["word"]) == [UNDEFINED]
    assert list(verdicts_of(*change("deletion", -0.1, n=8))["word"]) == [BETTER]
    before, after = change("deletion", -0.1)
    one = [(*after[0][:8], np.nan, "undefined")]
    two = [*one, (*after[1][:8], np.nan, "undefined")]
    (line,) = verdicts_of(before, one + after[1:]).to_dict("records")
    assert (line["word"], line["n"], line["n_undefined"]) == (BETTER, N - 1, 1)
    (line,) = verdicts_of(before, two + after[2:]).to_dict("records")
    assert (line["word"], line["n"], line["n_undefined"]) == (UNDEFINED, N - 2, 2)


def test_what_failed_on_some_or_all_images_is_undefined():
    before, after = change("deletion", -0.1)
    failed = [(*row[:7], "reason=no memory", np.nan, "error") for row in after]
    (line,) = verdicts_of(before, failed).to_dict("records")
    assert (line["word"], line["n"], line["n_undefined"]) == (UNDEFINED, 0, N)
    assert np.isnan(line["after"])
    assert np.isfinite(line["before"])
    (line,) = verdicts_of(before, failed[:5] + after[5:]).to_dict("records")
    assert (line["word"], line["n"], line["n_undefined"]) == (UNDEFINED, N - 5, 5)


def test_each_budget_has_a_word_also_where_one_of_them_failed():
    def at(eps, by):
        return [
            rows_of("robust-accuracy", row[0][3], [r[8] for r in row], setting=f"eps={eps};norm=l2")
            for row in change("robust-accuracy", by)
        ]

    _, after = at(2, -0.1)
    failed = [(*row[:7], f"reason=no memory;{row[7]}", np.nan, "error") for row in after]
    rows = (*at(1, 0.1), at(2, -0.1)[0], failed)
    verdicts = verdicts_of(*rows)
    assert [budget_of(line) for line in verdicts.to_dict("records")] == ["1 (l2)", "2 (l2)"]
    assert verdicts["word"].tolist() == [BETTER, UNDEFINED]
    assert verdicts["n_undefined"].tolist() == [0, N]
    text = finetune_sentence(verdicts_of(*at(1, 0.1), *at(2, -0.1)), objective="pgd", images=N)
    assert "robust-accuracy at 1 (l2) better by" in text
    assert "robust-accuracy at 2 (l2) worse by" in text


def test_rows_are_the_questions_in_their_order_without_controls_stages_and_noise():
    parts = [part for check in reversed(QUESTIONS) for part in change(check, 0.1)]
    for model in ("net", "finetuned"):
        parts += [
            rows_of("deletion", model, np.full(N, 0.3), saliency="random"),
            rows_of("topk-intersection", model, np.full(N, 0.3), setting="attack=random;eps=8/255"),
            rows_of("stability-spearman", model, np.full(N, 0.3), saliency="gradient"),
            rows_of("prediction-kept", model, np.full(N, 1.0)),
        ]
    verdicts = verdicts_of(*parts)
    assert tuple(verdicts["check"]) == QUESTIONS
    assert set(verdicts["word"]) <= set(FINETUNE_WORDS)


def test_the_sentence_has_losses_beside_gains():
    rng = np.random.default_rng(1)
    right = rng.random(200) < 0.9
    wrong = right & (np.arange(200) >= 10)
    verdicts = verdicts_of(
        rows_of("accuracy", "net", right.astype(float)),
        rows_of("accuracy", "finetuned", wrong.astype(float)),
        *change("deletion", -0.1),
        *change("stability", 0.0, noise=0.1),
        *change("gradient-norm-target", -0.2),
        *change("discriminative", 0.1, n=7),
    )
    lost = 100 * (right.mean() - wrong.mean())
    text = finetune_sentence(verdicts, objective="noise", images=N)
    assert text.startswith("After noise, on 20 images (accuracy on 200): deletion better by 0.")
    assert f"; accuracy worse by {lost:.2g} points [" in text
    assert "; gradient-norm-target lower by 0.2 [" in text
    assert (
        "; no difference shown for stability; undefined: discriminative (7 images, 8 needed)."
        in text
    )


def test_the_sentence_counts_the_images_of_the_accuracy_where_nothing_else_was_measured():
    ones = np.ones(200)
    rows = [rows_of("accuracy", model, ones) for model in ("net", "finetuned")]
    text = finetune_sentence(verdicts_of(*rows), objective="noise", images=N)
    assert text.startswith("After noise, on 200 images: nothing better;")


def test_the_sentence_says_that_nothing_was_gained_or_lost():
    text = finetune_sentence(verdicts_of(*change("deletion", 0.1)), objective="noise", images=N)
    assert text.startswith("After noise, on 20 images: nothing better; deletion worse by 0.1 [")
    text = finetune_sentence(verdicts_of(*change("deletion", -0.1)), objective="noise", images=N)
    assert text.endswith("; nothing worse.")
    after = rows_of("deletion", "finetuned", np.full(N, 0.25))
    text = finetune_sentence(verdicts_of(after), objective="noise", images=N)
    assert text == "After noise, on 20 images: deletion 0.25; there is no model to compare with."


def test_the_sentence_says_when_a_random_map_gained_as_much():
    random = [
        rows_of("deletion", model, np.full(N, value), saliency="random")
        for model, value in (("net", 0.6), ("finetuned", 0.5))
    ]
    verdicts = verdicts_of(*change("deletion", -0.1), *random)
    assert verdicts["control_before"].iloc[0] == pytest.approx(0.6)
    text = finetune_sentence(verdicts, objective="noise", images=N)
    assert "(a random map: lower by 0.1)" in text


def test_what_softplus_does_alone_is_told_and_no_word_hangs_on_it():
    before, after = change("gradient-norm-target", -0.2)
    between = [(*row[:3], "net with softplus", *row[4:8], row[8] - 0.08, "ok") for row in before]
    # Where it is the activation that masks gradients, the trained model's need not be.
    masked = rows_of("completeness", "net with softplus", [0.9] * N, saliency="")
    attacked = change("robust-accuracy", 0.2)
    rows = (before, attacked[0], between, masked, after, attacked[1])
    verdicts = verdicts_of(*rows).set_index("check")
    line = verdicts.loc["gradient-norm-target"]
    assert line["swapped"] == pytest.approx(line["before"] - 0.08)
    assert line["difference"] == pytest.approx(-0.2, abs=0.01)
    assert verdicts["word"].to_dict() == {"robust-accuracy": BETTER, line.name: CHANGED}
    text = finetune_sentence(verdicts.reset_index(), objective="noise", images=N)
    assert "(softplus alone: lower by 0.08)" in text


def test_methods_are_named_where_there_are_several():
    parts = [
        rows_of("deletion", model, np.linspace(0, 1, N) + by, saliency=method)
        for model, by in (("net", 0.0), ("finetuned", 0.0))
        for method in ("gradient", "gradcam")
    ]
    text = finetune_sentence(verdicts_of(*parts), objective="noise", images=N)
    assert "no difference shown for deletion (gradient, gradcam)." in text
