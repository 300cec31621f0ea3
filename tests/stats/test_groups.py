"""pandas, on the whole table at once, is the oracle."""

import numpy as np
import pandas as pd
import pytest

from saliency_audit.stats import groups as module
from saliency_audit.stats.groups import GROUP, groups


def table(count, seed):
    rng = np.random.default_rng(seed)
    text = {name: rng.choice(list("bac"), count) for name in ("image", *GROUP)}
    value = np.where(rng.random(count) < 0.1, np.nan, rng.standard_normal(count))
    return pd.DataFrame({**text, "value": value, "status": rng.choice(["ok", "undefined"], count)})


@pytest.mark.parametrize("kind", ["object", "category"])
@pytest.mark.parametrize("by", [GROUP, ("check", "setting")])
@pytest.mark.parametrize("at_once", [7, 1 << 16])
def test_equals_pandas(monkeypatch, kind, by, at_once):
    monkeypatch.setattr(module, "_AT_ONCE", at_once)
    frame = table(300, 0)
    where = frame["scalar"] != "c"
    usable = (frame["status"] == "ok") & frame["value"].notna()
    expected = frame[where].assign(usable=usable).groupby(list(by), sort=False)
    typed = frame.astype(dict.fromkeys(["image", *GROUP], kind))
    found = list(groups(typed, by, where=where))
    assert len(found) > 8
    for (key, own), (wanted, rows) in zip(found, expected, strict=True):
        assert key == wanted
        np.testing.assert_array_equal(own.values, rows["value"])
        np.testing.assert_array_equal(own.usable, rows["usable"])
        # Bits: what is summarised must not depend on the type of a column.
        means = rows[rows["usable"]].groupby("image")["value"].mean()
        np.testing.assert_array_equal(own.by_image(), means)
        assert [sorted(set(frame["image"]))[i] for i in own.by_image().index] == list(means.index)


def test_no_rows_no_groups():
    frame = table(5, 0)
    assert list(groups(frame, where=frame["check"] == "z")) == []
    assert list(groups(frame.iloc[:0], where=frame["check"].iloc[:0] == "z")) == []
