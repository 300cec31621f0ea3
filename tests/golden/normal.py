"""What a command left, as text that is the same whenever and wherever it ran."""

import csv
import io
import json
import re
from hashlib import sha256
from pathlib import Path
from typing import Any

from PIL import Image

TEXTS = {".csv", ".html", ".json", ".md", ".xml", ".txt", ".toml"}
_SECONDS, _VERSION, _VOLATILE = "<seconds>", "<version>", "<volatile>"

_DATE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(\+\d\d:\d\d|Z)?")
_PROGRESS = re.compile(r".*: [\d,]+ of [\d,]+, about \d+ s left")
_LAUNCHER = re.compile(r"\[?[WEIF]\d{4} \d\d:\d\d:\d\d.*|\[Gloo\].*|.*ProcessGroup.*|\*{20,}")
_PICTURE = re.compile(r"data:(image/\w+);base64,[A-Za-z0-9+/=]+")
_ROWS = re.compile(
    r"(<td>(?:seconds|versions|model passes)</td>\n<td>)([^<]*)(</td>)|(\btorch: )(\S+)"
)
_STEP = re.compile(r"step [\d,]+ of [\d,]+: .*")
_RESUMING = re.compile(r"(resuming: |resuming after step )[\d,]*\d")
_SPEED = re.compile(r" steps in [\d,.]+ s, about [\d,.]+ images a second")
_TABLE = re.compile(r"<table>.*?</table>", re.DOTALL)
_LAST_CELL = re.compile(r"[^<>]*(</td>\n</tr>)")
_TIMES = re.compile(r'\b(time|timestamp)="[^"]*"')


def terminal(text: str, paths: dict[str, str], *, stopped: bool) -> str:
    """Lines of the terminal without paths, and without those that depend on time.

    Args:
        text: of stdout or stderr.
        paths: what stands for each folder of this machine.
        stopped: whether how far the run had come is left out, too.
    """
    dropped = (_PROGRESS, _LAUNCHER, *([_STEP] if stopped else []))
    kept = [
        line
        for line in _without(text, paths).splitlines(keepends=True)
        if not any(pattern.fullmatch(line.rstrip("\n")) for pattern in dropped)
    ]
    return _DATE.sub("<date>", "".join(kept))


def file_text(path: Path, words: dict[str, str], *, stopped: bool) -> str:
    """The text of a written file, without what depends on time and place.

    Args:
        path: one whose suffix is among ``TEXTS``.
        words: what stands for folders and programs of this machine.
        stopped: whether passes of the last leg are left out, too.
    """
    with path.open(encoding="utf-8", newline="") as file:
        text = file.read()
    if path.name == "run.json":
        facts = _facts(json.loads(text), stopped)
        text = json.dumps(facts, indent=2, ensure_ascii=False) + "\n"
    elif path.suffix == ".csv":
        text = _table(text)
    elif path.suffix == ".html":
        text = _page(text, stopped)
    elif path.suffix == ".xml":
        text = _TIMES.sub(rf'\1="{_SECONDS}"', text)
    return _without(text, words)


_TIMED = (".html", ".xml", ".md", ".png", "checks.csv", "training.csv", "last.pt", "run.json")


def described(path: Path, text: str | None) -> str:
    """One line about a written file: the digest of its text, or what kind of file it is."""
    if text is not None:
        return f"sha256 {sha256(text.encode()).hexdigest()}"
    if path.suffix == ".png":
        with Image.open(path) as picture:
            return f"{picture.width} x {picture.height} pixels"
    if path.suffix == ".safetensors":
        return f"sha256 {sha256(path.read_bytes()).hexdigest()}"
    return "a file"


def _without(text: str, words: dict[str, str]) -> str:
    text = _RESUMING.sub(rf"\1{_VOLATILE}", text)
    for seen, word in words.items():
        text = text.replace(seen, word)
    return text


def _facts(value: Any, stopped: bool, key: str = "") -> Any:
    """``run.json`` in its order, with words for what changes."""
    if key == "seconds":
        return _SECONDS
    if key == "torch":
        return _VERSION
    if key == "versions":
        return dict.fromkeys(value, _VERSION)
    if key == "model_passes" and stopped:
        return _VOLATILE
    if key == "files" and isinstance(value, dict):
        # Files that hold times have another digest each time.
        return {name: _VOLATILE if name.endswith(_TIMED) else kept for name, kept in value.items()}
    if isinstance(value, dict):
        return {name: _facts(inner, stopped, name) for name, inner in value.items()}
    if isinstance(value, list):
        return [_facts(inner, stopped) for inner in value]
    return value


def _table(text: str) -> str:
    """A CSV file as it is, but for columns of times."""
    head = text.split("\n", 1)[0].rstrip("\r").split(",")
    timed = [i for i, name in enumerate(head) if name in ("seconds", "images_per_second")]
    if not timed:
        return text
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    for number, row in enumerate(csv.reader(io.StringIO(text))):
        writer.writerow([_SECONDS if number and i in timed else c for i, c in enumerate(row)])
    return out.getvalue()


def _page(text: str, stopped: bool) -> str:
    """A page without its pictures, times and versions."""
    text = _PICTURE.sub(r"data:\1", text)
    text = _TABLE.sub(_timed_table, text)
    text = _SPEED.sub(f" steps in {_SECONDS}", text)

    def row(match: re.Match[str]) -> str:
        if match[4]:
            return f"{match[4]}{_VERSION}"
        passes = "model passes" in match[1]
        if passes and not stopped:
            return match[0]
        words = _VOLATILE if passes else _SECONDS if "seconds" in match[1] else _VERSION
        return f"{match[1]}{words}{match[3]}"

    return _ROWS.sub(row, text)


def _timed_table(match: re.Match[str]) -> str:
    """A table whose last column is one of seconds, without them."""
    head, _, body = match[0].partition("</thead>")
    if not head.rstrip().removesuffix("</tr>").rstrip().endswith(">seconds</th>"):
        return match[0]
    body = _LAST_CELL.sub(rf"{_SECONDS}\1", body)
    return f"{head}</thead>{body}"
