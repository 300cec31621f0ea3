"""``attestation.json``: what the gate found, as a statement that others can sign and verify."""

import json
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import pandas as pd

from saliency_audit.report.files import write_atomically

STATEMENT = "https://in-toto.io/Statement/v1"
TEST_RESULT = "https://in-toto.io/attestation/test-result/v0.1"
_LISTS = {"pass": "passedTests", "warn": "warnedTests", "refuse": "failedTests"}


def write_attestation(
    path: Path, outcomes: pd.DataFrame, *, released: bool, policy: str, run: Mapping[str, Any]
) -> Path:
    """Write an unsigned in-toto statement: this model, by this policy, on these images.

    The predicate is test-result/v0.1 of https://github.com/in-toto/attestation: PASSED, WARNED
    where only warnings were left, FAILED. The subject is the model, the configuration the policy
    and the images, each by its sha256.

    Args:
        path: the file.
        outcomes: ``check,effect``, a row for each check.
        released: the answer.
        policy: its text.
        run: ``model,model_sha256,data,images_sha256``.

    Returns:
        ``path``.

    Raises:
        AuditError: the file cannot be written.
    """
    warned = (outcomes["effect"] == "warn").any()
    predicate: dict[str, Any] = {
        "result": "FAILED" if not released else "WARNED" if warned else "PASSED",
        "configuration": [
            _descriptor("policy", sha256(policy.encode()).hexdigest()),
            _descriptor(f"images of {run['data']}", run["images_sha256"]),
        ],
    }
    for effect, name in _LISTS.items():
        predicate[name] = list(outcomes.loc[outcomes["effect"] == effect, "check"])
    statement = {
        "_type": STATEMENT,
        "subject": [_descriptor(str(run["model"]), run["model_sha256"])],
        "predicateType": TEST_RESULT,
        "predicate": predicate,
    }
    return write_atomically(path, json.dumps(statement, indent=2) + "\n")


def _descriptor(name: str, digest: str) -> dict[str, Any]:
    return {"name": name, "digest": {"sha256": digest}}
