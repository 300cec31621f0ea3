"""What is written comes back with the types and names it had."""

import csv
import io

import numpy as np
import pandas as pd
import pytest

from saliency_audit.errors import AuditError
from saliency_audit.report.files import write_atomically
from saliency_audit.report.results import read_results
from saliency_audit.report.tables import cell, csv_lines, write_csv
from saliency_audit.types import COLUMNS

NAMES = [
    "a,b.png",
    'say "x".png',
    "two\nlines",
    "cr\rlf\r\n.png",
    "日本.png",
    "NA",
    "nan",
    "1e5",
    " x ",
]


def write(path, images, values):
    rows = [
        [image, None, 2, "m", "", "", "accuracy", "", value, "ok"]
        for image, value in zip(images, values, strict=True)
    ]
    return write_atomically(path, csv_lines(COLUMNS, rows))


def test_names_survive(tmp_path):
    frame = read_results(write(tmp_path / "r.csv", NAMES, [1.0] * len(NAMES)))
    assert list(frame["image"]) == NAMES
    assert (frame["saliency"] == "").all()
    assert (frame["setting"] == "").all()


def test_the_csv_module_reads_the_same(tmp_path):
    text = write(tmp_path / "r.csv", NAMES, [1.0] * len(NAMES)).read_bytes().decode()
    rows = list(csv.reader(io.StringIO(text, newline="")))
    assert [row[0] for row in rows] == ["image", *NAMES]


def test_types(tmp_path):
    frame = read_results(write(tmp_path / "r.csv", "abcd", [0.1234567, None, np.inf, -0.0]))
    assert frame["label"].dtype == "Int64"
    assert frame["target"].dtype == "Int64"
    assert frame["value"].dtype == np.float64
    assert frame["label"].isna().all()
    assert (frame["target"] == 2).all()
    np.testing.assert_array_equal(frame["value"], [0.123457, np.nan, np.inf, 0.0])


def test_names_that_are_not_unicode_do_not_stop_a_run(tmp_path):
    frame = read_results(write(tmp_path / "r.csv", ["\udcff.png"], [1.0]))
    assert list(frame["image"]) == ["\\udcff.png"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (np.float32(0.5), "0.5"),
        (np.float64("nan"), ""),
        (pd.NA, ""),
        (np.bool_(False), "false"),
        (np.int64(7), "7"),
        (-0.0, "0"),
        (1234567.0, "1.23457e+06"),
    ],
)
def test_cells(value, text):
    assert cell(value) == text


def test_frames_have_no_index(tmp_path):
    frame = pd.DataFrame({"a": [1, 2], "b": pd.array([True, None], "boolean")}, index=[5, 6])
    assert write_csv(tmp_path / "f.csv", frame).read_bytes() == b"a,b\n1,true\n2,\n"


def test_failed_write_keeps_the_old_file(tmp_path):
    path = tmp_path / "old.txt"
    path.write_text("old")

    def pieces():
        yield b"new"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_atomically(path, pieces())
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_missing_folder_is_one_line(tmp_path):
    with pytest.raises(AuditError, match=r"^No such file or directory while writing '.*'"):
        write_atomically(tmp_path / "no" / "file", "x")


def test_no_rows_have_types_too(tmp_path):
    frame = read_results(write(tmp_path / "r.csv", [], []))
    assert frame["label"].dtype == "Int64"
    assert frame["value"].dtype == np.float64
