"""What the classes are called, for people; no number depends on it."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from saliency_audit.errors import InputError
from saliency_audit.regular import refuse_irregular

if TYPE_CHECKING:
    import pandas as pd

_OPTION = "--class-names"
_MOST = 1 << 24  # bytes; 1,000 names have some 15,000
_FORMS = "give one name a line, or JSON: a list, or an object from index to name"


def read_class_names(file: Path, outputs: int) -> list[str]:
    """Names of a model's classes, from 0 on.

    Args:
        file: one name a line; or JSON, a list or an object from index to name. A name may be a list
            that ends with it, as in Keras' ``imagenet_class_index.json``.
        outputs: of the model.

    Raises:
        InputError: it cannot be read, or has not a name for each output.
    """
    path = file.expanduser()
    refuse_irregular(path, _OPTION)
    try:
        if path.stat().st_size > _MOST:
            raise InputError(f"{_OPTION} {file} has more than {_MOST:,} bytes; {_FORMS}")
        text = path.read_text(encoding="utf-8-sig").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{_OPTION} {file} cannot be read: {error}") from error
    names = _of_json(text, file) if text[:1] in ("[", "{") else text.splitlines()
    if len(names) != outputs:
        raise InputError(
            f"{_OPTION} {file} has {len(names)} names and the model has {outputs} classes; give a "
            "name for each, that of class 0 first"
        )
    return [name.strip() for name in names]


def _of_json(text: str, file: Path) -> list[str]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{_OPTION} {file} is no JSON ({error}); {_FORMS}") from error
    if isinstance(found, dict):
        found = [found.get(str(i)) for i in range(len(found))]
    names = [one[-1] if isinstance(one, list) and one else one for one in found]
    wrong = next((i for i, name in enumerate(names) if not isinstance(name, str)), None)
    if wrong is not None:
        raise InputError(f"{_OPTION} {file} has no name of class {wrong}; {_FORMS}")
    return names


def called(index: Any, names: Sequence[str] | None) -> str:
    """A class in a word.

    >>> called(1, ["cat", "dog"]), called(1, None)
    ('dog', 'class 1')
    """
    known = names[int(index)] if names and int(index) < len(names) else ""
    return known or f"class {int(index)}"


def explained(rows: "pd.DataFrame", names: Sequence[str] | None) -> Mapping[str, str]:
    """What stands below each image: the class that its maps explain; its label where another.

    Args:
        rows: results; of several models the first counts.
        names: of the classes; None where nobody knows.

    Returns:
        One line or two, by image.
    """
    known = rows[(rows["saliency"] != "") & rows["target"].notna()].drop_duplicates("image")
    numbers = (known[name].fillna(-1).astype(int) for name in ("label", "target"))
    return {
        image: called(target, names)
        + (f"\nlabel: {called(label, names)}" if label not in (-1, target) else "")
        for image, label, target in zip(known["image"], *numbers, strict=True)
    }
