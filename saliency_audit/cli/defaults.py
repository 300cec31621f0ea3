"""Defaults of every command, from a file in the working folder."""

import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from saliency_audit.commands.options import ARGUMENT, OF_MODEL, OF_RUN, of_images
from saliency_audit.errors import InputError
from saliency_audit.options import Option
from saliency_audit.regular import refuse_irregular

FILE, PROJECT, TABLE = "saliency-audit.toml", "pyproject.toml", "saliency-audit"
_OF_MODEL = ("arch", "size", "channels", "mean", "std")
_NAMES = ("model", *_OF_MODEL, "data", "classes", "device")
_OPTIONS = {option.name: option for option in (ARGUMENT, *OF_MODEL, *of_images(1), *OF_RUN)}
KEYS: Mapping[str, Option] = {name: _OPTIONS[name] for name in _NAMES}
"""Options that a file may have defaults of."""


@dataclass(frozen=True)
class Defaults:
    """What a file says.

    Attributes:
        place: the file, and the table in it.
        values: by option. Paths are relative to the file, which lies in the working folder.
    """

    place: str = ""
    values: Mapping[str, Any] = field(default_factory=dict)

    def under(self, given: Mapping[str, Any], said: Collection[str]) -> dict[str, Any]:
        """Those that hold where some options stand on the command line.

        Args:
            given: the values of all options of a command.
            said: names of those that were given.

        Returns:
            By option. What the file says of its model's input goes for any model in a file, and
            not for one by name, which brings its own; its classes go for folders.
        """
        left = set(said)
        if "model" in said and not Path(given["model"]).exists():
            left.update(_OF_MODEL)
        if "data" in said and not Path(given["data"]).is_dir():
            left.add("classes")
        return {key: self.values[key] for key in self.values if key in given and key not in left}

    def note(self, taken: Mapping[str, Any]) -> str:
        """The line that tells the user.

        >>> Defaults("saliency-audit.toml").note({"data": "images", "mean": (0.5, 0.25)})
        'from saliency-audit.toml: data images, mean 0.5,0.25'
        """
        told = [
            f"{key} {','.join(f'{one:g}' for one in value) if isinstance(value, tuple) else value}"
            for key, value in taken.items()
        ]
        return f"from {self.place}: {', '.join(told)}"


def defaults(folder: Path) -> Defaults:
    """What ``saliency-audit.toml`` says, else ``[tool.saliency-audit]`` of ``pyproject.toml``.

    Raises:
        InputError: it cannot be read, has an unknown key, or a value that its option cannot have.
    """
    own, project = folder / FILE, folder / PROJECT
    if own.exists():
        return _checked(FILE, _read(own))
    # The file of a project belongs to other tools: it stops no run that it says nothing of.
    if not project.is_file() or TABLE.encode() not in project.read_bytes():
        return Defaults()
    return _checked(f"{PROJECT} [tool.{TABLE}]", _read(project).get("tool", {}).get(TABLE, {}))


def _read(path: Path) -> dict[str, Any]:
    refuse_irregular(path, "file")
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:  # TOML's own errors are ValueErrors, too
        raise InputError(f"{path.name} cannot be read: {error}") from error


def _checked(place: str, found: Mapping[str, Any]) -> Defaults:
    # It brings pandas, for which no help should wait.
    from saliency_audit.commands.gate.policy_values import checked

    try:
        values = checked(place, found, KEYS)
    except InputError as error:
        line = error.about(error.option)
        raise InputError(line if place in line else f"{place}: {line}") from error
    paths = {key: Path(values[key]) for key in values if KEYS[key].kind == "path"}
    return Defaults(place, values | paths)
