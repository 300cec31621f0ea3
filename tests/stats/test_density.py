"""Median and log-mean of density profiles against numpy, image by image."""

import numpy as np
import pandas as pd
import pytest

from saliency_audit.stats.density import density_summary


def rows_of(values, status="ok"):
    return pd.DataFrame(
        {
            "image": [str(i) for i in range(len(values))],
            "model": "m",
            "check": "density-profile",
            "setting": "sigma=0.1",
            "value": values,
            "status": status,
        }
    )


def test_both_are_what_numpy_says_and_lie_in_their_interval():
    values = np.random.default_rng(0).normal(size=40)
    found = density_summary(rows_of(values)).set_index("check")

    assert found.loc["density-profile-median", "mean"] == np.median(values)
    expected = np.log(np.mean(np.exp(values)))
    assert found.loc["density-profile-log-mean", "mean"] == pytest.approx(expected)
    assert (found["ci_low"] < found["mean"]).all()
    assert (found["mean"] < found["ci_high"]).all()
    assert (found["n"] == 40).all()


def test_an_outlier_rules_the_mean_ratio_and_not_the_median():
    found = density_summary(rows_of([0.0] * 9 + [2000.0])).set_index("check")["mean"]
    assert found["density-profile-median"] == 0
    assert found["density-profile-log-mean"] == pytest.approx(2000 - np.log(10))


def test_one_image_has_no_interval_and_none_no_rows():
    one = density_summary(rows_of([0.3]))
    assert one["ci_low"].isna().all()
    assert (one["mean"] == [0.3, pytest.approx(0.3)]).all()
    assert not len(density_summary(rows_of([]).astype({"value": float})))
    assert (density_summary(rows_of([np.nan], "undefined"))["n_undefined"] == 1).all()
