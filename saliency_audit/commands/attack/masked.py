"""When a map that no attack moved is not steady: its gradient led nowhere, or astray."""

import pandas as pd

from saliency_audit.catalogue.metrics import METRICS
from saliency_audit.metrics.completeness import HALF
from saliency_audit.report.wording import number
from saliency_audit.stats.paired import between_models

MASKED = "gradients masked"
"""As robustness benchmarks call it (Athalye et al. 2018)."""
_FOUND, _BESIDE = "found", "beside"


def incomplete(summary: pd.DataFrame) -> str:
    """Why what the gradient did not find is not shown; empty where gradients tell the output.

    Args:
        summary: rows of one model, of `summarise`.

    >>> row = {"check": "completeness", "n": 8, "n_undefined": 0, "mean": 0.97}
    >>> incomplete(pd.DataFrame([row]))
    'gradients masked (completeness 0.970, over one half)'
    >>> incomplete(pd.DataFrame([row | {"mean": 0.1}]))
    ''
    """
    measured = summary[summary["check"].isin(list(METRICS["completeness"].checks))]
    if measured.empty:
        return ""
    known = measured[measured["n"] > measured["n_undefined"]]
    if known.empty:
        return f"{MASKED} (completeness without a value on most images)"
    largest = known["mean"].astype(float).max()
    return f"{MASKED} (completeness {number(largest)}, over one half)" if largest > HALF else ""


def moved_further(results: pd.DataFrame, *, by: str, than: str, higher: bool) -> bool:
    """Whether one search found more than another, on the same images.

    Args:
        results: rows of one check, method and scalar.
        by: setting of the one.
        than: setting of the other.
        higher: whether more is higher.

    Returns:
        Whether the 95 % interval of the paired difference lies on that side of zero.
    """
    names = {than: _FOUND, by: _BESIDE}
    rows = results[results["setting"].isin(list(names))]
    models = rows["setting"].map(names)
    pairs = rows.assign(model=models, setting="").sort_values("model", key=lambda of: of == _BESIDE)
    for line in between_models(pairs).to_dict("records"):
        return bool(line["difference_low"] > 0 if higher else line["difference_high"] < 0)
    return False
