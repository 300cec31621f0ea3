"""A run harms nothing but its own folder, and in there only what runs wrote."""

import json
import subprocess
import sys
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from shutil import copyfile

import pandas as pd
import pytest

from saliency_audit.commands.output import refuse_folders_apart
from saliency_audit.errors import InputError
from saliency_audit.report.folder import RunFolder
from saliency_audit.report.lock import LOCK
from tests.two_processes import two_processes

FEW = ("--max-samples", 4, "--saliency", "gradient")
ARCH = "saliency_audit.assets.fashion_mnist_cnn:FashionMnistCnn"
TRAIN = ("--objective", "cross-entropy", "--max-train", 64, "--max-val", 16, "--max-steps", 2,
         "--max-samples", 2)  # fmt: skip
COMMANDS = {
    "fool": FEW,
    "attack": (*FEW, "--measure", "gradient", "--steps", 2),
    "evaluate": (*FEW, "--metric", "deletion", "--steps", 4),
    "finetune": TRAIN,
    "gate": ("--max-samples", 8, "--policy", "policy.toml"),
}


@pytest.fixture
def audit(run):
    """Run a command on few images, into ``out``."""
    few = "[data]\nmin_images = 8\n"
    Path("policy.toml").write_text(few + '[[check]]\nmetric = "accuracy"\nat_least = 0.1\n')

    def command(name, *more):
        return run(name, *COMMANDS[name], "--output-dir", "out", *more)

    return command


def files(folder="out"):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in Path(folder).rglob("*")
        if path.is_file()
    }


def listed(folder="out"):
    return json.loads(Path(folder, "run.json").read_text())["files"]


def hashes(content):
    return {name: sha256(data).hexdigest() for name, data in content.items() if name != "run.json"}


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(name, marks=[pytest.mark.slow] * (name in ("finetune", "fool")))
        for name in COMMANDS
    ],
)
def test_run_json_lists_all_files_and_the_next_run_replaces_them(audit, command):
    for _ in range(2):
        ran = audit(command)
        assert ran.code == 0, ran.err
        assert listed() == hashes(files())
    ran = audit("gate" if command != "gate" else "evaluate")
    assert ran.code == 0, ran.err
    assert listed() == hashes(files())


@pytest.mark.slow
def test_what_its_user_put_or_changed_there_stays(audit):
    assert audit("fool").code == 0
    mine = {
        "logit-shift-my-notes.png": b"mine",
        "loss-sine.png": b"changed",
        "loss-sine-2.png": b"no page of the report",
        "model.safetensors": b"mine",
    }
    for name, content in mine.items():
        Path("out", name).write_bytes(content)
    assert Path("out/loss-sine.pt2").exists() or Path("out/loss-sine.pt").exists()
    ran = audit("fool", "--trick", "logit-shift")
    assert ran.code == 0, ran.err
    there = files()
    assert {name: there[name] for name in mine} == mine
    assert "loss-sine.pt2" not in there
    assert "loss-sine.pt" not in there
    assert listed().keys() == there.keys() - mine.keys() - {"run.json"}


@pytest.mark.slow
def test_an_earlier_training_goes_and_a_users_model_stays(audit):
    assert audit("finetune").code == 0
    Path("out/model.pt2").write_bytes(b"mine")
    ran = audit("finetune", "--lr", 5, "--min-accuracy", 1, "--checkpoint-every", 1)
    assert ran.code == 3, ran.err
    assert "is below --min-accuracy" in ran.err
    assert not Path("out/model.safetensors").exists()
    assert not Path("out/run.json").exists()
    assert Path("out/model.pt2").read_bytes() == b"mine"


@pytest.mark.slow
def test_a_checkpoint_of_another_training_is_not_resumed(audit):
    assert audit("finetune").code == 0
    copyfile("out/checkpoint/last.pt", "last.pt")
    Path("new/checkpoint").mkdir(parents=True)
    Path("new/partial").mkdir()
    copyfile("last.pt", "new/checkpoint/last.pt")
    settings = json.loads(Path("out/run.json").read_text())["settings"]
    Path("new/partial/settings.json").write_text(json.dumps(settings))
    ran = audit("finetune", "--output-dir", "new", "--resume")
    assert ran.code == 0, ran.err
    assert "resuming after step" not in ran.err


@pytest.mark.parametrize("command", ["fool", "attack", "evaluate"])
def test_stopped_and_resumed_it_lists_all_files(audit, command, monkeypatch):
    written = RunFolder.write

    def stop(folder, batch):
        written(folder, batch)
        raise KeyboardInterrupt

    whole = audit(command, "--batch-size", 2, "--output-dir", "whole")
    assert whole.code == 0, whole.err
    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, "write", stop)
        assert audit(command, "--batch-size", 2).code == 130
    assert not Path("out", LOCK).exists()
    ran = audit(command, "--batch-size", 2, "--resume")
    assert ran.code == 0, ran.err
    assert listed() == hashes(files())
    assert listed().keys() == listed("whole").keys()
    for name, content in files().items():
        if name.endswith(".csv"):
            assert content == Path("whole", name).read_bytes()


HOLD = """
import sys, time
from pathlib import Path
from saliency_audit.report.lock import FolderLock
held = FolderLock(Path(sys.argv[1]))
print(flush=True)
time.sleep(600)
"""


@contextmanager
def another_run():
    """A process that holds the folder until it is killed."""
    first = subprocess.Popen([sys.executable, "-c", HOLD, "out"], stdout=subprocess.PIPE)
    try:
        first.stdout.readline()
        yield first
    finally:
        first.kill()
        first.wait()
        first.stdout.close()


@pytest.mark.skipif(sys.platform == "win32", reason="kills as POSIX does")
def test_the_second_run_in_a_folder_is_refused_while_the_first_lives(audit):
    assert audit("evaluate").code == 0
    with another_run() as first:
        before = files()
        for more in ((), ("--resume",)):
            ran = audit("evaluate", *more)
            assert ran.code == 2
            last = ran.err.splitlines()[-1]
            assert f"process {first.pid} on " in last
            assert "folder 'out'" in last
        assert files() == before
    assert audit("evaluate").code == 0
    assert not Path("out", LOCK).exists()


def test_what_a_run_reads_is_not_written_over(audit):
    assert audit("fool", "--trick", "logit-shift").code == 0
    assert audit("finetune", "--output-dir", "trained").code == 0
    before = files(".")
    options = ("--channels", 1, "--size", 28)
    for arguments in (
        ("fool", "out/logit-shift.pt2", *options),
        ("fool", "--picture", "out/verdicts.png"),
        ("evaluate", "out/logit-shift.pt2", *options),
        ("evaluate", "--compare", "out/logit-shift.pt2"),
        ("finetune", "trained/model.safetensors", "--arch", ARCH, "--output-dir", "trained"),
        ("finetune", "--against", "trained/model.pt2", "--output-dir", "trained"),
        ("gate", "out/logit-shift.pt2", *options, "--mean", 0, "--std", 1),
    ):
        ran = audit(*arguments)
        assert ran.code == 2, (arguments, ran.err)
        assert "lies in output folder" in ran.err.splitlines()[-1]
        assert "--output-dir" in ran.err.splitlines()[-1]
        assert files(".") == before
    # A model of the user's own in the output folder is in nobody's way.
    copyfile("out/logit-shift.pt2", "trained/mine.pt2")
    ran = audit("evaluate", "trained/mine.pt2", *options, "--output-dir", "trained")
    assert ran.code == 0, ran.err
    assert Path("trained/mine.pt2").exists()


def test_images_that_a_list_elsewhere_names_are_not_removed(audit):
    assert audit("attack").code == 0
    manifest = pd.read_csv("out/images/manifest.csv")
    manifest["path"] = "out/images/" + manifest["path"]
    manifest.to_csv("list.csv", index=False)
    before = files()
    ran = audit("attack", "--data", "list.csv")
    assert ran.code == 2
    assert "where this run puts its own images" in ran.err
    assert files() == before


@pytest.mark.parametrize("there", [False, True])
def test_bad_input_takes_away_what_the_run_made_and_nothing_else(audit, monkeypatch, there):
    if there:
        Path("out/images").mkdir(parents=True)
        Path("out/mine.txt").write_text("mine")

    def impossible(*_, begin, **__):
        begin()
        Path("out/meanwhile.txt").write_text("mine")
        Path("out/partial/meanwhile.txt").write_text("mine")
        raise InputError("impossible")
        yield

    monkeypatch.setattr("saliency_audit.commands.evaluate.audit.evaluate", impossible)
    assert audit("evaluate").code == 2
    kept = {"meanwhile.txt", "partial/meanwhile.txt", *(["mine.txt"] if there else [])}
    assert files().keys() == kept
    assert Path("out/images").exists() == there


def test_a_folder_made_for_nothing_goes(audit, monkeypatch):
    def impossible(*_, begin, **__):
        begin()
        raise InputError("impossible")
        yield

    monkeypatch.setattr("saliency_audit.commands.evaluate.audit.evaluate", impossible)
    assert audit("evaluate", "--output-dir", "a/b/c").code == 2
    assert not Path("a").exists()


def test_a_list_of_strangers_removes_nothing_elsewhere(audit):
    Path("precious").write_text("mine")
    Path("out").mkdir()
    Path("out/link").symlink_to("../precious")
    names = ("../precious", str(Path("precious").resolve()), "link")
    run = {"finished": True, "settings": {}, "files": dict.fromkeys(names, hash_of("precious"))}
    Path("out/run.json").write_text(json.dumps(run))
    assert audit("evaluate").code == 0
    assert Path("precious").read_text() == "mine"
    assert Path("out/link").is_symlink()


def hash_of(name):
    return sha256(Path(name).read_bytes()).hexdigest()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="kills as POSIX does")
def test_several_processes_of_one_run_hold_it_together(audit):
    ran = two_processes("evaluate", *COMMANDS["evaluate"], "--batch-size", 2, "--output-dir", "out")
    assert ran.returncode == 0, ran.stderr
    assert listed() == hashes(files())
    before = files()
    with another_run():
        ran = two_processes(
            "evaluate", *COMMANDS["evaluate"], "--batch-size", 2, "--output-dir", "out"
        )
        assert ran.returncode != 0
        assert "is writing to output folder 'out'" in ran.stderr
        assert {name: content for name, content in files().items() if name != LOCK} == before


class TwoMachines:
    """What process 0 of two sees of them; the other one is on a machine with this folder."""

    world, main = 2, True

    def __init__(self, folder):
        self.folder = folder

    def gathered(self, value):
        if isinstance(value, str):
            self.there = (self.folder / value).is_file()
            return [value, None]
        return [value, self.there]


def test_machines_without_a_shared_disk_are_told_before_any_work(tmp_path):
    here, elsewhere = tmp_path / "here", tmp_path / "elsewhere"
    here.mkdir()
    elsewhere.mkdir()
    refuse_folders_apart(here, TwoMachines(here))
    with pytest.raises(InputError, match=r"process 1 of 2 does not see .*disk that all machines"):
        refuse_folders_apart(here, TwoMachines(elsewhere))
    assert not list(here.iterdir())
