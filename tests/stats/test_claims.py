"""The verdict on a paper's claim: by the interval alone, and the same for all experiments."""

import numpy as np
import pytest
from scipy import stats

from saliency_audit.stats.claims import (
    CLAIM_COLUMNS,
    Measured,
    claims_markdown,
    claims_table,
    over_images,
    over_trainings,
    verdict,
)


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.1, 0.3, "agrees"),
        (-0.3, -0.1, "contradicts"),
        (-0.1, 0.1, "not shown"),
        (0.0, 0.3, "not shown"),
        (-0.3, 0.0, "not shown"),
        (np.nan, np.nan, "not shown"),
    ],
)
def test_verdict(low, high, expected):
    assert verdict(low, high) == expected


def test_trainings_get_students_interval():
    values = [0.3, 0.1, 0.45, 0.2]
    expected = stats.t.interval(0.95, 3, np.mean(values), stats.sem(values))
    found = over_trainings(values)
    assert (found.low, found.high) == pytest.approx(expected, abs=1e-4)
    assert found.n == 4


def test_one_training_shows_nothing():
    found = over_trainings([0.4])
    assert found.mean == 0.4
    assert verdict(found.low, found.high) == "not shown"


def test_images_get_a_bootstrap_interval():
    values = np.random.default_rng(0).normal(1, 1, 400)
    found = over_images(values)
    middle, spread = values.mean(), 1.96 * values.std() / 20
    assert (found.low, found.high) == pytest.approx((middle - spread, middle + spread), abs=0.02)
    assert over_images(values) == found


def test_table_and_its_markdown():
    table = claims_table("Figure 9", [("x above y", None, Measured(0.25, 0.125, 0.375, 8))])
    assert tuple(table.columns) == CLAIM_COLUMNS
    assert claims_markdown(table).splitlines()[2:] == [
        "| x above y |  | 0.25 [0.125, 0.375] | 8 | agrees |"
    ]
