"""What ``finetune`` trains and validates on: images, annotations, a teacher's maps."""

from pathlib import Path
from typing import TYPE_CHECKING

from saliency_audit.commands.finetune.plan import Plan
from saliency_audit.commands.setup import Setup
from saliency_audit.errors import InputError
from saliency_audit.options import Given
from saliency_audit.processes import Processes

if TYPE_CHECKING:
    from saliency_audit.data import ImageData
    from saliency_audit.models import Classifier
    from saliency_audit.training import ByName

TRAIN = "@train"
_BUNDLED = "bundled:fashion-mnist"
_HELD_OUT = 0.1
_OF_TWO_SETS = ("mnist", "fashion-mnist", "cifar10", "synthetic", "toy")


def training_of(data: str) -> str:
    """The images to train on: of what has a training and a test set the first, unless told.

    >>> training_of("mnist:/data"), training_of("mnist:/data@test"), training_of("photos")
    ('mnist:/data@train', 'mnist:/data@test', 'photos')
    """
    whole = _of_two_sets(data) and not data.endswith((TRAIN, "@test"))
    return f"{data}{TRAIN}" if whole else data


def validation_of(data: str | None, val: str | None) -> str | None:
    """The validation images that belong to training images; those themselves where none do.

    >>> validation_of("mnist:/data", None), validation_of("photos", "others")
    ('mnist:/data', 'others')
    >>> validation_of("mnist:/data@train", None), validation_of("mnist:/data@test", None)
    ('mnist:/data', 'mnist:/data@test')
    """
    if val is not None or data is None:
        return val
    if data == f"{_BUNDLED}-train":
        return _BUNDLED
    return data.removesuffix(TRAIN)


def _of_two_sets(data: str) -> bool:
    kind, _, place = data.partition(":")
    return kind in _OF_TWO_SETS and bool(place) and not Path(data).expanduser().exists()


def open_training(
    setup: Setup,
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
    from saliency_audit.stats.undefined import FEWEST

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
    data, named = training_of(data), data
    if val is None and validation_of(named, val) == data:
        train, validation = held_out(validation, _HELD_OUT, seed)
        few = (
            f"; no verdict is of fewer than {FEWEST}: give --val"
            if len(validation) < FEWEST
            else ""
        )
        setup.tell(f"no --val: {len(validation):,} of the images are held out to validate on{few}")
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
        names = (train.class_names, validation.class_names)
        if classes is None and None not in names and names[0] != names[1]:
            raise InputError(
                f"--data has the classes {', '.join(names[0] or ())} and --val "
                f"{', '.join(names[1] or ())}, so one index would mean two classes; give --classes"
            )
        if _same(train, validation, data, val):
            setup.tell(
                "WARNING: --data and --val are the same images: what is said of accuracy is of "
                "images that were trained on"
            )
    if max_train is not None:
        train = subset(train, max_train, seed)
    if max_val is not None:
        validation = subset(validation, max_val, seed)
    if _of_two_sets(data):
        setup.tell(
            f"training on {len(train):,} images of {train.name}, validating on "
            f"{len(validation):,} of {validation.name}"
        )
    return train, validation


def _same(train: "ImageData", validation: "ImageData", data: str, val: str | None) -> bool:
    if train.fingerprint == validation.fingerprint:
        return True
    places = [Path(spec).expanduser() for spec in (data, val or "")]
    return all(place.exists() for place in places) and places[0].resolve() == places[1].resolve()


def open_annotations(given: Given, plan: Plan, train: "ImageData", setup: Setup) -> "ByName | None":
    """What people marked on the training images, for objectives that read it.

    Raises:
        InputError: it is missing where it is needed, or given where it is not.
    """
    from saliency_audit.data import own_annotations, read_annotations

    weighted = plan.options.get("penalty") == "weighted"
    needed = "annotations" in plan.objective.needs or weighted
    if needed and given.annotations is None and train.marks is not None:
        return own_annotations(train).read
    if needed and given.annotations is None:
        what = "--penalty weighted" if weighted else f"--objective {plan.name}"
        raise InputError(
            f"{what} needs what people marked on the training images; give --annotations FOLDER "
            "or FILE.csv"
        )
    if given.annotations is None:
        return None
    if not needed:
        raise InputError(
            "--annotations is for --objective harmonise and for adversarial with --penalty "
            f"weighted; leave it for {plan.name}"
        )
    marked = read_annotations(given.annotations, train)
    for line in marked.notes:
        setup.tell(line)
    return marked.read


def teacher_targets(
    teacher: "Classifier",
    train: "ImageData",
    path: Path,
    given: Given,
    plan: Plan,
    setup: Setup,
    group: Processes,
    *,
    made: bool,
) -> "ByName":
    """The teacher's maps of all training images, in a file; ``made`` by the run that goes on?"""
    from saliency_audit.report.folder import TEACHER_MAPS
    from saliency_audit.training.teacher_maps import (
        create_targets,
        finish_targets,
        read_targets,
        write_targets,
    )

    if given.teacher is None:
        setup.tell(
            "no --teacher: the model before training teaches, which is P4's non-robust control; "
            "for a robust teacher give the model.safetensors of --objective pgd"
        )
    file = path / TEACHER_MAPS
    if not (given.resume and made and file.is_file()):
        if group.main:
            file.unlink(missing_ok=True)
            create_targets(file, train)
        group.wait()
        seen = 0
        with setup.screen.progress("finetune: teacher's maps", quiet=setup.quiet) as advance:

            def count(images: int) -> None:
                nonlocal seen
                seen += images * group.world
                advance(seen, len(train))

            write_targets(
                file,
                teacher,
                train,
                **plan.teacher,
                seed=given.seed,
                batch_size=setup.batch_size,
                workers=given.workers,
                shard=(group.rank, group.world),
                advance=count,
            )
        group.wait()
        if group.main:
            finish_targets(file)
        group.wait()
    return read_targets(file, train)
