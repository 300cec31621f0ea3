"""Differences are of the same images, whatever else was measured."""

import numpy as np
import pandas as pd
import pytest

from saliency_audit.errors import InputError
from saliency_audit.stats.paired import between_models, differences, relative_drop
from saliency_audit.types import COLUMNS


def rows(values, *, saliency="gradient", model="a", check="aopc", setting="counts=20", **others):
    """Rows of images 0, 1, ...; None is undefined."""
    scalar = "" if saliency in ("random", "sobel", "") else "logit"
    return [
        dict(
            zip(
                COLUMNS,
                (f"{i}.png", 1, 1, model, saliency, scalar, check, setting, value, "ok"),
                strict=True,
            )
        )
        | ({"status": "undefined"} if value is None else {})
        | others
        for i, value in enumerate(values)
    ]


def frame(*groups):
    found = pd.DataFrame([row for group in groups for row in group], columns=list(COLUMNS))
    return found.astype({"value": float})


def test_differences_are_paired_and_leave_out_what_either_lacks():
    results = frame(
        rows([1.0, 2.0, None, 7.0, 4.0]),
        rows([0.5, None, 3.0, 4.0, 4.0], saliency="random"),
        rows([0.5, 1.0, 1.0, 1.0, 1.0], saliency="sobel"),
        rows([1.0] * 5, saliency="", check="accuracy"),
        rows([None] * 5, check="", status="error"),
    )
    found = differences(results)
    assert list(found["saliency"]) == ["gradient", "sobel"]
    assert list(found["scalar"]) == ["logit", ""]
    line = found.iloc[0]
    assert (line["n"], line["difference"]) == (3, pytest.approx(3.5 / 3))
    assert 0 <= line["difference_low"] < 3.5 / 3 < line["difference_high"] <= 3
    assert found.iloc[1]["n"] == 4


def test_differences_do_not_depend_on_the_order_or_on_other_rows():
    rng = np.random.default_rng(0)
    own, control, more = rng.random((3, 20))
    small = frame(rows(own), rows(control, saliency="random"))
    large = frame(rows(more, saliency="sobel"), rows(control, saliency="random"), rows(own[::-1]))
    large.loc[40:, "image"] = large.loc[40:, "image"].to_numpy()[::-1]
    line, again = differences(small).iloc[0], differences(large).iloc[1]
    assert dict(line) == pytest.approx(dict(again))
    assert line["difference"] == pytest.approx((own - control).mean())


def test_equal_maps_differ_by_nothing_and_constants_are_certain():
    same = differences(frame(rows([0.1, 0.7]), rows([0.1, 0.7], saliency="random"))).iloc[0]
    assert tuple(same[-4:]) == (0, 0, 0, 2)
    one = differences(frame(rows([0.5]), rows([0.25], saliency="random"))).iloc[0]
    assert (one["difference"], one["n"]) == (0.25, 1)
    assert np.isnan([one["difference_low"], one["difference_high"]]).all()


@pytest.mark.parametrize(
    ("own", "shown"),
    [
        # Five of eight moved, all to one side: 2 / 2**5 is more than 5 %.
        ([0.3, 0.4, 0.3, 0.4, 0.3, 0.0, 0.0, 0.0], False),
        ([0.3, 0.4, 0.3, 0.4, 0.3, 0.3, 0.0, 0.0], True),
        # Moved in the last digit of the file only.
        ([1e-9] * 8, False),
        ([0.1] * 8, True),
    ],
)
def test_an_interval_holds_zero_where_hardly_any_image_differs(own, shown):
    control = np.linspace(0.2, 0.9, 8)
    results = frame(rows(control + own), rows(control, saliency="random"))
    line = differences(results).iloc[0]
    assert (line["difference_low"] > 0) == shown
    assert line["difference_low"] <= line["difference"] <= line["difference_high"]


def test_an_interval_that_ends_at_the_rounding_of_the_file_holds_zero():
    # In units of 1/1004, six digits each: resamples whose sum is 0 are 1e-9 away from it.
    after = [0.00298805, 0.00697211, 0.00298805, 0.00498008, 0, 0, 0.000996016, 0]
    before = [0, 0.000996016, 0, 0.00298805, 0, 0, 0, 0.00199203]
    found = differences(frame(rows(after), rows(before, saliency="random"))).iloc[0]
    assert found["difference_low"] <= 0 < found["difference"]


def test_nothing_in_common_is_undefined_and_failures_have_no_row():
    none = differences(frame(rows([None, 1.0]), rows([1.0, None], saliency="random"))).iloc[0]
    assert none["n"] == 0
    assert np.isnan(none["difference"])
    failed = frame(
        rows([None], setting="reason=no", status="error"),
        rows([None], setting="reason=no", status="error", saliency="random"),
    )
    assert len(differences(failed)) == 0


def test_interval_of_a_difference_covers_the_truth():
    rng = np.random.default_rng(1)
    inside = 0
    for seed in range(100):
        own = rng.normal(0.3, 1, 30)
        results = frame(rows(own), rows(np.zeros(30), saliency="random"))
        line = differences(results, resamples=500, seed=seed).iloc[0]
        inside += line["difference_low"] <= 0.3 <= line["difference_high"]
    assert 86 <= inside <= 99


def test_models_are_compared_with_the_first_on_the_same_images():
    results = frame(
        rows([0.1, 0.2, 0.3]),
        rows([1.0, 0.0, 1.0], saliency="", check="accuracy", setting=""),
        rows([0.3, None, 0.6], model="b"),
        rows([1.0, 1.0, 1.0], model="b", saliency="", check="accuracy", setting=""),
        rows([1.0], model="b", setting="randomised=3/9"),
        rows([0.3, 0.2, 0.1], model="c"),
    )
    found = between_models(results)
    assert list(found["model"]) == ["b", "b", "c"]
    assert set(found["first"]) == {"a"}
    assert list(found["difference"]) == pytest.approx([0.25, 1 / 3, 0.0])
    assert list(found["n"]) == [2, 3, 3]


def test_one_model_has_nothing_to_be_compared_with():
    assert len(between_models(frame(rows([1.0])))) == 0
    assert len(between_models(frame())) == 0


def test_relative_drop_is_a_ratio_of_means_over_paired_images():
    rng = np.random.default_rng(2)
    base, own = rng.uniform(0.2, 0.6, 40), rng.uniform(0.1, 0.5, 40)
    results = frame(
        rows([*base, 0.9]),
        rows([*own, None], saliency="smoothgrad"),
        rows(own, saliency="smoothgrad", check="deletion"),
        rows(2 * base, saliency="random"),
    )
    found = relative_drop(results, "gradient")
    assert list(found["saliency"]) == ["smoothgrad", "random"]
    assert set(found["check"]) == {"aopc-relative-drop"}
    assert set(found["unit"]) == {"%"}
    line = found.iloc[0]
    expected = 100 * (base.mean() - own.mean()) / base.mean()
    assert (line["n"], line["mean"]) == (40, pytest.approx(expected))
    assert line["ci_low"] < expected < line["ci_high"]
    # Paired: twice the base is -100 % in every resample.
    twice = [found.iloc[1][name] for name in ("mean", "ci_low", "ci_high")]
    assert twice == pytest.approx([-100] * 3)


@pytest.mark.parametrize(
    ("base", "drop", "bounded"),
    [
        ([-0.1, 0.1], None, False),
        ([-0.5, -0.5], None, False),
        ([-0.1, 0.5], 50.0, False),
        ([0.2, 0.2], 50.0, True),
        ([0.2], 50.0, False),
        ([], None, False),
    ],
)
def test_relative_drop_of_nothing_is_undefined(base, drop, bounded):
    half = [value / 2 for value in base]
    given = frame(rows([*base, None]), rows([*half, 0.1], saliency="smoothgrad"))
    line = relative_drop(given, "gradient").iloc[0]
    assert line["mean"] == pytest.approx(np.nan if drop is None else drop, nan_ok=True)
    assert np.isfinite([line["ci_low"], line["ci_high"]]).all() == bounded


def test_base_that_was_not_measured_is_named():
    with pytest.raises(InputError, match=r"^--base lrp was not measured; .* one of gradient$"):
        relative_drop(frame(rows([1.0])), "lrp")
