"""Which images ``finetune`` trains on, and which ones it validates on."""

from pathlib import Path
from typing import TYPE_CHECKING

from saliency_audit.errors import InputError

if TYPE_CHECKING:
    from saliency_audit.cli.setup import Setup
    from saliency_audit.data import ImageData

TRAIN = "@train"
_BUNDLED = "bundled:fashion-mnist"
_HELD_OUT = 0.1


def validation_of(data: str | None, val: str | None) -> str | None:
    """The validation images that belong to training images; those themselves where none do.

    >>> validation_of("mnist:/data@train", None), validation_of("photos", "others")
    ('mnist:/data', 'others')
    """
    if val is not None or data is None:
        return val
    if data == f"{_BUNDLED}-train":
        return _BUNDLED
    return data.removesuffix(TRAIN)


def open_training(
    setup: "Setup",
    *,
    data: str | None,
    val: str | None,
    classes: Path | None,
    resize: int | None,
    max_train: int | None,
    max_val: int | None,
    seed: int,
) -> "tuple[ImageData, ImageData]":
    """The images to train on and those to validate on.

    Args:
        setup: with the validation images; told what the user should know.
        data: as on the command line.
        val: likewise.
        classes: likewise.
        resize: likewise.
        max_train: most of the first.
        max_val: most of the second.
        seed: of the choice.

    Raises:
        InputError: there are none, or they do not fit the model.
    """
    from saliency_audit.data import held_out, open_data, subset

    shape = setup.model.input_shape
    if data is None:
        if shape != (1, 28, 28):
            raise InputError(
                f"{setup.model.name} takes {'x'.join(map(str, shape))} images, and no training "
                "images of that kind are bundled; give --data"
            )
        data = f"{_BUNDLED}-train"
        setup.tell("no --data: training on 6,000 bundled training images of Fashion-MNIST")
    validation = setup.data
    if val is None and validation_of(data, val) == data:
        train, validation = held_out(validation, _HELD_OUT, seed)
        setup.tell(
            f"no --val: {len(validation):,} of the images are not trained on and used for it"
        )
    else:
        train = open_data(
            data,
            input_shape=shape,
            resize=setup.model.resize if resize is None else resize,
            classes_file=classes,
            outputs=setup.classes,
        )
        for note in train.notes:
            setup.tell(note)
        if _same(train, validation, data, val):
            setup.tell(
                "WARNING: --data and --val are the same images: what is said of accuracy is of "
                "images that were trained on"
            )
    if max_train is not None:
        train = subset(train, max_train, seed)
    if max_val is not None:
        validation = subset(validation, max_val, seed)
    return train, validation


def _same(train: "ImageData", validation: "ImageData", data: str, val: str | None) -> bool:
    if train.fingerprint == validation.fingerprint:
        return True
    places = [Path(spec).expanduser() for spec in (data, val or "")]
    return all(place.exists() for place in places) and places[0].resolve() == places[1].resolve()
