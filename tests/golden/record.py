"""Record what the command line says and writes, to see that a refactoring changes nothing.

python -m tests.golden.record --into FOLDER [--only NAME] [--jobs 1] [--checkout DIR]
python -m tests.golden.record --compare FOLDER_A FOLDER_B [--only NAME]

Each case of ``cases.py`` runs in a fresh working folder, with its inputs beside it. FOLDER/NAME
then has, for each command line, ``N-command.txt``, ``N-exit.txt``, ``N-stdout.txt`` and
``N-stderr.txt``; ``files.txt``, what was written; and ``files/``, the text of it. Seconds, dates,
versions and paths of this machine are replaced by words.
"""

import argparse
import os
import resource
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from fnmatch import fnmatch
from functools import partial
from hashlib import sha256
from pathlib import Path

from tests.golden import inputs
from tests.golden.cases import CASES, Case, Step
from tests.golden.compare import compare
from tests.golden.normal import TEXTS, described, file_text, terminal

HERE = Path(__file__).resolve().parents[2]
LONGEST = 300.0
"""Seconds after which a command is ended."""

KEPT = ("PATH", "HOME", "TMPDIR", "LD_LIBRARY_PATH", "SYSTEMROOT")
"""Variables of this shell that a command sees."""

LAUNCHER = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node")


def main() -> int:
    """Run the script; 1 if two recordings differ."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    doing = parser.add_mutually_exclusive_group(required=True)
    doing.add_argument("--into", type=Path, metavar="FOLDER", help="where the recording goes")
    doing.add_argument("--compare", type=Path, nargs=2, metavar="FOLDER", help="two recordings")
    doing.add_argument("--names", action="store_true", help="list the cases")
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help="or a pattern")
    parser.add_argument("--jobs", type=int, default=1, help="cases at a time")
    parser.add_argument("--checkout", type=Path, default=HERE, help="what is recorded")
    given = parser.parse_args()
    if given.compare:
        return compare(*given.compare, given.only)
    names = [n for n in CASES if not given.only or any(fnmatch(n, one) for one in given.only)]
    if not names:
        parser.error(f"no such case; known: {', '.join(CASES)}")
    if given.names:
        print("\n".join(names))
        return 0
    checkout = given.checkout.resolve()
    _check(checkout)
    # A shell starts what runs in the background deaf to Ctrl-C, and so would its children be.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with tempfile.TemporaryDirectory(prefix="golden-") as scratch:
        return _record_all(names, given.into, checkout, Path(scratch).resolve(), given.jobs)


def _check(checkout: Path) -> None:
    """Refuse a checkout whose package is not the one that Python finds."""
    script = "import saliency_audit; print(saliency_audit.__file__)"
    found = subprocess.run(
        [sys.executable, "-c", script],
        env=_environment(checkout, {}), cwd="/", capture_output=True, text=True, check=True,
    ).stdout.strip()  # fmt: skip
    if not Path(found).resolve().is_relative_to(checkout):
        sys.exit(f"{sys.executable} takes saliency_audit from {found}, not from {checkout}")


def _record_all(names: list[str], into: Path, checkout: Path, scratch: Path, jobs: int) -> int:
    made = scratch / "inputs"
    made.mkdir()
    inputs.make(made, HERE / "saliency_audit" / "assets")
    into.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    record = partial(_record, into=into.resolve(), checkout=checkout, scratch=scratch)
    with ThreadPoolExecutor(jobs) as pool:
        for name, seconds in zip(names, pool.map(record, names), strict=True):
            print(f"{name:24}{seconds:7.1f} s, {len(CASES[name].steps)} commands", flush=True)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(
        f"{len(names)} cases in {time.monotonic() - started:.0f} s, "
        f"{used.ru_utime + used.ru_stime:.0f} s of a core: {into}"
    )
    return 0


def _record(name: str, *, into: Path, checkout: Path, scratch: Path) -> float:
    """Run a case and write down what came of it; the seconds it took."""
    case, work, out = CASES[name], scratch / name, into / name
    shutil.copytree(scratch / "inputs", work)
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    paths = {str(work): "<here>", str(checkout): "<checkout>", sys.prefix: "<python>"}
    before = dict(_stamps(work))
    started = time.monotonic()
    for number, step in enumerate(case.steps, start=1):
        ran = _run(step, work, checkout)
        told = dict(zip(("stdout", "stderr"), ran[1:], strict=True))
        _write(out / f"{number:02}-command.txt", f"{shlex.join(step.arguments)}\n")
        _write(out / f"{number:02}-exit.txt", f"{ran[0]}\n")
        for kind, text in told.items():
            _write(out / f"{number:02}-{kind}.txt", terminal(text, paths, stopped=case.stopped))
    seconds = time.monotonic() - started
    _write_files(case, work, out, paths, before)
    shutil.rmtree(work)
    return seconds


def _write_files(
    case: Case, work: Path, out: Path, paths: dict[str, str], before: dict[Path, object]
) -> None:
    """The list of what was written, changed or removed, and its text."""
    after = dict(_stamps(work))
    words = paths | _programs(work)
    listed = [f"{path}: removed" for path in before if path not in after]
    for path, stamp in after.items():
        if before.get(path) == stamp:
            continue
        file, text = work / path, None
        if file.is_dir():
            if not any(file.iterdir()):
                listed.append(f"{path}: an empty folder")
            continue
        if file.suffix in TEXTS:
            text = file_text(file, words, stopped=case.stopped)
            _write(out / "files" / path, text)
        listed.append(f"{path}: {described(file, text)}")
    _write(out / "files.txt", "".join(f"{line}\n" for line in sorted(listed)))


def _programs(work: Path) -> dict[str, str]:
    """Words for the digests of exported programs, which hold paths of this machine's modules."""
    programs = [path for path in sorted(work.rglob("*.pt*")) if path.suffix in (".pt", ".pt2")]
    return {
        sha256(path.read_bytes()).hexdigest(): f"<sha256 of {path.relative_to(work)}>"
        for path in programs
    }


def _stamps(folder: Path) -> Iterator[tuple[Path, object]]:
    """What is in a folder, and what tells that it was written to."""
    for path in sorted(folder.rglob("*")):
        if "__pycache__" in path.parts:
            continue
        about = path.stat()
        stamp = "folder" if path.is_dir() else (about.st_size, about.st_mtime_ns)
        yield path.relative_to(folder), stamp


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode("utf-8"))


def _environment(checkout: Path, more: dict[str, str]) -> dict[str, str]:
    """The same on every machine: one thread, no GPU, no terminal, no CI server."""
    kept = {name: os.environ[name] for name in KEPT if name in os.environ}
    fixed = {
        "PYTHONPATH": str(checkout),
        "OMP_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "",
        "COLUMNS": "100",
        "LANG": "C.UTF-8",
        "TERM": "dumb",
    }
    return kept | fixed | more


def _run(step: Step, work: Path, checkout: Path) -> tuple[str, str, str]:
    """Exit code, stdout and stderr of a command line."""
    launcher = () if step.processes == 1 else (*LAUNCHER, str(step.processes))
    command = [sys.executable, *launcher, "-m", "saliency_audit", *step.arguments]
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        process = subprocess.Popen(
            command, cwd=work, env=_environment(checkout, dict(step.environment)),
            stdin=subprocess.DEVNULL, stdout=out, stderr=err, start_new_session=True,
        )  # fmt: skip
        try:
            note = _wait(process, step, work)
        finally:
            _end(process)
        told = []
        for file in (out, err):
            file.seek(0)
            told.append(file.read().decode("utf-8", "replace"))
    return f"{process.returncode}{note}", told[0], told[1]


def _end(process: "subprocess.Popen[bytes]") -> None:
    """Leave nothing running; a launcher is given the time to end its processes."""
    if process.poll() is None:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(20)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _wait(process: "subprocess.Popen[bytes]", step: Step, work: Path) -> str:
    """Let it end, or stop it where the step says so; a remark if that was not possible."""
    limit = time.monotonic() + LONGEST
    while step.until and not any(work.glob(step.until)):
        if process.poll() is not None:
            return " before it could be stopped"
        if time.monotonic() > limit:
            return f" after {LONGEST:.0f} s, ended from outside"
        time.sleep(0.005)
    if step.until:
        process.send_signal(step.signal)
    try:
        process.wait(max(1.0, limit - time.monotonic()))
    except subprocess.TimeoutExpired:
        return f" after {LONGEST:.0f} s, ended from outside"
    return ""


if __name__ == "__main__":
    sys.exit(main())
