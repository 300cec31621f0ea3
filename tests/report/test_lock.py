"""One run at a time in a folder, and none for ever."""

import errno
import json
import os
import signal
import subprocess
import sys
from contextlib import contextmanager

import pytest

from saliency_audit.errors import InputError
from saliency_audit.report import lock
from saliency_audit.report.lock import LOCK, FolderLock

HOLD = """
import os, sys, time
from pathlib import Path
from saliency_audit.report.lock import FolderLock
held = FolderLock(Path(sys.argv[1]))
child = os.fork() if sys.argv[2:] else 1
print(os.getpid() if child else "child", flush=True)
time.sleep(600)
"""

posix = pytest.mark.skipif(sys.platform == "win32", reason="kills as POSIX does")


@contextmanager
def another(folder, *options):
    """Another process that holds the folder."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder), *options], stdout=subprocess.PIPE, text=True
    )
    try:
        process.stdout.readline()
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@posix
def test_another_process_is_told_of_and_kept_out_until_it_dies(tmp_path):
    with another(tmp_path) as process:
        for _ in range(2):  # to be refused must not free it
            with pytest.raises(InputError) as refused:
                FolderLock(tmp_path)
        said = str(refused.value)
        assert f"process {process.pid} on " in said
        assert str(tmp_path) in said
        assert "--output-dir" in said
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert (tmp_path / LOCK).exists()
        FolderLock(tmp_path).release()
    assert list(tmp_path.iterdir()) == []


@posix
def test_children_that_read_images_do_not_keep_it(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path), "fork"],
        stdout=subprocess.PIPE, text=True, start_new_session=True,
        # Unbuffered, two processes print text and end of line in separate writes.
        env={name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"},
    )  # fmt: skip
    try:
        assert {process.stdout.readline().strip() for _ in range(2)} == {
            "child",
            str(process.pid),
        }
        process.send_signal(signal.SIGKILL)
        process.wait()
        FolderLock(tmp_path).release()
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()


def test_one_process_does_not_run_twice_in_a_folder(tmp_path):
    held = FolderLock(tmp_path)
    with pytest.raises(InputError, match=f"process {os.getpid()}, which is this one"):
        FolderLock(tmp_path)
    FolderLock(tmp_path / "..").release()
    held.release()
    held.release()
    FolderLock(tmp_path).release()


def test_a_file_that_the_run_before_removes_is_not_held(tmp_path, monkeypatch):
    before, locked = lock._lock, []

    def late(file):
        before(file)
        if not locked:
            (tmp_path / LOCK).unlink()
        locked.append(file)

    monkeypatch.setattr(lock, "_lock", late)
    held = FolderLock(tmp_path)
    assert len(locked) == 2
    assert json.loads((tmp_path / LOCK).read_text())["pid"] == os.getpid()
    held.release()


def test_a_link_in_its_place_is_not_written_through(tmp_path):
    (tmp_path / "precious").write_text("mine")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / LOCK).symlink_to(tmp_path / "precious")
    with pytest.raises(OSError):  # noqa: PT011
        FolderLock(tmp_path / "out")
    assert (tmp_path / "precious").read_text() == "mine"


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_without_locks_the_run_goes_on(tmp_path, monkeypatch, number):
    def none(file):
        raise OSError(number, "no locks")

    monkeypatch.setattr(lock, "_lock", none)
    held = FolderLock(tmp_path)
    assert not held.held
    assert list(tmp_path.iterdir()) == []
    held.release()


@pytest.mark.parametrize(
    "text", ["", "{", "[" * 500, '{"pid": "\\u001b[31m"}', '{"pid": 7, "host": "\\u001b[31m"}', "7"]
)
def test_what_the_file_says_is_not_believed_blindly(tmp_path, monkeypatch, text):
    def taken(file):
        raise BlockingIOError(errno.EAGAIN, "taken")

    (tmp_path / LOCK).write_text(text)
    monkeypatch.setattr(lock, "_lock", taken)
    with pytest.raises(InputError, match=r"another run \(process (unknown|7)\) is writing"):
        FolderLock(tmp_path)
    assert (tmp_path / LOCK).read_text() == text
