"""Medians, and the log-mean of density profiles, against numpy, image by image."""

import numpy as np
import pandas as pd
import pytest

from saliency_audit.stats.medians import STATISTICS, median_summary


def rows_of(values, status="ok", check="density-profile"):
    return pd.DataFrame(
        {
            "image": [str(i) for i in range(len(values))],
            "model": "m",
            "check": check,
            "setting": "sigma=0.1",
            "value": values,
            "status": status,
        }
    )


def summary(rows):
    return median_summary(rows, higher_is_better={"density-profile-median": False})


def test_each_check_has_its_own_and_its_direction():
    values = np.random.default_rng(1).normal(size=9)
    rows = [rows_of(values + i, check=name) for i, name in enumerate(STATISTICS)]
    found = summary(pd.concat([*rows, rows_of(values, check="accuracy")])).set_index("check")
    assert found.loc["manifold-distance-noise-median", "mean"] == np.median(values + 3)
    assert set(found.index) == {"density-profile-log-mean", *(f"{n}-median" for n in STATISTICS)}
    assert found["higher_is_better"].notna().sum() == 1
    assert not found.loc["density-profile-median", "higher_is_better"]


def test_both_are_what_numpy_says_and_lie_in_their_interval():
    values = np.random.default_rng(0).normal(size=40)
    found = summary(rows_of(values)).set_index("check")

    assert found.loc["density-profile-median", "mean"] == np.median(values)
    expected = np.log(np.mean(np.exp(values)))
    assert found.loc["density-profile-log-mean", "mean"] == pytest.approx(expected)
    assert (found["ci_low"] < found["mean"]).all()
    assert (found["mean"] < found["ci_high"]).all()
    assert (found["n"] == 40).all()


def test_an_outlier_rules_the_mean_ratio_and_not_the_median():
    found = summary(rows_of([0.0] * 9 + [2000.0])).set_index("check")["mean"]
    assert found["density-profile-median"] == 0
    assert found["density-profile-log-mean"] == pytest.approx(2000 - np.log(10))


def test_one_image_has_no_interval_and_none_no_rows():
    one = summary(rows_of([0.3]))
    assert one["ci_low"].isna().all()
    assert (one["mean"] == [0.3, pytest.approx(0.3)]).all()
    assert not len(summary(rows_of([]).astype({"value": float})))
    assert (summary(rows_of([np.nan], "undefined"))["n_undefined"] == 1).all()
