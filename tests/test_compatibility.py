"""A few of the sixty architectures; all of them by ``python -m tests.compatibility``."""

import csv
from collections import Counter
from pathlib import Path

import pytest
import torch
from torch import nn

from saliency_audit.models import Classifier
from tests.compatibility import ARCHITECTURES, COLUMNS, EXPLAINING, markdown, rows_of, tried
from tests.conftest import COLOURS, plain_cnn

EXAMPLE = Path(__file__).parent.parent / "examples/compatibility"


@pytest.mark.parametrize(
    "name",
    [
        *("torchvision:shufflenet_v2_x0_5", "timm:edgenext_xx_small"),
        *(
            pytest.param(name, marks=pytest.mark.slow)
            for name in (
                *("torchvision:squeezenet1_1", "torchvision:swin_t"),
                *("timm:levit_128s", "timm:xcit_nano_12_p16_224"),
            )
        ),
    ],
)
def test_nothing_fails_and_what_is_refused_has_a_reason(name):
    rows = rows_of(name)

    assert [row["method"] for row in rows] == EXPLAINING
    assert not [row for row in rows if row["status"] == "failed"]
    assert all(row["reason"] for row in rows if row["status"] == "refused")
    words = {row["method"]: row["status"] for row in rows}
    assert words["gradient"] == words["gradcam"] == words["occlusion"] == "ok"


def test_what_a_layer_raises_is_a_failure():
    class Shy(nn.ReLU):
        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            if self._forward_hooks:
                raise RuntimeError("no one may watch")
            return super().forward(inputs)

    model = Classifier(plain_cnn(Shy), input_shape=(3, 12, 16), **COLOURS)

    assert tried(model, "gradcam") == ("failed", 0, "RuntimeError: no one may watch")
    assert tried(model, "gradient") == ("ok", 0, "")


def test_the_committed_table_is_of_all_of_them_and_nothing_failed():
    with (EXAMPLE / "results.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))

    assert tuple(rows[0]) == COLUMNS
    assert list(dict.fromkeys(row["architecture"] for row in rows)) == list(ARCHITECTURES)
    assert Counter(row["method"] for row in rows) == dict.fromkeys(EXPLAINING, len(ARCHITECTURES))
    assert {row["status"] for row in rows} == {"ok", "refused"}
    assert markdown(rows) == (EXAMPLE / "results.md").read_text()
