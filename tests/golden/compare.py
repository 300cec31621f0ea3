"""Two recordings beside each other."""

from collections.abc import Iterator
from difflib import unified_diff
from fnmatch import fnmatch
from pathlib import Path

MOST = 60
"""Lines of the difference of one file that are shown."""


def compare(a: Path, b: Path, only: list[str]) -> int:
    """Print a unified diff for each case that differs; 1 if any does."""
    names = sorted(
        {path.name for folder in (a, b) for path in folder.iterdir() if path.is_dir()},
    )
    names = [name for name in names if not only or any(fnmatch(name, one) for one in only)]
    differing, alone = [], []
    for name in names:
        if not (a / name).is_dir() or not (b / name).is_dir():
            alone.append(name)
            print(f"== {name}: only in {a if (a / name).is_dir() else b}")
            continue
        shown = list(_differences(a / name, b / name))
        if shown:
            differing.append(name)
            print(f"== {name}")
            print("\n".join(shown))
    same = len(names) - len(differing) - len(alone)
    print(f"{same} the same, {len(differing)} differ, {len(alone)} in one recording only")
    return int(bool(differing or alone or not names))


def _differences(a: Path, b: Path) -> Iterator[str]:
    files = {
        path.relative_to(folder)
        for folder in (a, b)
        for path in folder.rglob("*")
        if path.is_file()
    }
    for file in sorted(files):
        if not (a / file).is_file() or not (b / file).is_file():
            yield f"{file}: only in {a if (a / file).is_file() else b}"
            continue
        left, right = _lines(a / file), _lines(b / file)
        diff = list(unified_diff(left, right, str(a / file), str(b / file), n=1, lineterm=""))
        yield from diff[:MOST]
        if len(diff) > MOST:
            yield f"... {len(diff) - MOST} more lines of {file}"


def _lines(path: Path) -> list[str]:
    """Lines of a recorded file, with their ends where they are not the usual ones."""
    text = path.read_bytes().decode("utf-8")
    # XML comes as one line.
    return (text.replace("><", ">\n<") if path.suffix == ".xml" else text).split("\n")
