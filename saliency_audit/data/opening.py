"""What ``--data`` may say, and which reader it goes to."""

import re
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path

from saliency_audit.data.arrays import split_of
from saliency_audit.data.bundled import bundled, fashion_mnist_test, photographs
from saliency_audit.data.cifar10 import cifar10
from saliency_audit.data.dataset import ImageData, subset
from saliency_audit.data.folder import folder
from saliency_audit.data.hierarchy import synthetic
from saliency_audit.data.idx import fashion_mnist, mnist
from saliency_audit.data.images import Preparation
from saliency_audit.data.manifest import manifest
from saliency_audit.data.request import Reader, Request
from saliency_audit.data.tilting import toy
from saliency_audit.errors import InputError, lookup
from saliency_audit.regular import why_irregular

READERS: dict[str, Reader] = {
    "bundled": bundled,
    "cifar10": cifar10,
    "fashion-mnist": fashion_mnist,
    "folder": folder,
    "manifest": manifest,
    "mnist": mnist,
    "synthetic": synthetic,
    "toy": toy,
}
"""``--data KIND:PLACE``. A plain path goes to ``folder``, or to ``manifest`` if it is a file."""

_NAMES = {"bundled": "photographs", "synthetic": "hierarchy", "toy": "boundary-tilting"}
"""Of kinds that read no files, with one of their names."""


def open_data(
    spec: str | None,
    *,
    input_shape: tuple[int, int, int],
    resize: int | None = None,
    classes_file: Path | None = None,
    outputs: int | None = None,
    max_samples: int | None = None,
    seed: int = 0,
) -> ImageData:
    """Find the images that ``--data`` means; they are read later, one at a time.

    Args:
        spec: a folder, a ``.csv`` file, ``KIND:PLACE`` with a kind of ``READERS``, or None for
            the bundled images that suit the model. ``@train`` after a place of mnist,
            fashion-mnist or cifar10, or after what is generated (toy and synthetic), takes the
            training images instead of the test images.
        input_shape: ``(c, h, w)`` of the model's input.
        resize: shorter side before the centre crop, in pixels; None means 256/224 of the input's.
        classes_file: one class folder per line, line number = class index, from 0.
        outputs: number of classes of the model; labels beyond are refused. None checks nothing.
        max_samples: take so many, chosen at random, in their old order.
        seed: of that choice.

    Raises:
        InputError: there is no such data, or it does not fit the model.
    """
    request = Request(Preparation(input_shape, resize), outputs, classes_file)
    data = _default(request) if spec is None else _named(spec, request)
    return data if max_samples is None else subset(data, max_samples, seed)


def place_of(spec: str | None) -> Path | None:
    """The folder or file that ``--data`` means; None for bundled images, and where there is none.

    >>> place_of("mnist:tests@train"), place_of("bundled:photographs"), place_of(None)
    (PosixPath('tests'), None, None)
    """
    if spec is None:
        return None
    path = Path(spec).expanduser()
    kind, colon, place = spec.partition(":")
    if not path.exists() and colon and kind in READERS and kind not in _NAMES and place:
        path = Path(place).expanduser() if kind in ("folder", "manifest") else split_of(place)[0]
    return path if path.exists() else None


def _default(request: Request) -> ImageData:
    if request.prepare.input_shape != (1, 28, 28):
        data = photographs(request)
        return replace(data, notes=[f"no --data: {note}" for note in data.notes])
    data = fashion_mnist_test(request)
    note = f"no --data: using {len(data):,} bundled test images of Fashion-MNIST"
    return replace(data, notes=[note, *data.notes])


def _named(spec: str, request: Request) -> ImageData:
    path = Path(spec).expanduser()
    kind, colon, place = spec.partition(":")
    if path.is_dir():
        return folder(spec, request)
    irregular = why_irregular(path)
    if irregular is not None:
        raise InputError(f"--data {spec} {irregular}; {_forms()}")
    if path.is_file():
        if path.suffix.lower() == ".csv":
            return manifest(spec, request)
        raise InputError(
            f"--data {spec} is a file but no .csv; give a folder of pictures, or a .csv file "
            "with the columns path,label"
        )
    if colon and re.fullmatch(r"[\w-]+", kind):
        reader = lookup("kind of --data", READERS, kind)
        if not place:
            raise InputError(f"--data {spec} names no place; write {kind}:{_example(kind)}")
        return reader(place, request)
    close = get_close_matches(spec, READERS, n=1, cutoff=0.75)
    hint = f"did you mean {close[0]}:{_example(close[0])}?" if close else _forms()
    raise InputError(f"--data {spec}: there is no such folder or file; {hint}")


def _example(kind: str) -> str:
    return {**_NAMES, "manifest": "FILE.csv"}.get(kind, "DIR")


def _forms() -> str:
    kinds = ", ".join(f"{kind}:{_example(kind)}" for kind in READERS)
    return f"give a folder of class folders, a .csv file, or one of {kinds}"
