"""A run can be killed at any moment and continued by anyone with the same settings."""

import errno
import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from saliency_audit.catalogue.formats import FORMATS, Format
from saliency_audit.errors import AuditError, InputError
from saliency_audit.report.folder import CURVE_COLUMNS, RunFolder
from saliency_audit.report.results import read_results
from saliency_audit.types import COLUMNS, Batch, CurvePoint, Example

SETTINGS = {"seed": 0, "strength": 10.0, "scalars": ("logit", "loss")}


def row(image, value, **others):
    plain = {
        "image": image,
        "label": 3,
        "target": None,
        "model": "m.pt",
        "saliency": "gradient",
        "scalar": "logit",
        "check": "cosine",
        "setting": "trick=logit-shift;shift=linear",
        "value": value,
        "status": "ok" if value is not None else "undefined",
    }
    return plain | others


def batch(index):
    rng = np.random.default_rng(index)
    name = f"{index}.png"
    rows = [row(name, value) for value in rng.standard_normal(5)] + [row(name, None)]
    map_ = rng.standard_normal((4, 4)).astype(np.float32)
    return Batch(index, rows, [Example(name, "gradient", "logit", "", "before", map_)])


def finish(folder, batches):
    for each in batches:
        folder.write(each)
    folder.write_results()
    folder.close({"seconds": 1.5})
    return (folder.path / "results.csv").read_bytes()


@pytest.fixture
def uninterrupted(tmp_path):
    return finish(
        RunFolder(tmp_path / "whole", SETTINGS, resume=False), [batch(i) for i in range(12)]
    )


def test_resumed_run_equals_an_uninterrupted_one(tmp_path, uninterrupted):
    path = tmp_path / "halves"
    first = RunFolder(path, SETTINGS, resume=False)
    for index in (7, 0, 11, 3):
        first.write(batch(index))
    second = RunFolder(path, SETTINGS, resume=True)
    assert not second.finished
    assert second.done() == {0, 3, 7, 11}
    rest = [batch(i) for i in range(12) if i not in second.done()]
    assert finish(second, rest) == uninterrupted
    assert sorted(p.name for p in path.iterdir()) == ["results.csv", "run.json"]


def test_lines_of_results(uninterrupted):
    lines = uninterrupted.split(b"\n")
    assert lines[0].decode() == ",".join(COLUMNS)
    assert lines[6] == (
        b"0.png,3,,m.pt,gradient,logit,cosine,trick=logit-shift;shift=linear,,undefined"
    )
    assert len(lines) == 12 * 6 + 2
    assert b"\r" not in uninterrupted


SCRIPT = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from test_folder import SETTINGS, batch
from saliency_audit.report.folder import RunFolder
folder = RunFolder(Path({path!r}), SETTINGS, resume=True)
for index in range(100000):
    folder.write(batch(index))
"""


def test_killed_run_leaves_whole_batches(tmp_path):
    path = tmp_path / "killed"
    script = SCRIPT.format(tests=str(Path(__file__).parent), path=str(path))
    process = subprocess.Popen([sys.executable, "-c", script])
    try:
        deadline = time.monotonic() + 60
        while len(list(path.glob("partial/*.csv"))) < 20:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.01)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    folder = RunFolder(path, SETTINGS, resume=True)
    done = folder.done()
    assert len(done) >= 20
    for index in done:
        fresh = RunFolder(tmp_path / "fresh", SETTINGS, resume=False)
        fresh.write(batch(index))
        name = f"partial/{index:06d}.csv"
        assert (path / name).read_bytes() == (fresh.path / name).read_bytes()
    assert len(folder.examples()) >= len(done)
    folder.write_results()
    folder.close({})
    assert sorted(p.name for p in path.iterdir()) == ["results.csv", "run.json"]
    assert len(read_results(path / "results.csv")) == 6 * len(done)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"seed": 1}, "seed was 0, now 1"),
        ({"scalars": ["logit"]}, r'scalars was \["logit", "loss"\], now \["logit"\]'),
        ({"target": "label"}, "target was absent, now label"),
    ],
)
@pytest.mark.parametrize("closed", [False, True])
def test_other_settings_are_refused(tmp_path, changed, message, closed):
    folder = RunFolder(tmp_path, SETTINGS, resume=False)
    folder.write(batch(0))
    if closed:
        finish(folder, [])
    with pytest.raises(InputError, match=rf"^cannot resume: {message}; drop --resume to start"):
        RunFolder(tmp_path, SETTINGS | changed, resume=True)


def test_setting_that_is_gone_is_named(tmp_path):
    RunFolder(tmp_path, SETTINGS, resume=False)
    with pytest.raises(InputError, match=r"strength was 10\.0, now absent"):
        RunFolder(tmp_path, {"seed": 0, "scalars": ["logit", "loss"]}, resume=True)


def test_finished_run_needs_no_more(tmp_path, uninterrupted):
    folder = RunFolder(tmp_path / "whole", SETTINGS, resume=True)
    assert folder.finished
    assert folder.results.read_bytes() == uninterrupted
    assert not (folder.path / "partial").exists()
    run = json.loads((folder.path / "run.json").read_text())
    assert run["finished"] is True
    assert run["seconds"] == 1.5
    assert run["settings"]["scalars"] == ["logit", "loss"]


def test_finished_run_without_results_starts_again(tmp_path, uninterrupted):
    (tmp_path / "whole" / "results.csv").unlink()
    folder = RunFolder(tmp_path / "whole", SETTINGS, resume=True)
    assert not folder.finished
    assert finish(folder, [batch(i) for i in range(12)]) == uninterrupted


def test_without_resume_old_batches_go_and_old_reports_stay(tmp_path):
    path = tmp_path / "out"
    finish(RunFolder(path, SETTINGS, resume=False), [batch(0)])
    old = (path / "results.csv").read_bytes()
    killed = RunFolder(path, SETTINGS, resume=False)
    killed.write(batch(5))
    (path / "partial" / "notes.txt").write_text("not ours")
    fresh = RunFolder(path, SETTINGS | {"seed": 1}, resume=False)
    assert fresh.done() == frozenset()
    assert not fresh.finished
    assert (path / "results.csv").read_bytes() == old
    assert finish(fresh, [batch(1)]) != old
    assert (path / "partial" / "notes.txt").read_text() == "not ours"


def test_resume_of_nothing_starts(tmp_path):
    folder = RunFolder(tmp_path / "new" / "deep", SETTINGS, resume=True)
    assert folder.done() == frozenset()
    assert folder.examples() == []
    assert not folder.finished


def test_several_processes_share_a_folder(tmp_path, uninterrupted):
    path = tmp_path / "shared"
    RunFolder(path, SETTINGS, resume=False)
    workers = [RunFolder(path, SETTINGS, resume=True) for _ in range(3)]
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda i: workers[i % 3].write(batch(i)), range(12)))
    assert finish(workers[0], []) == uninterrupted


JOBS = ("training", "b-2", "a")


def of_job(job, index):
    return replace(batch(index), job=job)


def test_batches_of_jobs_are_joined_in_the_order_of_jobs_then_indices(tmp_path):
    given = [(job, index) for job in JOBS for index in (0, 1, 10)]
    whole = RunFolder(tmp_path / "whole", SETTINGS, jobs=JOBS, resume=False)
    expected = finish(whole, [of_job(*key) for key in given])
    # Whatever comes first, through a kill and from several processes.
    path = tmp_path / "parts"
    first = RunFolder(path, SETTINGS, jobs=JOBS, resume=False)
    for key in (given[8], given[1], given[4]):
        first.write(of_job(*key))
    again = [RunFolder(path, SETTINGS, jobs=JOBS, resume=True) for _ in range(2)]
    assert {job: again[0].done(job) for job in JOBS} == {"training": {1}, "b-2": {1}, "a": {10}}
    assert again[0].batches == 3
    missing = [(job, i) for job, i in reversed(given) if i not in again[0].done(job)]
    for number, key in enumerate(missing):
        again[number % 2].write(of_job(*key))
    examples = [example.image for example in again[1].examples()]
    assert examples == [f"{index}.png" for _, index in given]
    pd.testing.assert_frame_equal(again[1].rows("a"), again[1].rows("training"))
    assert finish(again[0], []) == expected
    assert sorted(p.name for p in path.iterdir()) == ["results.csv", "run.json"]


def test_batches_of_other_jobs_are_not_read_and_go_with_the_rest(tmp_path):
    old = RunFolder(tmp_path, SETTINGS, resume=False)
    old.write(batch(0))
    new = RunFolder(tmp_path, SETTINGS, jobs=("metrics",), resume=True)
    assert not new.finished
    assert new.done("metrics") == frozenset()
    assert new.batches == 0
    expected = RunFolder(tmp_path / "alone", SETTINGS, jobs=("metrics",), resume=False)
    batches = [of_job("metrics", 1)]
    assert finish(new, batches) == finish(expected, batches)
    assert not (tmp_path / "partial").exists()


@pytest.mark.parametrize("job", ["../a", "a.b", "A", "a/b", "a b"])
def test_a_job_is_named_so_that_any_disk_can_hold_it(tmp_path, job):
    with pytest.raises(ValueError, match="no name of a job"):
        RunFolder(tmp_path, SETTINGS, jobs=(job,), resume=False)
    with pytest.raises(ValueError, match="is none of the jobs"):
        RunFolder(tmp_path, SETTINGS, resume=False).write(of_job(job, 0))


def test_batches_beyond_a_million_stay_in_order(tmp_path):
    folder = RunFolder(tmp_path, SETTINGS, resume=False)
    for index in (1_000_000, 999_999):
        folder.write(Batch(index, [row(str(index), 0.0)], []))
    folder.write_results()
    assert list(read_results(folder.results)["image"]) == ["999999", "1000000"]


def test_a_run_may_end_in_another_format_and_stays_in_it(tmp_path, monkeypatch):
    plain = Format(*("report.results_csv:" + name for name in ("joined", "kept", "pieces")))
    monkeypatch.setitem(FORMATS, "other", plain)
    RunFolder(tmp_path, SETTINGS, resume=False).write(batch(0))
    folder = RunFolder(tmp_path, SETTINGS, resume=True, format="other")
    assert folder.done() == {0}
    folder.write_results()
    folder.close({})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["results.other", "run.json"]
    assert RunFolder(tmp_path, SETTINGS, resume=True, format="other").finished
    with pytest.raises(InputError, match="give --format other, or drop"):
        RunFolder(tmp_path, SETTINGS, resume=True)
    folder.results.unlink()
    assert not RunFolder(tmp_path, SETTINGS, resume=True).finished


def test_no_batches_give_an_empty_table(tmp_path):
    folder = RunFolder(tmp_path, SETTINGS, resume=False)
    assert finish(folder, []) == (",".join(COLUMNS) + "\n").encode()


@pytest.mark.parametrize("fails", ["replace", "fsync"])
def test_disk_full_keeps_what_was_finished(tmp_path, monkeypatch, uninterrupted, fails):
    path = tmp_path / "full"
    folder = RunFolder(path, SETTINGS, resume=False)
    folder.write(batch(0))

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, fails, full)
        with pytest.raises(AuditError, match=r"disk full while writing '.*'; .* add --resume") as e:
            folder.write(batch(1))
    assert not isinstance(e.value, InputError)
    assert "\n" not in str(e.value)
    assert sorted(p.name for p in (path / "partial").iterdir()) == [
        "000000.csv",
        "000000.npz",
        "settings.json",
    ]
    again = RunFolder(path, SETTINGS, resume=True)
    assert finish(again, [batch(i) for i in range(12) if i not in again.done()]) == uninterrupted


@pytest.mark.parametrize("below", ["", "deeper"])
def test_folder_that_is_a_file_is_refused(tmp_path, below):
    (tmp_path / "file").write_text("here already")
    with pytest.raises(InputError, match=r"cannot write to output folder .*--output-dir"):
        RunFolder(tmp_path / "file" / below, SETTINGS, resume=bool(below))


def test_unreadable_settings_are_refused(tmp_path):
    RunFolder(tmp_path, SETTINGS, resume=False)
    (tmp_path / "partial" / "settings.json").write_text("{")
    with pytest.raises(InputError, match="drop --resume"):
        RunFolder(tmp_path, SETTINGS, resume=True)


def test_examples_come_back_as_they_were(tmp_path):
    rng = np.random.default_rng(0)
    examples = [
        Example('ünï "x",\n\udcff.png', "", "", "", "image", rng.random((3, 4, 3), np.float32)),
        Example("b", "gradcam", "loss", "a=1;b=2", "after", np.float32([[np.nan, -1], [0, 2]])),
    ]
    folder = RunFolder(tmp_path, SETTINGS, resume=False)
    folder.write(Batch(1, [], examples[1:]))
    folder.write(Batch(0, [], examples[:1]))
    for was, back in zip(examples, folder.examples(), strict=True):
        assert vars(was) | {"pixels": None} == vars(back) | {"pixels": None}
        assert back.pixels.dtype == np.float32
        np.testing.assert_array_equal(was.pixels, back.pixels)


def curve_points(values, *, saliency="gradient", check="deletion"):
    """What a batch with these values, ``(n, points)``, adds to one curve."""
    return [
        CurvePoint("m.pt", saliency, check, x / 3, len(column), column.sum(), (column**2).sum())
        for x, column in enumerate(values.T)
    ]


def test_curves_join_over_batches_processes_and_a_resumed_run(tmp_path):
    values = np.random.default_rng(0).random((12, 4))
    folder = RunFolder(tmp_path, SETTINGS, resume=False)
    for index in (2, 0):
        folder.write(Batch(index, [], [], curve_points(values[4 * index : 4 * index + 4])))
    other = RunFolder(tmp_path, SETTINGS, resume=True)
    assert other.done() == {0, 2}
    other.write(Batch(1, [], [], curve_points(values[4:8])))
    curves = folder.curves()
    assert tuple(curves.columns) == CURVE_COLUMNS
    np.testing.assert_array_equal(curves["x"], np.arange(4) / 3)
    np.testing.assert_allclose(curves["mean"], values.mean(0), rtol=1e-14)
    half = 1.96 * values.std(0, ddof=1) / np.sqrt(12)
    np.testing.assert_allclose(curves["ci_high"], values.mean(0) + half, rtol=1e-12)
    np.testing.assert_allclose(curves["ci_low"], values.mean(0) - half, rtol=1e-12)
    assert set(curves["n"]) == {12}
    pd.testing.assert_frame_equal(other.curves(), curves, check_exact=True)
    folder.write_results()
    folder.close({})
    assert sorted(p.name for p in tmp_path.iterdir()) == ["results.csv", "run.json"]
    assert len(folder.curves()) == 0


def test_points_of_a_curve_without_values_stay_undefined(tmp_path):
    folder = RunFolder(tmp_path, SETTINGS, resume=False)
    folder.write(Batch(0, [], [], curve_points(np.empty((0, 2)))))
    folder.write(Batch(1, [], [], curve_points(np.ones((1, 1)))))
    folder.write(Batch(2, [], [], curve_points(np.full((3, 1), 0.1), check="insertion")))
    curves = folder.curves()
    assert list(curves["check"]) == ["deletion", "deletion", "insertion"]
    assert list(curves["n"]) == [1, 0, 3]
    assert list(curves["mean"].isna()) == [False, True, False]
    assert list(curves["ci_low"].isna()) == [True, True, False]
    assert curves.loc[2, "ci_low"] == pytest.approx(0.1)


def test_batches_without_curves_have_no_file_of_them(tmp_path):
    folder = RunFolder(tmp_path, SETTINGS, resume=False)
    folder.write(batch(0))
    assert not list(tmp_path.glob("partial/*.curves"))
    assert list(folder.curves().columns) == list(CURVE_COLUMNS)


def test_curves_are_whole_before_the_batch_counts_as_done(tmp_path, monkeypatch):
    folder = RunFolder(tmp_path, SETTINGS, resume=False)
    replaced = []
    replace = os.replace
    monkeypatch.setattr(os, "replace", lambda a, b: (replaced.append(b.name), replace(a, b)))
    folder.write(Batch(7, [], [], curve_points(np.ones((2, 2)))))
    assert replaced == ["000007.curves", "000007.csv"]


def test_without_resume_old_curves_go(tmp_path):
    killed = RunFolder(tmp_path, SETTINGS, resume=False)
    killed.write(Batch(5, [], [], curve_points(np.ones((2, 2)))))
    assert len(RunFolder(tmp_path, SETTINGS, resume=False).curves()) == 0
