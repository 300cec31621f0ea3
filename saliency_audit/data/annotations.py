"""What people marked on the images: maps, or boxes, brought to the model's input."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import ceil, isfinite
from pathlib import Path, PurePosixPath

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from saliency_audit.data.arrays import ReadArray
from saliency_audit.data.belonging import Belongings, all_names, assign, such_as
from saliency_audit.data.dataset import ImageData
from saliency_audit.data.files import ReadFile
from saliency_audit.data.images import Preparation, Unreadable, open_picture, reason
from saliency_audit.data.map_files import Map, map_files, only_one, read_map
from saliency_audit.data.table import rows
from saliency_audit.errors import InputError
from saliency_audit.regular import refuse_irregular

CORNERS = ("xmin", "ymin", "xmax", "ymax")


@dataclass(frozen=True)
class Box:
    """One box, in pixels of the original image.

    Attributes:
        corners: xmin, ymin, xmax, ymax.
        where: file and line, for messages.
    """

    corners: tuple[float, float, float, float]
    where: str


@dataclass(frozen=True)
class Boxes:
    """The boxes of one image.

    Attributes:
        boxes: those.
        size: ``(width, height)`` of the original image.
        prepare: what the image went through.
    """

    boxes: Sequence[Box]
    size: tuple[int, int]
    prepare: Preparation

    def __call__(self) -> Tensor:
        """Their union, ``(h, w)``, 0 or 1: what at least half of a pixel shows of it."""
        width, height = self.size
        inside = np.zeros((height, width), np.float32)
        for box in self.boxes:
            xmin, ymin, xmax, ymax = box.corners
            inside[_pixels(ymin, ymax, height), _pixels(xmin, xmax, width)] = 1
        return (_seen(inside, self.prepare) >= 0.5).float()


@dataclass(frozen=True)
class Marked:
    """The annotation map of one image.

    Attributes:
        path: of the file.
        size: ``(width, height)`` of the original image.
        prepare: what the image went through.
    """

    path: Path
    size: tuple[int, int]
    prepare: Preparation

    def __call__(self) -> Tensor:
        """The map, ``(h, w)``, >= 0; the mean where it has three channels.

        Raises:
            Unreadable: the file holds no such map.
        """
        array = read_map(self.path)
        if len(array) not in (1, 3):
            raise Unreadable(f"{self.path.name} has shape {array.shape}; give (h, w)")
        if (array < 0).any():
            raise Unreadable(f"{self.path.name} has values below 0")
        marked: Map = array.mean(0)
        if marked.shape == self.prepare.input_shape[1:]:
            return torch.from_numpy(marked)
        if marked.shape != self.size[::-1]:
            over = Image.fromarray(marked).resize(self.size, Image.Resampling.BILINEAR)
            marked = np.array(over)
        return _seen(marked, self.prepare).clamp_min(0)


@dataclass(frozen=True)
class Annotations:
    """What people marked, by image.

    Attributes:
        of: by image, makes its annotation.
        shape: ``(h, w)`` of the model's input.
        notes: lines the user must be told.
    """

    of: Mapping[str, Callable[[], Tensor]]
    shape: tuple[int, int]
    notes: list[str]

    def read(self, names: Sequence[str]) -> Tensor:
        """Annotations of images.

        Returns:
            ``(n, h, w)`` float32, >= 0; NaN where there is none.
        """
        blank = torch.full(self.shape, torch.nan)
        return torch.stack([self.of[name]() if name in self.of else blank for name in names])


def read_annotations(place: Path, data: ImageData) -> Annotations:
    """Find and check what people marked on the images.

    A folder holds maps (.npy, .npz, .png), named like the maps of ``--maps``. One of exactly the
    model's height and width is used untouched; any other lies over the original image, and is
    scaled and cropped like it.

    A .csv file holds boxes, ``path,xmin,ymin,xmax,ymax``, in pixels of the original image file
    from its top left corner (0, 0): xmax and ymax are the first ones outside, so that width is
    xmax - xmin as in COCO and torchvision. (Of Pascal VOC's boxes, take 1 off xmin and ymin.)
    Several rows for an image are the union. EXIF orientation is ignored, as it is in the images.

    Args:
        place: the folder or file.
        data: the images.

    Raises:
        InputError: no such folder or file, a box that cannot be right, two maps for one image,
            or no image with an annotation.
    """
    place = place.expanduser()
    if place.is_dir():
        return _of_maps(place, data)
    if place.is_file() and place.suffix.lower() == ".csv":
        return _of_boxes(place, data)
    refuse_irregular(place, "--annotations")
    what = "is no .csv file" if place.is_file() else "does not exist"
    raise InputError(
        f"--annotations {place} {what}; give a folder of maps, or a .csv file with the columns "
        f"path,{','.join(CORNERS)}"
    )


def own_annotations(data: ImageData) -> Annotations:
    """What the data itself says of its images.

    Args:
        data: whose ``marks`` are not None.
    """
    assert data.marks is not None
    positions = range(len(data)) if data.positions is None else data.positions
    of = {name: partial(data.marks, at) for name, at in zip(data.names, positions, strict=True)}
    return Annotations(of, data.input_shape[1:], [])


def _of_maps(place: Path, data: ImageData) -> Annotations:
    found = assign(map_files(place, "--annotations"), data.names, all_names(data))
    originals = _Originals(data)

    def mark(name: str) -> Marked:
        path = only_one(name, found.of[name], "--annotations")
        return Marked(path, originals.size(name), originals.prepare)

    return _checked(place, data, found, mark, "maps")


def _of_boxes(place: Path, data: ImageData) -> Annotations:
    by_path: dict[str, list[Box]] = {}
    for line, row in rows(place, ("path", *CORNERS)):
        path = PurePosixPath(row["path"].strip()).as_posix()
        by_path.setdefault(path, []).append(_box(row, f"{place} line {line}"))
    if not by_path:
        raise InputError(f"{place} holds no boxes; add rows of path,{','.join(CORNERS)}")
    found = assign(by_path, data.names, all_names(data))
    originals = _Originals(data)
    clipped: list[str] = []

    def mark(name: str) -> Boxes:
        width, height = originals.size(name)
        for box in found.of[name]:
            xmin, ymin, xmax, ymax = box.corners
            if xmin >= width or ymin >= height or xmax <= 0 or ymax <= 0:
                raise InputError(
                    f"{box.where}: the box from ({xmin:g}, {ymin:g}) to ({xmax:g}, {ymax:g}) lies "
                    f"outside of {name}, which is {width} pixels wide and {height} high"
                )
            if xmin < 0 or ymin < 0 or xmax > width or ymax > height:
                clipped.append(box.where)
        return Boxes(found.of[name], (width, height), originals.prepare)

    annotations = _checked(place, data, found, mark, "paths")
    if clipped:
        annotations.notes.append(
            f"{len(clipped)} boxes reach beyond their image and were clipped, the first in "
            f"{clipped[0]}"
        )
    return annotations


def _checked(
    place: Path,
    data: ImageData,
    found: Belongings[Path] | Belongings[Box],
    mark: Callable[[str], Callable[[], Tensor]],
    what: str,
) -> Annotations:
    """Try every annotation; those that cannot be used are noted."""
    of: dict[str, Callable[[], Tensor]] = {}
    problems = {
        name: f"{key} is the name of several images; write it with its folder"
        for name, key in found.unclear.items()
    }
    empty: list[str] = []
    for name in data.names:
        if name not in found.of:
            continue
        try:
            made = mark(name)
            if bool((made() > 0).any()):
                of[name] = made
            else:
                empty.append(name)
        except Unreadable as error:
            problems[name] = str(error)
        except MemoryError as error:
            problems[name] = reason(error)
    if not of:
        why = next((f"; {name}: {problem}" for name, problem in problems.items()), "")
        why = why or (f"; nothing is marked on what the model sees of {empty[0]}" if empty else "")
        example = f", such as {found.unused[0]}" if found.unused else ""
        raise InputError(
            f"--annotations {place} has none for any of the {len(data)} images, such as "
            f"{data.names[0]}{why or f'; it has {len(found.unused)} other {what}{example}'}"
        )
    notes = []
    none = [name for name in data.names if name not in of]
    if none:
        notes.append(
            f"{len(none)} of {len(data)} images have no annotation, and what needs one is "
            f"undefined there: {such_as(none)}"
        )
    if problems:
        name, why = next(iter(problems.items()))
        notes.append(
            f"{len(problems)} annotations in {place} cannot be used, such as that of {name}: {why}"
        )
    if empty:
        notes.append(
            f"nothing is marked on what the model sees of {len(empty)} images (after the crop): "
            f"{such_as(empty)}"
        )
    if found.unused:
        notes.append(
            f"{len(found.unused)} {what} in {place} belong to no image of the run: "
            f"{such_as(found.unused)}"
        )
    return Annotations(of, data.input_shape[1:], notes)


class _Originals:
    """Sizes of the images before they were brought to the model's input.

    Attributes:
        prepare: what brought them there, for one channel.
    """

    def __init__(self, data: ImageData) -> None:
        self._data = data
        self._positions = {
            name: index if data.positions is None else data.positions[index]
            for index, name in enumerate(data.names)
        }
        read = data.read
        resize = read.prepare.resize if isinstance(read, ReadFile | ReadArray) else None
        self.prepare = Preparation((1, *data.input_shape[1:]), resize)

    def size(self, name: str) -> tuple[int, int]:
        """``(width, height)``.

        Raises:
            Unreadable: the image cannot be opened.
        """
        read, position = self._data.read, self._positions[name]
        if isinstance(read, ReadFile):
            with open_picture(read.root / read.names[position]) as image:
                return image.size
        _, height, width = self._data.input_shape
        if isinstance(read, ReadArray):
            height, width = read.images.shape[1:3]
        return width, height


def _seen(original: Map, prepare: Preparation) -> Tensor:
    """What the model sees of a map over the original image, ``(h, w)``."""
    if original.shape != prepare.input_shape[1:]:
        original = np.array(prepare.fit(Image.fromarray(original)))
    return torch.from_numpy(original)


def _pixels(low: float, high: float, size: int) -> slice:
    """The pixels whose centre lies between two edges; at least one.

    >>> _pixels(1, 3, 10), _pixels(2.6, 2.7, 10), _pixels(-5, 99, 10)
    (slice(1, 3, None), slice(2, 3, None), slice(0, 10, None))
    """
    low, high = max(0.0, low), min(float(size), high)
    start, stop = ceil(low - 0.5), ceil(high - 0.5)
    if stop <= start:
        start = int((low + high) / 2)
        stop = start + 1
    return slice(start, stop)


def _box(row: Mapping[str, str], where: str) -> Box:
    numbers = []
    for corner in CORNERS:
        text = row[corner].strip()
        try:
            number = float(text)
        except ValueError:
            number = float("nan")
        if not isfinite(number):
            raise InputError(f"{where}: {corner} is '{text}'; give a number of pixels")
        numbers.append(number)
    xmin, ymin, xmax, ymax = numbers
    for low, high, axis in ((xmin, xmax, "x"), (ymin, ymax, "y")):
        if high <= low:
            raise InputError(
                f"{where}: {axis}max is {high:g} and {axis}min is {low:g}; {axis}max must be the "
                "larger one"
            )
    return Box((xmin, ymin, xmax, ymax), where)
