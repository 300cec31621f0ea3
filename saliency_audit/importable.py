"""A user's own modules: found in a folder of theirs, and never in the place of a library."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path


@contextmanager
def importable(folder: Path) -> Iterator[None]:
    """Inside, modules are looked for in a folder too, after everything that is installed.

    Before it, a file called ``random.py`` beside the user's own would be taken by the libraries
    that import theirs late.

    Args:
        folder: absolute.
    """
    place = str(folder)
    if place in sys.path:
        yield
        return
    sys.path.append(place)
    try:
        yield
    finally:
        if place in sys.path:
            sys.path.remove(place)


def namesake(module: str, folder: Path) -> str:
    """Why a module of a folder is not the one that is imported, if that is so.

    Args:
        module: its name, with dots.
        folder: where the user may mean it to be.

    Returns:
        The end of a message; empty where the folder has no such module, or where it is that one.
    """
    top = module.partition(".")[0]
    own = next((name for name in (f"{top}.py", top) if (folder / name).exists()), None)
    try:
        spec = find_spec(top) if own else None
    except (ImportError, ValueError):
        return ""
    if spec is None or (spec.origin or "").startswith(str(folder)):
        return ""
    return (
        f"; {top} is an installed library ({spec.origin or 'a namespace'}), which goes before "
        f"{own} in {folder}: rename yours"
    )
