"""The statement others sign, by the schema of those who verify it."""

import json

import pandas as pd
import pytest
from google.protobuf.json_format import ParseDict
from in_toto_attestation.predicates.test_result.v0.test_result_pb2 import TestResult as Predicate
from in_toto_attestation.v1.statement import Statement
from in_toto_attestation.v1.statement_pb2 import Statement as Message

from saliency_audit.commands.gate.attestation import TEST_RESULT, write_attestation

RUN = {"model": "model.pt2", "model_sha256": "a" * 64, "data": "images", "images_sha256": "b" * 64}


@pytest.mark.parametrize(
    ("effects", "released", "result"),
    [
        (["pass", "pass"], True, "PASSED"),
        (["pass", "warn"], True, "WARNED"),
        (["warn", "refuse"], False, "FAILED"),
        (["pass"], False, "FAILED"),
    ],
)
def test_it_is_a_statement_of_a_test_result(tmp_path, effects, released, result):
    names = [f"check {i}" for i in range(len(effects))]
    outcomes = pd.DataFrame({"check": names, "effect": effects})
    path = write_attestation(
        tmp_path / "attestation.json", outcomes, released=released, policy="text", run=RUN
    )
    written = json.loads(path.read_text())
    message = ParseDict(written, Message())
    Statement.copy_from_pb(message).validate()
    assert message.predicate_type == TEST_RESULT
    assert dict(message.subject[0].digest) == {"sha256": "a" * 64}
    # Unknown fields, or fields of another type, are an error here.
    found = ParseDict(written["predicate"], Predicate())
    assert found.result == result
    assert [one.name for one in found.configuration] == ["policy", "images of images"]
    assert found.configuration[1].digest["sha256"] == "b" * 64
    told = [*found.passed_tests, *found.warned_tests, *found.failed_tests]
    assert sorted(told) == names
