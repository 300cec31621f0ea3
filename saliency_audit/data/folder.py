"""A folder of class folders (torchvision's ImageFolder), or of pictures without labels."""

import os
from collections import Counter
from pathlib import Path

import numpy as np

from saliency_audit.data.dataset import NO_LABEL, ImageData
from saliency_audit.data.files import ReadFile, Sizes, files_fit, is_picture, named_in_text
from saliency_audit.data.images import EXTENSIONS
from saliency_audit.data.request import Request
from saliency_audit.data.walk import files_below, folders_below, is_folder
from saliency_audit.errors import InputError
from saliency_audit.regular import refuse_irregular

MOST_OF_CLASSES = 1 << 24
"""Bytes of a file of class folders; 1,000 classes have some 10,000."""

SPLITS = frozenset({"train", "training", "val", "valid", "validation", "test", "testing"})


def folder(place: str, request: Request) -> ImageData:
    """Pictures of a folder, in torchvision's order; hidden files and folders are left out.

    Each sub-folder is a class and may have folders in it. Its index is its line in
    ``request.classes_file``, counted from 0, else its place in sorted order; a folder without
    pictures keeps its index. Without sub-folders the pictures have no labels.

    Raises:
        InputError: no folder, no pictures, more classes than outputs, or colours that do not fit.
    """
    root = Path(place).expanduser()
    if not root.is_dir():
        raise InputError(f"--data {place}: there is no such folder")
    inside = [(entry.name, is_folder(entry)) for entry in _entries(root)]
    classes = sorted(name for name, folder in inside if folder)
    beside = sorted(name for name, folder in inside if not folder and is_picture(name))
    notes: list[str] = []
    back = next((name for name in classes if _leads_back(root, name)), None)
    if back is not None:
        raise InputError(f"--data {root}: {back} leads back to the folder itself; remove the link")
    if classes:
        index, class_names = _indices(root, classes, request, notes)
        found = [(name, index[c]) for c in classes for name in _pictures(root, c)]
        if beside and found:
            notes.append(f"{len(beside)} pictures beside the class folders are left out")
    else:
        if request.classes_file is not None:
            raise InputError(f"--classes is for class folders, and {root} has none")
        class_names, found = None, [(name, NO_LABEL) for name in beside]
        notes.append(
            f"{root} has no class folders: its {len(found)} images are unlabelled, and checks "
            "that need labels are undefined"
        )
    if not found:
        raise InputError(_no_pictures(root))
    names = [name for name, _ in found]
    named_in_text(names)
    reader = ReadFile(root, names, request.prepare)
    files_fit(reader)
    return ImageData(
        name=root.resolve().name,
        names=names,
        labels=np.array([label for _, label in found], np.int64),
        sizes=Sizes(root, names),
        read=reader,
        input_shape=request.prepare.input_shape,
        class_names=class_names,
        notes=notes,
    )


def _no_pictures(root: Path) -> str:
    """What is there instead, and what would be read."""
    others = Counter(
        path.suffix.lower() or "without a suffix" for path in files_below(root, "--data")
    )
    if not others:
        return (
            f"--data {root} holds no pictures; put them into one folder per class, or name them "
            "in a .csv file with the columns path,label"
        )
    seen = ", ".join(f"{count} {kind}" for kind, count in others.most_common(3))
    return (
        f"--data {root} holds {seen}, but nothing that is read from folders ("
        f"{', '.join(EXTENSIONS)}); convert them, or name them in a .csv file with the columns "
        "path,label"
    )


def _entries(root: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(root) as entries:
            return [entry for entry in entries if not entry.name.startswith(".")]
    except OSError as error:
        raise InputError(f"--data: {root} cannot be read: {error.strerror}") from error


def _leads_back(root: Path, name: str) -> bool:
    return Path(os.path.realpath(root)).is_relative_to(os.path.realpath(root / name))


def _pictures(root: Path, class_folder: str) -> list[str]:
    found = sorted(
        (str(place), place, [name for name in names if is_picture(name)])
        for place, names in folders_below(root / class_folder, "--data", within=root)
    )
    # A path for each folder and none for each picture: of those there may be a million.
    inside = [(place.relative_to(root).as_posix(), names) for _, place, names in found]
    return [f"{place}/{name}" for place, names in inside for name in names]


def _indices(
    root: Path, classes: list[str], request: Request, notes: list[str]
) -> tuple[dict[str, int], list[str]]:
    outputs, file = request.outputs, request.classes_file
    if file is None:
        if SPLITS.issuperset(classes):
            raise InputError(
                f"--data {root} holds {', '.join(classes)}, which look like splits and not like "
                f"classes; name one of them: --data {root / classes[0]}"
            )
        if outputs is not None and len(classes) > outputs:
            raise InputError(
                f"--data {root} has {len(classes)} class folders but the model has {outputs} "
                "outputs; remove folders, or map them with --classes FILE (one folder name per "
                "line, line number = class index)"
            )
        if outputs is not None and len(classes) < outputs:
            notes.append(
                f"{len(classes)} class folders for {outputs} outputs: they are taken for classes "
                f"0 to {len(classes) - 1} in sorted order; if they are not, give --classes FILE"
            )
        return {name: i for i, name in enumerate(classes)}, classes
    listed = read_classes(file)
    index = {name: i for i, name in enumerate(listed) if name}
    missing = [name for name in classes if name not in index]
    if missing:
        raise InputError(
            f"--classes {file} does not name the folder '{missing[0]}' of {root} "
            f"({len(missing)} of {len(classes)} folders are missing); one folder name per line"
        )
    above = [name for name in classes if outputs is not None and index[name] >= outputs]
    if above:
        raise InputError(
            f"--classes {file} gives the folder '{above[0]}' the index {index[above[0]]} but the "
            f"model has {outputs} outputs (0 to {(outputs or 0) - 1})"
        )
    return index, listed


def read_classes(file: Path) -> list[str]:
    """Names of class folders, one per line; the first line is class 0.

    Raises:
        InputError: it cannot be read, is empty, or names a folder twice.
    """
    try:
        path = file.expanduser()
        refuse_irregular(path, "--classes")
        if path.stat().st_size > MOST_OF_CLASSES:
            raise InputError(
                f"--classes {file} has {path.stat().st_size:,} bytes, more than "
                f"{MOST_OF_CLASSES:,}; give one folder name per line"
            )
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"--classes {file} cannot be read: {error}") from error
    names = [line.strip() for line in text.rstrip().splitlines()]
    if not any(names):
        raise InputError(f"--classes {file} is empty; give one folder name per line")
    counted = Counter(name for name in names if name)
    twice = next((name for name, count in counted.items() if count > 1), None)
    if twice is not None:
        raise InputError(f"--classes {file} names '{twice}' twice; a folder has one class index")
    return names
