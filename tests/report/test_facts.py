"""run.json is JSON, whatever it is given."""

import json
from pathlib import Path

import numpy as np

from saliency_audit.report.facts import environment, run_json


def test_anything_becomes_json(tmp_path):
    facts = {
        "b": np.float32("nan"),
        "a": {"path": Path("x"), "shape": (1, 28, 28), "n": np.int64(3), "names": {"q", "p"}},
    }
    text = run_json(tmp_path, facts).read_text()
    assert json.loads(text) == {
        "a": {"path": "x", "shape": [1, 28, 28], "n": 3, "names": ["p", "q"]},
        "b": None,
    }
    assert text.index('"a"') < text.index('"b"')


def test_environment_names_the_packages():
    assert {"python", "platform", "torch", "saliency-audit"} <= set(environment())
