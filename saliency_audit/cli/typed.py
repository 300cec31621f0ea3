"""Declared options become the signature of a Typer command."""

import inspect
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from typer.core import TyperCommand, TyperGroup

from saliency_audit.cli.defaults import defaults
from saliency_audit.commands.life import Entry
from saliency_audit.commands.options import DATA, MODEL, RUN, refuse_twice
from saliency_audit.commands.setup import Screen
from saliency_audit.errors import InputError
from saliency_audit.options import Given, Option, fraction, word_or_number
from saliency_audit.ranges import refuse_outside


class Colour(tuple[float, ...]):
    """One number for all channels, or one for each."""


def colour(text: str) -> Colour:
    """Numbers separated by commas.

    >>> colour("0.485,0.456,0.406")
    (0.485, 0.456, 0.406)
    """
    try:
        return Colour(float(part) for part in text.strip("[]() ").split(","))
    except ValueError:
        raise typer.BadParameter(
            f"'{text}' is not a number or a list such as 0.485,0.456,0.406"
        ) from None


class Sides(tuple[int, ...]):
    """One side for height and width, or both."""


def sides(text: str) -> Sides:
    """A side, or a height and a width.

    >>> sides("224"), sides("16,32"), sides("16x32")
    ((224,), (16, 32), (16, 32))
    """
    try:
        return Sides(int(part) for part in text.strip("[]() ").replace("x", ",").split(","))
    except ValueError:
        raise typer.BadParameter(
            f"'{text}' is neither a side such as 224 nor HEIGHT,WIDTH such as 240,320"
        ) from None


def batch_size(text: str) -> str:
    """``auto`` or a number of images."""
    if text == "auto":
        return text
    try:
        images = int(text)
    except ValueError:
        raise typer.BadParameter(f"'{text}' is neither auto nor a number of images") from None
    return str(images)


def _fraction(text: str | float) -> float:
    try:
        return fraction(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


TYPES: dict[str, type] = {
    "text": str,
    "whole": int,
    "number": float,
    "fraction": float,
    "flag": bool,
    "switch": bool,
    "path": Path,
    "colour": Colour,
    "sides": Sides,
    "batch": str,
    "fill": str,
}

PARSERS: dict[str, Callable[[str], Any]] = {
    "fraction": _fraction,
    "colour": colour,
    "sides": sides,
    "batch": batch_size,
}
"""How a kind is read where its type does not say."""
CALLED = {
    "text": "TEXT",
    "whole": "N",
    "number": "NUMBER",
    "fraction": "NUMBER",
    "flag": "",
    "switch": "",
    "path": "PATH",
    "colour": "NUMBERS",
    "sides": "SIDE|H,W",
    "batch": "auto|N",
    "fill": "WORD|NUMBER",
}
"""What the help calls a value of a kind; a flag has none."""
_ORDER = {MODEL: 0, DATA: 1, RUN: 3}
"""Of the panels of the help: all others are the command's own."""


class Command(TyperCommand):
    """A command whose help names no type of a flag."""

    def get_params(self, ctx: Any) -> Any:
        """As Typer has them, with ``--help`` among the options of the run."""
        return _plainly(super().get_params(ctx), RUN)


class Group(TyperGroup):
    """The command that has the others; likewise."""

    def get_params(self, ctx: Any) -> Any:
        """As Typer has them."""
        return _plainly(super().get_params(ctx), None)


def _plainly(parameters: list[Any], panel: str | None) -> list[Any]:
    for parameter in parameters:
        if getattr(parameter, "is_flag", False):
            parameter.metavar = ""
        if parameter.name == "help":
            parameter.rich_help_panel = panel
    return parameters


def typed(entry: Entry, screen: Screen) -> Callable[..., None]:
    """A Typer command with the options of an entry.

    Args:
        entry: the command; its first option is the argument.
        screen: what the user sees.
    """

    def called(context: typer.Context, **values: Any) -> None:
        del values["help_all"]
        plain = {key: _plain(value) for key, value in values.items()}
        for option in entry.options:
            _refuse_outside(option, plain[option.name])
        said = {
            key
            for key in plain
            if getattr(context.get_parameter_source(key), "name", "") == "COMMANDLINE"
        }
        found = defaults(Path.cwd())
        taken = found.under(plain, said)
        notes = (found.note(taken),) if taken else ()
        if code := entry.run(Given(said=frozenset(said), notes=notes, **(plain | taken)), screen):
            raise typer.Exit(code)

    refuse_twice(entry.name, entry.options)
    argument, *options = entry.options
    options.sort(key=lambda option: _ORDER.get(option.panel or "", 2))
    parameters = [
        _parameter(argument, argument=True),
        *(_parameter(option, title=entry.name.capitalize()) for option in options),
        inspect.Parameter(
            "help_all", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=_HELP_ALL
        ),
        inspect.Parameter("context", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context),
    ]
    called.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    called.__annotations__ = {p.name: p.annotation for p in parameters}
    called.__doc__ = entry.help
    return called


def _all_shown(context: typer.Context, wanted: bool) -> None:
    if wanted:
        for parameter in context.command.params:
            if hasattr(parameter, "hidden"):
                parameter.hidden = False
        typer.echo(context.get_help())
        raise typer.Exit


_HELP_ALL = Annotated[
    bool,
    typer.Option(
        "--help-all",
        callback=_all_shown,
        is_eager=True,
        rich_help_panel=RUN,
        help="Show every option, experts' too, and exit.",
    ),
]


def said_by_help(option: Option) -> str:
    """What the help says of an option: a sentence, and what it is unless it is given.

    >>> said_by_help(Option("device", default="auto", help="Where it runs."))
    'Where it runs. Default: auto.'
    """
    if option.default is None or not option.shown or option.kind in ("flag", "switch"):
        return option.help
    number = isinstance(option.default, float)
    return f"{option.help} Default: {f'{option.default:g}' if number else option.default}."


def _parameter(option: Option, *, argument: bool = False, title: str = "") -> inspect.Parameter:
    kind: Any = TYPES[option.kind]
    if option.choices and option.kind != "fill":
        kind = _one_of(option)
    default = option.default
    if option.choices and option.kind != "fill" and default is not None:
        default = kind(default)
    if option.many:
        kind = list[kind]
    if default is None:
        kind = kind | None
    said: dict[str, Any] = {
        "help": escape(said_by_help(option)),
        "show_default": False,
        "metavar": option.metavar or "|".join(option.choices) or CALLED[option.kind],
        "rich_help_panel": None if argument else option.panel or title,
        "hidden": not option.common,
    }
    if argument:
        info: Any = typer.Argument(**said)
    else:
        if option.kind in PARSERS:
            said["parser"] = PARSERS[option.kind]
        info = typer.Option(option.written or option.flag, **said)
    return inspect.Parameter(
        option.name,
        inspect.Parameter.KEYWORD_ONLY,
        default=default,
        annotation=Annotated[kind, info],
    )


def _refuse_outside(option: Option, value: Any) -> None:
    """Refuse a number beyond the option's range.

    Raises:
        InputError: it is.
    """
    if option.kind == "batch" and value != "auto":
        value = int(value)
    if option.kind == "fill" and value is not None:
        try:
            word_or_number(value, option)
        except ValueError as error:
            raise InputError(option=option.name, value=value, fix=str(error)) from error
    elif option.range is not None:
        refuse_outside(value, option.range, option=option.name)


def _one_of(option: Option) -> Any:
    """What Typer takes choices from."""
    return Enum(option.name, {choice: choice for choice in option.choices}, type=str)


def _plain(value: Any) -> Any:
    """Values without Typer's own types."""
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value.value if isinstance(value, Enum) else value
