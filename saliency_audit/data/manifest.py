"""A CSV file that names pictures and their labels."""

from pathlib import Path, PurePosixPath

import numpy as np

from saliency_audit.data.dataset import NO_LABEL, ImageData, labels_fit
from saliency_audit.data.files import ReadFile, Sizes, files_fit
from saliency_audit.data.request import Request
from saliency_audit.data.table import rows
from saliency_audit.errors import InputError

COLUMNS = ("path", "label")


def manifest(place: str, request: Request) -> ImageData:
    """Pictures named by the rows of a CSV file, in its order.

    ``path`` is relative to the file's own folder; ``label`` is the model's class index, or empty.
    Other columns are kept (``ImageData.extra``).

    Raises:
        InputError: not such a file, or a row that cannot be right; names the line and the value.
    """
    path = Path(place).expanduser()
    if request.classes_file is not None:
        raise InputError("--classes is for folders; in a manifest, label is the class index itself")
    names: list[str] = []
    lines: list[int] = []
    labels: list[int] = []
    extras: dict[str, dict[str, str]] = {}
    first_line: dict[str, int] = {}
    for line, row in rows(path, COLUMNS):
        name, label = row.pop("path").strip(), row.pop("label").strip()
        if not name or "\0" in name:
            raise InputError(f"{path} line {line}: the path is empty; name a picture")
        name = PurePosixPath(name).as_posix()
        if name in first_line:
            raise InputError(
                f"{path} line {line}: {name} stands in line {first_line[name]} already; results "
                "go by the name, so keep one of them"
            )
        first_line[name] = line
        names.append(name)
        lines.append(line)
        labels.append(_label(label, f"{path} line {line}"))
        if row:
            extras[name] = row
    if not names:
        raise InputError(f"{path} names no pictures; add rows of path,label")
    indices = np.array(labels, np.int64)
    called = [f"{path} line {line}: {name}" for line, name in zip(lines, names, strict=True)]
    labels_fit(called, indices, request.outputs)
    sizes = Sizes(path.parent, names)
    if all(size < 0 for size in sizes):
        raise InputError(
            f"{path}: none of its {len(names)} pictures exists, such as {path.parent / names[0]}; "
            "paths are relative to the folder of the file"
        )
    reader = ReadFile(path.parent, names, request.prepare)
    files_fit(reader)
    return ImageData(
        name=path.name,
        names=names,
        labels=indices,
        sizes=sizes,
        read=reader,
        input_shape=request.prepare.input_shape,
        notes=_notes(path, labels),
        extras=extras,
    )


def _label(text: str, where: str) -> int:
    if not text:
        return NO_LABEL
    # Tables with gaps in a column of whole numbers are often written as "3.0".
    whole = text.removesuffix(".0")
    if not (whole.isascii() and whole.isdigit() and len(whole) < 10):
        raise InputError(
            f"{where}: label '{text}' is no class index; give a whole number from 0, or nothing"
        )
    return int(whole)


def _notes(path: Path, labels: list[int]) -> list[str]:
    without = labels.count(NO_LABEL)
    if not without:
        return []
    return [
        f"{without} of {len(labels)} images in {path} have no label; checks that need labels are "
        "undefined there"
    ]
