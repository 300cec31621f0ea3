"""What a reader of data is told besides the place to read from."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from saliency_audit.data.dataset import ImageData
from saliency_audit.data.images import Preparation
from saliency_audit.errors import InputError


@dataclass(frozen=True)
class Request:
    """How the images are wanted.

    Attributes:
        prepare: brings a picture to the model's input.
        outputs: number of classes of the model; None where it is not known.
        classes_file: one class folder per line; line number = class index, from 0.
    """

    prepare: Preparation
    outputs: int | None = None
    classes_file: Path | None = None


Reader = Callable[[str, Request], ImageData]
"""Takes what stands after the colon of ``--data KIND:...``, and opens it."""


def refuse_classes(request: Request, name: str) -> None:
    """Refuse a file of class folders for data that has no folders.

    Raises:
        InputError: there is one.
    """
    if request.classes_file is not None:
        raise InputError(f"--classes is for folders of class folders; {name} has its own classes")
