"""The files of the gate that other programs read."""

from pathlib import Path

import pandas as pd
import pytest
import xmlschema
from junitparser import JUnitXml

from saliency_audit.commands.gate.report import (
    all_rows,
    append_summary,
    baseline_facts,
    baseline_rows,
    changes_since,
    read_baseline,
    summary_markdown,
)
from saliency_audit.errors import InputError
from saliency_audit.report.junit import write_junit
from saliency_audit.types import COLUMNS

SCHEMA = xmlschema.XMLSchema(Path(__file__).with_name("junit.xsd"))


def outcomes(*rows):
    columns = ["check", "name", "status", "effect", "limit", "message", "seconds"]
    with pd.option_context("mode.string_storage", "python"):  # as in a run
        frame = pd.DataFrame(rows, columns=columns)
    return frame.assign(measured=0.41, ci_low=0.38, ci_high=0.44, n=20, n_undefined=0)


ALL = outcomes(
    ("deletion × gradient", "deletion", "passed", "pass", "<= 0.5", "0.41 <= 0.5", 1.23456),
    ("deletion × vargrad", "deletion", "failed", "refuse", "<= 0.3", "0.41 [0.38] > 0.3", 1e-5),
    ("aopc × gradient", "aopc", "inconclusive", "warn", ">= 0.4", "is not wholly >= 0.4", 0.0),
    (
        "aopc × lrp",
        "aopc",
        "undefined",
        "refuse",
        ">= 0.4",
        "failed: a\x00b\x1b[31m <&> \ud800 ü",
        2.0,
    ),
    ("accuracy", "accuracy", "undefined", "refuse", ">= 0.4", "needs labels", 0.5),
    ("topk × gradcam", "topk", "undefined", "warn", "steady", "failed: no", 0.5),
)


def test_junit_is_what_ci_servers_read(tmp_path):
    path = write_junit(tmp_path / "junit.xml", ALL, timestamp="2026-01-02T03:04:05+00:00")
    SCHEMA.validate(path)
    suite = next(iter(JUnitXml.fromfile(str(path))))
    assert (suite.tests, suite.failures, suite.errors, suite.skipped) == (6, 2, 1, 2)
    cases = list(suite)
    assert [case.classname for case in cases] == ALL["name"].tolist()
    assert [case.name for case in cases] == ALL["check"].tolist()
    # Seconds, not the measured value.
    assert [case.time for case in cases] == [1.235, 0.0, 0.0, 2.0, 0.5, 0.5]
    assert suite.time == pytest.approx(4.235)
    assert cases[0].is_passed
    assert cases[1].result[0].message == "0.41 [0.38] > 0.3"
    assert cases[2].is_skipped
    assert cases[3].result[0].message == "failed: ab[31m <&>  ü"


def test_an_empty_gate_is_a_valid_file(tmp_path):
    SCHEMA.validate(write_junit(tmp_path / "junit.xml", outcomes(), timestamp="now"))


def test_the_schema_refuses_what_it_should(tmp_path):
    path = write_junit(tmp_path / "junit.xml", ALL, timestamp="now")
    text = path.read_text("utf-8").partition("?>")[2]
    assert SCHEMA.is_valid(text)
    for good, bad, count in (
        ('time="2.0"', 'time="1e-05"', 1),
        ("failure", "detail", -1),
        ('tests="6"', 'tests="6" skipped="2"', 1),
    ):
        assert not SCHEMA.is_valid(text.replace(good, bad, count))


def test_the_summary_is_a_table_whatever_names_hold():
    frame = outcomes(("a|b", "a", "failed", "refuse", "< 3", "<b>", 1.0))
    text = summary_markdown(frame, "refused: a|b <i>", {"model": "m\n|n", "data": "d"})
    lines = text.splitlines()
    assert lines[0] == "### saliency-audit gate: refused"
    assert "<b>" not in text
    assert "<i>" not in text
    row = next(line for line in lines if "failed" in line)
    assert row.replace("\\|", "").count("|") == 8
    assert "a\\|b" in row


def test_the_summary_is_appended_to_the_page_of_the_job(tmp_path):
    (tmp_path / "summary.md").write_text("new\n")
    (tmp_path / "page").write_text("old\n")
    told = []
    append_summary(tmp_path / "summary.md", tmp_path / "page", tell=told.append)
    assert (tmp_path / "page").read_text() == "old\nnew\n"
    append_summary(tmp_path / "summary.md", tmp_path / "no" / "page", tell=told.append)
    assert len(told) == 1


def test_a_baseline_must_be_a_summary(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        read_baseline(tmp_path / "none.csv")
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match="has no column model"):
        read_baseline(tmp_path / "other.csv")
    (tmp_path / "empty.csv").write_text("")
    with pytest.raises(InputError, match="cannot be read"):
        read_baseline(tmp_path / "empty.csv")


def test_rows_of_several_audits_are_told_apart_and_never_double():
    def frame(setting, value):
        row = ("1.png", 1, 1, "net", "gradient", "logit", "cosine", setting, value, "ok")
        return pd.DataFrame([row], columns=list(COLUMNS))

    joined = all_rows(
        [
            ("metric", frame("steps=8", 0.1)),
            ("metric", frame("steps=8", 0.1)),
            ("trick", frame("trick=a", 0.2)),
            ("trick", frame("trick=a", 0.3)),
        ]
    )
    assert joined["setting"].tolist() == ["steps=8", "trick=a", "trick=a;run=2"]
    assert joined["value"].tolist() == [0.1, 0.2, 0.3]
    assert all_rows([]).empty


def test_warnings_of_the_run_are_told_beside_its_checks(tmp_path):
    told = "WARNING: clean accuracy 9.0% is that of guessing"
    run = {"model": "m", "clean_accuracy": 0.09, "clean_accuracy_n": 20, "notes": ["a", told]}
    text = summary_markdown(ALL, "refused: x", run)
    assert f"\n\n⚠️ {told}\n\n| check" in text
    assert "clean accuracy: 9.0% of 20 images" in text
    path = write_junit(tmp_path / "junit.xml", ALL, timestamp="now", warnings=[told])
    SCHEMA.validate(path)
    suite = next(iter(JUnitXml.fromfile(str(path))))
    assert {case.system_out for case in suite} == {told}


def test_the_summary_says_what_was_measured_the_limit_and_why():
    rows = [line for line in summary_markdown(ALL, "refused: x", {}).splitlines() if "|" in line]
    assert "| 0.410 [0.380, 0.440] | &lt;= 0.5 | ✅ passed | 0.41 &lt;= 0.5 | 20 |" in rows[2]
    assert "| &lt;= 0.3 | ❌ failed | 0.41 [0.38] &gt; 0.3 | 20 |" in rows[3]
    assert "| ⚠️ inconclusive (warns) | is not wholly &gt;= 0.4 |" in rows[4]


def rows_of(values, model="net", check="deletion"):
    rows = [
        (image, 1, 1, model, "gradient", "logit", check, "steps=8", value, "ok")
        for image, value in values.items()
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def test_changes_are_of_the_images_that_both_runs_have():
    new = rows_of({f"{i}": 0.1 * i for i in range(10)})
    old = rows_of({f"{i}": 0.1 * i - 0.25 for i in range(2, 12)}, model="older")
    changes = changes_since(new, old, ["deletion"]).iloc[0]
    assert changes[["difference", "difference_low", "difference_high"]].tolist() == pytest.approx(
        [0.25] * 3
    )
    assert changes["n"] == 8
    same = changes_since(new, new, ["deletion"]).iloc[0]
    assert same[["difference", "difference_low", "difference_high"]].tolist() == [0, 0, 0]
    assert changes_since(new, old, ["aopc"]).empty
    apart = changes_since(new, old.assign(image="x"), ["deletion"])
    assert apart["n"].tolist() == [0]


def test_what_lies_beside_a_baseline(tmp_path):
    baseline = tmp_path / "summary.csv"
    assert baseline_rows(baseline) is None
    assert baseline_facts(baseline) == (None, None)
    rows_of({"a": 0.5}).to_csv(tmp_path / "results.csv", index=False)
    assert baseline_rows(baseline)["value"].tolist() == [0.5]
    (tmp_path / "results.csv").write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match="has no column image"):
        baseline_rows(baseline)
    for text, facts in {
        '{"data_fingerprint": "abc"}': ("abc", None),
        '{"options": {"method options": {"samples": 4}}}': (None, {"samples": 4}),
        '{"data_fingerprint": 1, "options": [1]}': (None, None),
        "[1]": (None, None),
        "[": (None, None),
    }.items():
        (tmp_path / "run.json").write_text(text)
        assert baseline_facts(baseline) == facts
