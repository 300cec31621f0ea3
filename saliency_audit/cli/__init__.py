"""Options to one audit call to writers to an exit code; the only place that prints."""

import errno
import os
import sys
from typing import Annotated

import typer

from saliency_audit import __version__
from saliency_audit.cli import console
from saliency_audit.cli.catalog import catalog
from saliency_audit.cli.console import errors, tell
from saliency_audit.cli.typed import Command, Group, typed
from saliency_audit.commands.attack.command import COMMAND as ATTACK
from saliency_audit.commands.check.command import COMMAND as CHECK
from saliency_audit.commands.evaluate.command import COMMAND as EVALUATE
from saliency_audit.commands.finetune.command import COMMAND as FINETUNE
from saliency_audit.commands.gate.against import COMMAND as FOOL
from saliency_audit.commands.gate.command import COMMAND as GATE
from saliency_audit.commands.output import let_go
from saliency_audit.errors import AuditError, InputError
from saliency_audit.processes import leave

app = typer.Typer(
    name="saliency-audit",
    cls=Group,
    help="Audit the saliency maps of an image classifier: can they be forged or moved, and do "
    "they tell the truth? Model, data, mean and std of a project can stand in saliency-audit.toml.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
ENTRIES = (CHECK, FOOL, ATTACK, EVALUATE, FINETUNE, GATE)
for _entry in ENTRIES:
    app.command(_entry.name, cls=Command)(typed(_entry, console))
app.command("list", cls=Command)(catalog)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"saliency-audit {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    del version


def listed(arguments: list[str]) -> list[str]:
    """The arguments, with a repeatable option once for each part of a list after it.

    What is a file's whole name is no list.

    >>> listed(["fool", "--saliency", "gradient,gradcam", "--eps=1"])
    ['fool', '--saliency', 'gradient', '--saliency', 'gradcam', '--eps=1']
    """
    entry = next((entry for entry in ENTRIES if entry.name in arguments[:1]), None)
    many = {option.flag for option in entry.options if option.many} if entry else set()
    found: list[str] = []
    words = iter(arguments)
    for word in words:
        flag, joined, after = word.partition("=")
        value = after if joined else next(words, None) if flag in many else None
        if flag not in many or value is None:
            found.append(word)
            continue
        # Never raises, whatever stands there.
        parts = [value] if os.path.exists(value) else [part.strip() for part in value.split(",")]
        for part in parts:
            found += [f"{flag}={part}"] if joined else [flag, part]
    return found


STOPPED = 130
"""Exit code after Ctrl-C; Typer turns it into this code itself where it sees it first."""

_UsageProblem = typer.BadParameter.__mro__[1]
"""What Typer raises for wrong usage; its module has moved between releases."""


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit: 0 done, 1 refused, 2 wrong input, 3 failed, 130 stopped."""
    arguments = sys.argv[1:] if arguments is None else arguments
    debug = "--debug" in arguments
    try:
        code = app(listed(arguments), standalone_mode=False)
    except (Exception, KeyboardInterrupt) as error:
        if debug:
            raise
        # Without any argument the help stands there, which was what was asked for.
        code = _told(error, arguments) if arguments else 0
    finally:
        let_go()
    if code == STOPPED:
        errors.print("[bold]stopped[/bold]: finished batches are kept; add --resume to go on")
    leave(code if isinstance(code, int) else 0)


def _told(error: BaseException, arguments: list[str]) -> int:
    """Print one line about the error and return the exit code."""
    if isinstance(error, typer.Exit):
        return error.exit_code
    if isinstance(error, KeyboardInterrupt | typer.Abort):
        return STOPPED
    if isinstance(error, _UsageProblem):
        line, code = error.format_message(), 2  # type: ignore[attr-defined]
    elif isinstance(error, InputError):
        line, code = str(error), 2
    elif isinstance(error, AuditError):
        line, code = str(error), 3
    elif too_long := _too_long(error, arguments):
        line, code = too_long, 2
    else:
        kind = type(error).__name__
        line = f"{kind}: {error} (finished batches are kept; --resume goes on, --debug shows where)"
        code = 3
    tell("[bold red]error[/bold red]:", line)
    return code


def _too_long(error: BaseException, arguments: list[str]) -> str:
    """What to say of a file on the command line that no file can be called; else nothing."""
    if not isinstance(error, OSError) or error.errno != errno.ENAMETOOLONG:
        return ""
    name = str(error.filename or "")
    if not name or not any(name in word for word in arguments):  # the tool's own doing
        return ""
    return f"'{name[:40]}...' is {len(name):,} characters long, and no file's name is; give a path"
