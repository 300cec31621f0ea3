"""Saliency maps made elsewhere, one file an image."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from saliency_audit.data.belonging import all_names, assign, keys_of, stem, such_as
from saliency_audit.data.dataset import ImageData
from saliency_audit.data.images import Unreadable
from saliency_audit.data.map_files import Map, map_files, only_one, read_map
from saliency_audit.errors import InputError


@dataclass(frozen=True)
class SavedMaps:
    """Maps in files, all looked at once, and read again when they are needed.

    Attributes:
        files: by image, those that can be used.
        problems: by image, why there is no map to use, in one line.
        shape: ``(k, h, w)`` of every map; k is 1, or the channels of the images if any map has
            so many.
        signed: whether any map has a negative value.
        notes: lines the user must be told.
    """

    files: dict[str, Path]
    problems: dict[str, str]
    shape: tuple[int, int, int]
    signed: bool
    notes: list[str]

    def read(self, name: str) -> Tensor:
        """The map of an image.

        Returns:
            ``shape``, float32, without unit; NaN where there is no map to use.

        Raises:
            Unreadable: the file is no longer what it was.
        """
        if name not in self.files:
            return torch.full(self.shape, torch.nan)
        return _scaled(read_map(self.files[name]), self.shape)


def saved_maps(folder: Path, data: ImageData) -> SavedMaps:
    """Find and check the maps of images in a folder.

    The map of ``x/a.jpg`` is ``x/a.npy`` (or .npz, .png; or ``x/a.jpg.npy``), else ``a.npy``,
    if no other image is called so. It is ``(h, w)``, ``(1, h, w)`` or ``(c, h, w)``, and covers
    what the model sees: another size is scaled to the model's input, bilinear and antialiased.

    Args:
        folder: where they lie.
        data: the images.

    Raises:
        InputError: no folder, two maps for one image, or no image that has a map to use.
    """
    folder, names = folder.expanduser(), data.names
    found = assign(map_files(folder, "--maps"), names, all_names(data))
    if not found.of and not found.unclear:
        raise InputError(
            f"--maps {folder} has no map for any of the {len(names)} images; looked for "
            f"{_looked_for(names[0])}"
        )
    files: dict[str, Path] = {}
    problems: dict[str, str] = {}
    sizes: Counter[str] = Counter()
    channels, signed, coloured = 1, False, 0
    for name in names:
        if name in found.unclear:
            key, better = found.unclear[name], _unmistakable(name, found.unclear[name])
            problems[name] = f"{key} is the name of several images; call its map {better}.npy"
            continue
        if name not in found.of:
            problems[name] = f"no map; looked for {_looked_for(name)}"
            continue
        path = only_one(name, found.of[name], "--maps")
        try:
            array = _fitting(path, data.input_shape[0])
        except Unreadable as error:
            problems[name] = str(error)
            continue
        files[name] = path
        channels = max(channels, len(array))
        signed = signed or bool((array < 0).any())
        coloured += path.suffix.lower() == ".png" and len(array) > 1
        sizes[f"{array.shape[1]}x{array.shape[2]}"] += 1
    if not files:
        name, reason = next(iter(problems.items()))
        raise InputError(f"--maps {folder} has no map that can be used; {name}: {reason}")
    _, height, width = data.input_shape
    return SavedMaps(
        files=files,
        problems=problems,
        shape=(channels, height, width),
        signed=signed,
        notes=_notes(
            folder, problems, len(names), found.unused, sizes, f"{height}x{width}", coloured
        ),
    )


def _looked_for(name: str) -> str:
    keys = dict.fromkeys(keys[-1] for keys in keys_of(name))
    return " and ".join(f"{key}.npy (.npz, .png)" for key in keys if not key.startswith("/"))


def _unmistakable(name: str, key: str) -> str:
    """What to call the map of an image which shares ``key`` with others."""
    return name if key in keys_of(name)[0] else stem(name)


def _fitting(path: Path, channels: int) -> Map:
    array = read_map(path)
    if len(array) in (1, channels):
        return array
    if path.suffix.lower() == ".png":
        raise Unreadable(f"{path.name} is in colour but the images are grey; save it as grey")
    either = "" if channels == 1 else f" or ({channels}, h, w)"
    raise Unreadable(f"{path.name} has shape {array.shape}; give (h, w), (1, h, w){either}")


def _scaled(array: Map, shape: tuple[int, int, int]) -> Tensor:
    saliency = torch.from_numpy(array)
    if saliency.shape[1:] != shape[1:]:
        saliency = interpolate(
            saliency[None], shape[1:], mode="bilinear", align_corners=False, antialias=True
        )[0]
    return saliency.expand(shape)


def _notes(
    folder: Path,
    problems: dict[str, str],
    images: int,
    unused: list[str],
    sizes: Counter[str],
    wanted: str,
    coloured: int,
) -> list[str]:
    notes = []
    if problems:
        name, reason = next(iter(problems.items()))
        notes.append(
            f"{len(problems)} of {images} images have no map in {folder} that can be used, such "
            f"as {name}: {reason}"
        )
    others = [f"{count} of {size}" for size, count in sizes.most_common() if size != wanted]
    if others:
        notes.append(
            f"maps in {folder} were scaled to the model's input of {wanted}, which is what they "
            f"must cover: {such_as(others)}"
        )
    if coloured:
        notes.append(
            f"{coloured} maps in {folder} are colour pictures: red, green and blue are taken for "
            "the map's values in three channels; a colour map such as jet is not undone"
        )
    if unused:
        notes.append(
            f"{len(unused)} maps in {folder} belong to no image of the run: {such_as(unused)}"
        )
    return notes
