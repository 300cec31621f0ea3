"""A run removes what runs wrote, and nothing else."""

import errno
import json
import os
import signal
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import pytest

from saliency_audit.errors import AuditError, InputError
from saliency_audit.report.files import write_atomically
from saliency_audit.report.folder import RunFolder
from saliency_audit.report.ledger import Ledger
from saliency_audit.types import Batch

SETTINGS = {"seed": 0}
BATCH = Batch(0, [], [])


def hash_of(content):
    return sha256(content.encode()).hexdigest()


class Run:
    """A run that writes text files; a kill is one that never finishes."""

    def __init__(self, folder, *, resume=False):
        folder.mkdir(exist_ok=True)
        self.ledger = Ledger(folder)
        self.ledger.open()
        self.folder = RunFolder(folder, SETTINGS, resume=resume, ledger=self.ledger)

    def write(self, **files):
        for name, text in files.items():
            path = self.folder.path / name.replace("__", "/").replace("_", ".")
            path.parent.mkdir(exist_ok=True)
            write_atomically(path, text)
        return self

    def killed(self):
        self.ledger.close()

    def finish(self):
        self.folder.write_results()
        self.folder.close({})
        return json.loads((self.folder.path / "run.json").read_text())["files"]


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


def listing(out):
    return {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}


def test_run_json_lists_what_was_written(out):
    run = Run(out).write(report_html="old", images__a_png="pixels")
    run.folder.write(BATCH)
    run.write(report_html="new")
    files = run.finish()
    assert files.keys() == {"report.html", "images/a.png", "results.csv"}
    assert files["report.html"] == hash_of("new")
    for name, digest in files.items():
        assert sha256((out / name).read_bytes()).hexdigest() == digest
    assert listing(out) == {*files, "run.json"}


def test_a_later_run_removes_what_is_stale_unchanged_and_listed(out):
    Run(out).write(a_png="1", b_png="2", c_png="3", images__x_png="4").finish()
    (out / "b.png").write_text("changed by its user")
    (out / "a-my-notes.png").write_text("mine")
    files = Run(out).write(c_png="new").finish()
    assert files.keys() == {"c.png", "results.csv"}
    assert listing(out) == {"b.png", "c.png", "a-my-notes.png", "results.csv", "run.json"}
    assert (out / "b.png").read_text() == "changed by its user"
    assert not (out / "images").exists()


def test_earlier_reports_stay_until_the_run_has_its_own(out):
    Run(out).write(a_png="1").finish()
    run = Run(out).write(b_png="2")
    assert (out / "a.png").exists()
    run.finish()
    assert not (out / "a.png").exists()


def test_files_of_killed_runs_are_known_to_the_next(out):
    Run(out).write(a_png="1").finish()
    Run(out).write(b_png="2").killed()
    Run(out).write(c_png="3").killed()
    files = Run(out).write(d_png="4").finish()
    assert files.keys() == {"d.png", "results.csv"}
    assert listing(out) == {*files, "run.json"}


def test_a_resumed_run_lists_what_it_wrote_before_the_kill(out):
    Run(out).write(a_png="1").finish()
    Run(out).write(b_png="2", c_png="old").killed()
    files = Run(out, resume=True).write(c_png="new").finish()
    assert files == {
        "b.png": hash_of("2"),
        "c.png": hash_of("new"),
        "results.csv": hash_of((out / "results.csv").read_text()),
    }
    assert listing(out) == {*files, "run.json"}


KILLED = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from test_ledger import Run
run = Run(Path({out!r})).write(a_png="first")
replace = os.replace
def kill(*paths):
    if {late}:
        replace(*paths)
    os.kill(os.getpid(), signal.SIGKILL)
os.replace = kill
run.write(a_png="second")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="kills as POSIX does")
@pytest.mark.parametrize("late", [False, True])
def test_a_kill_at_the_moment_of_writing_leaves_nothing_unowned(out, late):
    script = KILLED.format(tests=str(Path(__file__).parent), out=str(out), late=late)
    process = subprocess.run([sys.executable, "-c", script])
    assert process.returncode == -signal.SIGKILL
    assert (out / "a.png").read_text() == ("second" if late else "first")
    assert Run(out).finish().keys() == {"results.csv"}
    assert listing(out) == {"results.csv", "run.json"}


def test_files_of_other_processes_are_the_runs_own(out):
    Run(out).write(images__a_png="old", images__b_png="old").finish()
    run = Run(out)
    run.ledger.protect(out / "mine.png", "--picture")
    other = Ledger(out, rank=1, protected=run.ledger.protected)
    run.ledger.close()
    other.open()
    run.write(images__b_png="new", images__c_png="of another")
    with pytest.raises(AuditError, match=r"mine\.png' \(--picture\)"):
        run.write(mine_png="not to be written")
    other.close()
    run.ledger.open()
    files = run.finish()
    assert files.keys() == {"images/b.png", "images/c.png", "results.csv"}
    assert listing(out) == {*files, "run.json"}


@pytest.mark.parametrize("resume", [False, True])
def test_files_of_other_processes_outlive_a_kill(out, resume):
    run = Run(out)
    other = Ledger(out, rank=12)
    run.ledger.close()
    other.open()
    run.write(a_png="of another")
    other.close()
    files = Run(out, resume=resume).finish()
    assert files.keys() == {"results.csv", *(["a.png"] if resume else [])}
    assert listing(out) == {*files, "run.json"}


def test_a_list_that_is_a_link_is_not_followed(tmp_path, out):
    (tmp_path / "mine.jsonl").write_text("mine")
    run = Run(out)
    (out / "partial" / "files.1.jsonl").symlink_to(tmp_path / "mine.jsonl")
    run.finish()
    assert (out / "partial" / "files.1.jsonl").is_symlink()
    assert (tmp_path / "mine.jsonl").read_text() == "mine"


def test_a_torn_line_of_the_journal_spoils_no_other(out):
    Run(out).write(a_png="1").killed()
    with (out / "partial" / "files.jsonl").open("a") as file:
        file.write('\n{"path": "b.p')
    Run(out, resume=True).write(c_png="3").killed()
    assert Run(out, resume=True).finish().keys() == {"a.png", "c.png", "results.csv"}


@pytest.mark.parametrize("journal", [False, True])
def test_a_list_leads_nowhere_out_of_the_folder(tmp_path, out, journal):
    precious, hidden = tmp_path / "precious", tmp_path / "hidden"
    precious.write_text("mine")
    hidden.mkdir()
    (hidden / "a.png").write_text("mine")
    out.mkdir()
    (out / "link.png").symlink_to(precious)
    (out / "folder").symlink_to(hidden)
    (out / "deeper").mkdir()
    (out / "deeper" / "link").symlink_to(hidden)
    names = ["../precious", str(precious), "link.png", "folder/a.png", "deeper/link/a.png", "..",
             "deeper/../../precious", "", ".", "a\0b", "x" * 5000, "..\\precious",
             "deeper", "C:precious", "./../precious", "//precious"]  # fmt: skip
    if journal:
        (out / "partial").mkdir()
        lines = [json.dumps({"path": name, "sha256": hash_of("mine")}) for name in names]
        (out / "partial" / "files.jsonl").write_text("\n".join(lines))
    else:
        run = {"finished": True, "settings": {}, "files": dict.fromkeys(names, hash_of("mine"))}
        (out / "run.json").write_text(json.dumps(run))
    assert Run(out).finish().keys() == {"results.csv"}
    assert precious.read_text() == (hidden / "a.png").read_text() == "mine"
    assert (out / "link.png").is_symlink()
    assert (out / "folder").is_symlink()
    assert (out / "deeper" / "link").is_symlink()


@pytest.mark.parametrize(
    "text",
    ["[", "[]", "7", "[" * 100_000, '{"finished": true, "settings": {}, "files": [1]}',
     '{"finished": true, "settings": {}, "files": {"a.png": 7}}', '{"files": {"a.png": "MINE"}}',
     "\udcff"],
)  # fmt: skip
def test_a_list_that_is_none_lists_nothing(out, text):
    out.mkdir()
    (out / "a.png").write_text("mine")
    text = text.replace("MINE", hash_of("mine"))
    (out / "partial").mkdir()
    for name in ("run.json", "partial/files.jsonl"):
        (out / name).write_bytes(text.encode("utf-8", "surrogateescape"))
    Run(out).finish()
    assert (out / "a.png").read_text() == "mine"


@pytest.mark.parametrize("name", ["partial", "images", "checkpoint"])
def test_a_folder_that_is_a_link_is_not_written_into(tmp_path, out, name):
    (tmp_path / "elsewhere").mkdir()
    out.mkdir()
    (out / name).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="is a link"):
        Ledger(out)


def test_batches_of_nobody_are_refused(out):
    (out / "partial").mkdir(parents=True)
    (out / "partial" / "000001.csv").write_text("mine")
    for resume in (False, True):
        with pytest.raises(InputError, match="before any run"):
            RunFolder(out, SETTINGS, resume=resume)
    assert (out / "partial" / "000001.csv").read_text() == "mine"


def test_a_named_part_goes_early(out):
    Run(out).write(images__a_png="1", b_png="2", c_png="3").finish()
    (out / "images" / "holiday.png").write_text("mine")
    run = Run(out)
    run.ledger.remove_earlier(["images/", "c.png", "run.json"])
    assert listing(out) - {"partial/files.jsonl", "partial/settings.json"} == {
        "images/holiday.png",
        "b.png",
        "results.csv",
    }
    run.finish()
    assert not (out / "b.png").exists()


def test_what_is_read_is_neither_written_nor_removed(out):
    Run(out).write(a_png="1", b_png="2").finish()
    run = Run(out)
    run.ledger.protect(out / "a.png", "--picture")
    with pytest.raises(AuditError, match=r"a\.png' \(--picture\)"):
        run.write(a_png="new")
    run.finish()
    assert (out / "a.png").read_text() == "1"
    assert not (out / "b.png").exists()


def test_undo_takes_what_was_written_and_nothing_else(out):
    out.mkdir()
    (out / "user.txt").write_text("mine")
    run = Run(out).write(a_png="1", b_png="2", images__c_png="3")
    (out / "b.png").write_text("changed by its user")
    (out / "images" / "user.txt").write_text("mine")
    run.ledger.undo()
    run.killed()
    assert listing(out) == {"user.txt", "b.png", "images/user.txt"}


def test_a_journal_that_cannot_be_written_prevents_the_file(out, monkeypatch):
    run = Run(out)
    before = Path.open

    def full(self, mode="r", *args, **kwargs):
        if self.name == "files.jsonl":
            raise OSError(errno.ENOSPC, "No space left on device")
        return before(self, mode, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", full)
        with pytest.raises(AuditError, match="disk full"):
            run.write(a_png="1")
    assert not (out / "a.png").exists()
    assert os.listdir(out) == ["partial"]
    run.killed()
