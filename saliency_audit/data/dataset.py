"""What every kind of ``--data`` becomes: named, maybe labelled images of the model's size."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from hashlib import sha256
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from saliency_audit.data.images import Unreadable, reason
from saliency_audit.errors import InputError

NO_LABEL = -1
Labels = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True)
class Failure:
    """An image that could not be read.

    Attributes:
        name: of the image.
        label: class index, or None.
        message: why, in one line.
    """

    name: str
    label: int | None
    message: str


class Sample(NamedTuple):
    """One image: its name, its label (-1 is none), and ``(c, h, w)`` in [0, 1] or why not."""

    name: str
    label: int
    image: Tensor | Failure


@dataclass(frozen=True, eq=False, kw_only=True)
class ImageData(Dataset[Sample]):
    """Images that are read one at a time; nothing decoded is kept.

    Attributes:
        name: how reports call the data.
        names: of the images, each once; seeds and result files go by them.
        labels: ``(n,)``, class indices of the model, -1 for none.
        sizes: ``(n,)`` in bytes, what of the files goes into the fingerprint.
        read: gives the image at a position in ``positions``, ``(c, h, w)``; may raise Unreadable.
        input_shape: ``(c, h, w)`` of every image.
        class_names: of the classes from 0 on, where they are known.
        notes: lines the user must be told.
        extras: the other columns of a manifest, by name of the image.
        positions: which images of the source these are, where it is a subset.
        content: fingerprint of the pixels, of a source that holds them in memory.
        marks: gives the annotation of the image at a position, ``(h, w)``, >= 0, of a source that
            has one for each.
    """

    name: str
    names: Sequence[str]
    labels: Labels
    sizes: Sequence[int]
    read: Callable[[int], Tensor]
    input_shape: tuple[int, int, int]
    class_names: list[str] | None = None
    notes: list[str] = field(default_factory=list)
    extras: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    positions: Sequence[int] | None = None
    content: str = ""
    marks: Callable[[int], Tensor] | None = None

    @property
    def labelled(self) -> bool:
        """Whether any image has a label."""
        return bool((self.labels != NO_LABEL).any())

    @cached_property
    def fingerprint(self) -> str:
        """sha256 over names, sizes and labels, and over the pixels of what is held in memory."""
        digest = sha256(self.content.encode())
        for name, size, label in zip(self.names, self.sizes, self.labels.tolist(), strict=True):
            digest.update(f"{name}\0{size}\0{label}\n".encode())
        return digest.hexdigest()

    def extra(self, name: str) -> Mapping[str, str]:
        """The other columns that a manifest has for the image ``name``."""
        return self.extras.get(name, {})

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Sample:
        name, label = self.names[index], int(self.labels[index])
        position = index if self.positions is None else self.positions[index]
        try:
            return Sample(name, label, self.read(position))
        except Unreadable as error:
            return Sample(name, label, Failure(name, _known(label), str(error)))
        except Exception as error:  # whatever one image does, the others go on
            return Sample(name, label, Failure(name, _known(label), reason(error)))


def _known(label: int) -> int | None:
    return None if label == NO_LABEL else label


def subset(data: ImageData, count: int, seed: int) -> ImageData:
    """A random choice of ``count`` images in their old order; all of them if there are no more.

    Raises:
        InputError: ``count`` is below 1.
    """
    if count < 1:
        raise InputError(f"--max-samples is {count}; give at least 1")
    if count >= len(data):
        return data
    generator = torch.Generator().manual_seed(seed)
    return at(data, torch.randperm(len(data), generator=generator)[:count].sort().values.tolist())


def held_out(data: ImageData, share: float, seed: int) -> tuple[ImageData, ImageData]:
    """Two parts of the images, in their old order; the second has the share, drawn with the seed.

    Raises:
        InputError: there are too few images for either part to have one.
    """
    count = max(1, round(share * len(data)))
    if count >= len(data):
        raise InputError(f"{len(data)} images cannot be split; give --val, or more images")
    order = torch.randperm(len(data), generator=torch.Generator().manual_seed(seed)).tolist()
    return at(data, sorted(order[count:])), at(data, sorted(order[:count]))


def at(data: ImageData, chosen: Sequence[int]) -> ImageData:
    """The images at these places, in this order."""
    return replace(
        data,
        names=[data.names[i] for i in chosen],
        labels=data.labels[list(chosen)],
        sizes=[data.sizes[i] for i in chosen],
        extras={data.names[i]: data.extra(data.names[i]) for i in chosen if data.extras},
        positions=list(chosen) if data.positions is None else [data.positions[i] for i in chosen],
    )


def swapped(data: ImageData, other: ImageData, share: float, seed: int) -> ImageData:
    """The images, of which a share drawn with the seed makes way for as many of another data set.

    Args:
        data: the images.
        other: of which those that take their places are drawn, all of them at most.
        share: of ``data``, at least one image.
        seed: of both draws.

    Returns:
        As many images as ``data`` has; names of the other's begin with ``swapped/``.
    """
    count = min(max(1, round(share * len(data))), len(other), len(data) - 1)
    kept = subset(data, len(data) - count, seed)
    new = subset(other, count, seed)
    parts = [kept] * len(kept) + [new] * len(new)
    places = [*range(len(kept)), *range(len(new))]

    def read(index: int) -> Tensor:
        part, place = parts[index], places[index]
        return part.read(place if part.positions is None else part.positions[place])

    return replace(
        kept,
        names=[*kept.names, *(f"swapped/{name}" for name in new.names)],
        labels=np.concatenate([kept.labels, new.labels]),
        sizes=[*kept.sizes, *new.sizes],
        read=read,
        positions=None,
        content=f"{kept.content}{new.content}",
        marks=None,
    )


def permuted(data: ImageData, seed: int) -> ImageData:
    """The images with each other's labels, in an order drawn with the seed."""
    order = np.random.default_rng(seed).permutation(len(data))
    return replace(data, labels=data.labels[order])


def labels_fit(names: Sequence[str], labels: Labels, outputs: int | None) -> None:
    """Refuse labels that the model has no output for.

    Args:
        names: of the images, as the message shall call them.
        labels: ``(n,)``, -1 for none.
        outputs: of the model; None where it is not known yet.

    Raises:
        InputError: a label is ``outputs`` or more.
    """
    if outputs is None or not (labels >= outputs).any():
        return
    first = int((labels >= outputs).argmax())
    raise InputError(
        f"{names[first]} has label {labels[first]} but the model has {outputs} outputs "
        f"(0 to {outputs - 1}); labels must be the model's class indices"
    )
