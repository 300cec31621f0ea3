"""What the user sees while it runs: results on stdout, progress and errors on stderr."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

results = Console(highlight=False, emoji=False)
errors = Console(stderr=True, highlight=False, emoji=False)

LINES_EVERY = 10.0
"""Seconds between lines of progress where there is no terminal."""

Advance = Callable[[int, int], None]


@contextmanager
def progress(what: str, *, quiet: bool) -> Iterator[Advance]:
    """Yield ``advance(done, total)``: a bar with the time left, or a plain line now and then.

    Args:
        what: is being done, a few words.
        quiet: show nothing.
    """
    if quiet:
        yield lambda done, total: None
    elif errors.is_terminal:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=errors, transient=True) as bar:
            task = bar.add_task(what, total=None)
            yield lambda done, total: bar.update(task, completed=done, total=total)
    else:
        yield _lines(what)


def _lines(what: str) -> Advance:
    start = last = time.monotonic()

    def advance(done: int, total: int) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= LINES_EVERY and done:
            last = now
            left = (now - start) / done * (total - done)
            errors.print(f"{what}: {done} of {total}, about {left:.0f} s left", soft_wrap=True)

    return advance
