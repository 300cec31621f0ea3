"""What the user sees while it runs: results on stdout, progress and errors on stderr."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from saliency_audit.visible import no_command, one_line, visible


class _Safe(Console):
    """A console on which names of others are read and never obeyed.

    All that is printed as text goes through `render_str`: lines, and the cells, heads and titles
    of tables.
    """

    def render_str(self, text: str, **options: Any) -> Text:
        """Text with its markup, where control characters and a CI server's commands are shown."""
        return super().render_str(no_command(visible(text)), **options)


results = _Safe(highlight=False, emoji=False)
errors = _Safe(stderr=True, highlight=False, emoji=False)

LINES_EVERY = 10.0
"""Seconds between lines of progress where there is no terminal."""

Advance = Callable[[int, int], None]


def tell(head: str, line: str) -> None:
    """Print a line on stderr: one line, whatever is in it.

    Args:
        head: what kind of line it is, in markup.
        line: text of any origin.
    """
    errors.print(head, escape(one_line(line)), soft_wrap=True)


def note(line: str) -> None:
    """Print a line on stderr."""
    errors.print(escape(line), soft_wrap=True)


def write(text: str) -> None:
    """Print a file's text on stdout as it is."""
    sys.stdout.write(text)


def show(*things: Any) -> None:
    """Print the answer on stdout.

    Args:
        things: lines with markup, which are not wrapped, and tables.
    """
    for thing in things:
        if isinstance(thing, Table):
            # Cells are in lines already; lines too long beat half words.
            needed = results.measure(thing, options=results.options.update(width=1000)).maximum
            results.print(thing, width=max(needed, results.width), crop=False)
        else:
            results.print(thing, soft_wrap=True)


def width() -> int:
    """Characters of a line on stdout."""
    return results.width


@contextmanager
def progress(what: str, *, quiet: bool) -> Iterator[Advance]:
    """Yield ``advance(done, total)``: a bar with the time left, or a plain line now and then.

    Args:
        what: is being done, a few words.
        quiet: show nothing.
    """
    what = one_line(what)
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
            task = bar.add_task(escape(what), total=None)
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
            about = f"{done} of {total}, about {left:.0f} s left"
            errors.print(f"{escape(what)}: {about}", soft_wrap=True)

    return advance
