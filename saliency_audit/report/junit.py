"""``junit.xml``: what CI servers read, one testcase per check."""

import re
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from junitparser import Error, Failure, JUnitXml, Skipped, TestCase, TestSuite

from saliency_audit.report.files import write_atomically

_ILLEGAL = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0 cannot hold, not even escaped."""


def legal(text: str) -> str:
    r"""Text without the characters that XML cannot hold.

    >>> legal("a\x00b\x1b[31m")
    'ab[31m'
    """
    return _ILLEGAL.sub("", text)


def write_junit(
    path: Path,
    outcomes: pd.DataFrame,
    *,
    timestamp: str,
    unreadable: int = 0,
    warnings: Sequence[str] = (),
) -> Path:
    """Write a suite with a testcase for each check.

    What refuses the release is a failure, or an error where nothing could be judged because it
    failed while running. What only warns is skipped, with the same message, so that it does not
    turn a CI job red.

    Args:
        path: the file.
        outcomes: ``check,name,status,effect,limit,message,seconds``, a row for each check.
        timestamp: of the run's start, ISO 8601.
        unreadable: images that could not be read: a property of the suite.
        warnings: of the run: the output of every testcase, since they put every number in doubt.

    Returns:
        ``path``.

    Raises:
        AuditError: the file cannot be written.
    """
    suite = TestSuite("saliency-audit gate")
    suite.timestamp = timestamp
    if unreadable:
        suite.add_property("unreadable images", str(unreadable))
    for line in outcomes.to_dict("records"):
        # Seconds, and nothing else: servers add them up.
        case = TestCase(legal(str(line["check"])), str(line["name"]), _seconds(line["seconds"]))
        if line["effect"] != "pass":
            case.result = [
                _result(str(line["status"]), str(line["effect"]), legal(str(line["message"])))
            ]
        if warnings:
            case.system_out = legal("\n".join(warnings))
        suite.add_testcase(case)
    report = JUnitXml("saliency-audit gate")
    report.add_testsuite(suite)
    report.update_statistics()  # type: ignore[no-untyped-call]
    for element in (report, suite):
        element.time = _seconds(element.time or 0.0)
    # Jenkins' schema knows no such attribute of the whole.
    del report._elem.attrib["skipped"]
    text: bytes = report.tostring()  # type: ignore[no-untyped-call]
    return write_atomically(path, b'<?xml version="1.0" encoding="UTF-8"?>\n' + text + b"\n")


def _result(status: str, effect: str, message: str) -> Skipped | Error | Failure:
    failed = status == "undefined" and message.startswith("failed")
    kind = Skipped if effect == "warn" else Error if failed else Failure
    result = kind(message, status)
    result.text = f"{status}: {message}"
    return result


def _seconds(value: float) -> float:
    """To the millisecond: never in a form such as 1e-05."""
    return round(float(value), 3)
