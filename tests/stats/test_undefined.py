"""The rule at its boundaries, and each reason that an image can have no value for."""

import pandas as pd
import pytest

from saliency_audit.stats.undefined import causes, counted, undefined, with_reasons
from saliency_audit.types import COLUMNS

KEY = {"model": "net", "saliency": "gradcam", "scalar": "loss", "check": "deletion"}
TRICK = "trick=logit-shift;shift=linear"


@pytest.mark.parametrize(
    ("n", "n_undefined", "images", "reason"),
    [
        (8, 0, 8, ""),
        (7, 0, 7, "7 images, 8 needed"),
        (1, 0, 1, "1 image, 8 needed"),
        (0, 0, 0, "0 images, 8 needed"),
        (19, 1, 20, ""),  # 5 % exactly
        (18, 1, 19, "no value on 1 of 19"),
        (95, 5, 100, ""),
        (94, 6, 100, "no value on 6 of 100"),
        (12, 0, 20, "no value on 8 of 20"),  # images without any row are missing, too
        (5, 3, 8, "no value on 3 of 8"),  # what is missing goes before what is too few
    ],
)
def test_more_than_a_twentieth_missing_or_fewer_than_eight_is_no_verdict(
    n, n_undefined, images, reason
):
    word = "undefined" if reason else ""
    assert undefined(n, n_undefined, images) == (word, reason)


def test_a_release_is_judged_by_every_image_and_a_share_by_any_number():
    assert undefined(63, 1, 64, most=0) == ("undefined", "no value on 1 of 64")
    assert undefined(1, 0, 1, most=0, fewest=1) == ("", "")


@pytest.mark.parametrize(
    ("why", "missing", "reason"),
    [
        (["no label"] * 8, 8, "no labels"),
        (["no label"] * 3, 3, "no label on 3 of 8"),
        (["failed: a"] * 8, 8, "failed: a"),
        (["failed: a", "failed: b", "failed: b"], 3, "failed on 3 of 8: b"),
        (["zero", "failed: a"], 3, "failed on 1, no value on 1, zero on 1 of 8: a"),
        (["zero"] * 8, 8, "zero on 8 of 8"),
    ],
)
def test_reasons_are_counted(why, missing, reason):
    assert counted(why, missing, 8) == reason


def row(image, setting, *, check="deletion", label=1, target=1, status="undefined", value=None):
    key = {**KEY, "check": check, "setting": setting, "status": status, "value": value}
    return {"image": image, "label": label, "target": target} | key


def test_each_image_has_its_own_reason():
    results = pd.DataFrame(
        [
            row("zero", "steps=2"),
            row("zero", "reason=zero", check=""),
            row("lost", "steps=2"),
            row("lost", "reason=no map, looked for lost.npy", check="", status="error"),
            row("refused", "steps=2"),
            row("refused", "reason=failed: it failed with OSError: x", check="", status="error"),
            row("failed", "reason=no layer", status="error"),
            row("unlabelled", "steps=2", target=None),
            row("strange", "steps=2"),
            row("good", "steps=2", status="ok", value=0.5),
            row("good", TRICK, check="cosine"),
            row("good", f"{TRICK};reason=NaN", check=""),
            row("zero", TRICK, check="cosine"),
            row("zero", f"{TRICK};reason=zero", check=""),
            row("strange", "", check="accuracy", label=None),
        ],
        columns=list(COLUMNS),
    )
    why = causes(results)
    assert why(KEY | {"setting": "steps=2"}) == {
        "zero": "zero",
        "lost": "no map",
        "refused": "failed: OSError: x",
        "failed": "failed: no layer",
        "unlabelled": "no label",
        "strange": "no value",
    }
    # The map of "zero" said nothing before the trick already.
    cosine = KEY | {"check": "cosine", "setting": TRICK}
    assert why(cosine) == {"good": "NaN after it", "zero": "zero"}
    assert why(KEY | {"check": "accuracy", "setting": ""}) == {"strange": "no label"}
    summary = pd.DataFrame([KEY | {"setting": "steps=2", "n": 1, "n_undefined": 6}])
    assert list(with_reasons(summary, results)["reason"]) == [
        "failed on 2, no label on 1, no map on 1, no value on 1, zero on 1 of 7: OSError: x"
    ]
