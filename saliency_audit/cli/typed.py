"""Declared options become the signature of a Typer command."""

import inspect
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer

from saliency_audit.commands.life import Entry
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

PARSERS: dict[str, tuple[Callable[[str], Any], str]] = {
    "fraction": (_fraction, "NUMBER"),
    "colour": (colour, "NUMBERS"),
    "sides": (sides, "SIDE|H,W"),
    "batch": (batch_size, "auto|N"),
}
"""How a kind is read, and what the help calls it."""


def typed(entry: Entry, screen: Screen) -> Callable[..., None]:
    """A Typer command with the options of an entry.

    Args:
        entry: the command; its first option is the argument.
        screen: what the user sees.
    """

    def called(context: typer.Context, **values: Any) -> None:
        plain = {key: _plain(value) for key, value in values.items()}
        for option in entry.options:
            _refuse_outside(option, plain[option.name])
        said = {
            key
            for key in plain
            if getattr(context.get_parameter_source(key), "name", "") == "COMMANDLINE"
        }
        if code := entry.run(Given(said=frozenset(said), **plain), screen):
            raise typer.Exit(code)

    parameters = [_parameter(option, argument=not at) for at, option in enumerate(entry.options)]
    context = inspect.Parameter("context", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)
    called.__signature__ = inspect.Signature([*parameters, context])  # type: ignore[attr-defined]
    called.__annotations__ = {p.name: p.annotation for p in (*parameters, context)}
    called.__doc__ = entry.help
    return called


def _parameter(option: Option, *, argument: bool) -> inspect.Parameter:
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
    parser, metavar = PARSERS.get(option.kind, (None, None))
    said: dict[str, Any] = {"help": option.help, "show_default": option.shown}
    if option.metavar or metavar:
        said["metavar"] = option.metavar or metavar
    if argument:
        info: Any = typer.Argument(**said)
    else:
        if parser is not None:
            said["parser"] = parser
        info = typer.Option(option.written or option.flag, rich_help_panel=option.panel, **said)
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
