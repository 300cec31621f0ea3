"""``--manifold``: what images are projected to; given in a file, or learned once and kept."""

import time
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from saliency_audit.catalogue.manifold import MANIFOLD_COURSES, PCA, ManifoldCourse
from saliency_audit.catalogue.methods import METHODS
from saliency_audit.catalogue.metrics import METRICS
from saliency_audit.commands.kept import (
    DECIDED,
    Preparation,
    decided_by,
    metadata,
    metadata_of,
    trained_once,
)
from saliency_audit.commands.setup import Setup
from saliency_audit.commands.train import images_to_train_on
from saliency_audit.errors import InputError
from saliency_audit.options import Given
from saliency_audit.processes import Processes

if TYPE_CHECKING:
    from torch import Tensor

    from saliency_audit.data import ImageData
    from saliency_audit.models.manifold import Manifold, ManifoldDesign

NEED = "manifold"
METRIC = "manifold-distance"
FILE = "manifold.safetensors"
TRAINING = "manifold-training.pt"
"""What a training that was stopped goes on from."""
KEPT_EVERY = 30.0
"""Seconds of a training that a kill can lose."""
COMPONENTS = 0.9
_DESIGN, _MEASURED = "design", ("distance", "of mean", "learned")
_TRIED = 256
"""Training images on which it is measured how near their projections are."""


@dataclass
class Projecting:
    """Gives the manifold, once it is there.

    Attributes:
        named: as on the command line; None for what is trained.
        made: the manifold.
    """

    named: str | None
    made: "Manifold | None" = None

    @property
    def fingerprint(self) -> str | None:
        """What of it decides the numbers of a run, beside what `learning` says."""
        return self.named

    @property
    def design(self) -> "ManifoldDesign":
        """What it is made for."""
        assert self.made is not None
        return self.made.design

    def distance(self, images: "Tensor") -> "Tensor":
        """As `models.manifold.Manifold.distance`."""
        assert self.made is not None
        return self.made.distance(images)


def projecting(named: str | None, setup: Setup) -> Projecting:
    """What gives the manifold; `learning` puts it there."""
    del setup
    return Projecting(named)


def refuse_idle_learning(
    named: Mapping[str, Any], *, metrics: Collection[str], methods: Iterable[str]
) -> None:
    """Refuse what is for learning a manifold where one is given, or another kind is learned.

    Args:
        named: by option, what the user wrote; None for what was not given.
        metrics: that are measured.
        methods: saliency methods that are asked for.

    Raises:
        InputError: says what it is for.
    """
    of_training = ("manifold_preset", "manifold_epochs")
    others = any("train" in METRICS[name].needs for name in metrics)
    train_too = others or any("train" in METHODS[name].takes for name in methods if name in METHODS)
    where = named.get(NEED)
    if METRIC not in metrics:
        idle = [*of_training, "components"]
        why = f"is for {METRIC}; add --metric {METRIC} or leave it"
    elif where is None:
        idle, why = ["components"], f"is for --manifold {PCA}; add that or leave it"
    elif where == PCA:
        idle, why = list(of_training), f"is for training a VAE-GAN, not for --manifold {PCA}"
    else:
        idle = [*of_training, "components", *(["train"] * (not train_too))]
        why = f"is for learning what --manifold {where} gives; leave one of them"
    for name in idle:
        if named.get(name) is not None:
            raise InputError(f"--{name.replace('_', '-')} {why}")


def manifold_course(named: Mapping[str, Any]) -> ManifoldCourse:
    """The numbers of a training, as far as they are given over those of the preset.

    >>> manifold_course({"manifold_epochs": 7}).epochs, manifold_course({}).latent
    (7, 10)
    """
    course = MANIFOLD_COURSES[named.get("manifold_preset") or "short"]
    epochs = named.get("manifold_epochs")
    return course if epochs is None else replace(course, epochs=epochs)


def learning(
    place: Projecting | None,
    named: Mapping[str, Any],
    setup: Setup,
    given: Given,
    folder: Path,
    processes: Processes,
    *,
    asked: Iterable[Mapping[str, Any]],
    data: "ImageData | None",
) -> Preparation:
    """Have the manifold that a run needs, from a file or learned into one.

    Args:
        place: where it is put; None where no metric needs it.
        named: by option, what the user wrote; None for what was not given.
        setup: the model and the images.
        given: of the command line: seed and workers.
        folder: the output folder.
        processes: of this run.
        asked: options of the metric, as far as they are given; each is measured.
        data: of ``--train``; None for the bundled images.

    Raises:
        InputError: the file is none, there is nothing to learn from, the preset does not fit, or an
            option of the metric means nothing.
    """
    if place is None:
        return Preparation()
    from saliency_audit.training.manifold import refuse_few

    for options in asked:
        METRICS[METRIC].refuse(setup.model.input_shape, setup.classes, options)
    if place.named not in (None, PCA):
        path = Path(str(place.named))
        place.made = _read(path, setup)
        return Preparation(settings={NEED: metadata(path)[DECIDED]})
    pca = place.named == PCA
    what = "a plane" if pca else "a VAE-GAN"
    if data is None:
        data = images_to_train_on(None, setup, what=f"--metric {METRIC}", trains=what)
    refuse_few(data)
    course = manifold_course(named)
    components = named.get("components") or COMPONENTS
    design = None if pca else _design(course, setup.model.input_shape)
    decides = decided_by(
        None,
        device=setup.model.mean.device.type,
        seed=None if pca else given.seed,
        how={"components": components} if pca else asdict(course),
        shape=setup.model.input_shape,
        train=[data.name, data.fingerprint],
    )
    train = (
        partial(_fit, components)
        if design is None
        else partial(_train, design, course, folder / TRAINING, given.seed)
    )

    def make() -> None:
        path = folder / FILE

        def learn() -> None:
            with setup.screen.progress(f"{METRIC}: learning {what}", quiet=setup.quiet) as advance:
                found, learned = train(setup, data, given.workers, decides, advance)
            _write(path, found, data, decides, learned)

        trained_once(path, decides, learn, processes=processes)
        place.made = _read(path, setup)
        _tell(setup.tell, place.made, metadata(path))

    files = (FILE,) if pca else (FILE, TRAINING)
    return Preparation(files, make, {NEED: decides})


def _design(course: ManifoldCourse, shape: tuple[int, int, int]) -> "ManifoldDesign":
    from saliency_audit.models.manifold import MNIST_SIDES, ManifoldDesign

    small = shape[1:] == MNIST_SIDES
    if course.decoder == "mnist" and not small:
        raise InputError(
            f"--manifold-preset p3-mnist makes images of 28 x 28, and the model takes {shape[1]} x "
            f"{shape[2]}; give p3-cifar or short"
        )
    decoder = course.decoder or ("mnist" if small else "cifar")
    return ManifoldDesign("vae-gan", shape, course.latent, decoder, course.divisor)


def _fit(
    components: float,
    setup: Setup,
    data: "ImageData",
    workers: int,
    decides: str,
    advance: Callable[[int, int], None],
) -> "tuple[Manifold, float]":
    from saliency_audit.training.manifold import fit_pca

    del decides
    return fit_pca(
        data,
        setup.model.input_shape,
        components=components,
        device=setup.model.mean.device,
        workers=workers,
        advance=advance,
    )


def _train(
    design: "ManifoldDesign",
    course: ManifoldCourse,
    training: Path,
    seed: int,
    setup: Setup,
    data: "ImageData",
    workers: int,
    decides: str,
    advance: Callable[[int, int], None],
) -> "tuple[Manifold, float]":
    """A VAE-GAN, and how many images it has seen; goes on where a run was stopped."""
    from saliency_audit.training.checkpoint import write_checkpoint
    from saliency_audit.training.manifold import train_vae_gan

    found, kept = None, time.monotonic()
    for found in train_vae_gan(
        data,
        design,
        course=course,
        seed=seed,
        device=setup.model.mean.device,
        workers=workers,
        state=_stopped(training, decides),
    ):
        advance(found.step, found.steps)
        if found.step < found.steps and time.monotonic() - kept >= KEPT_EVERY:
            write_checkpoint(training, {DECIDED: decides, **found.state()})
            kept = time.monotonic()
    assert found is not None
    training.unlink(missing_ok=True)
    return found.manifold, float(found.state()["read"])


def _stopped(path: Path, decides: str) -> Mapping[str, Any] | None:
    """What a stopped training of the same left; None where there is none."""
    from saliency_audit.training.checkpoint import read_checkpoint

    with suppress(InputError):  # there is none, or of something else: it begins anew
        state = read_checkpoint(path, parts=(DECIDED,))
        if state[DECIDED] == decides:
            return state
    return None


def _write(path: Path, found: "Manifold", data: "ImageData", decides: str, learned: float) -> None:
    import torch

    from saliency_audit.data import batches, subset
    from saliency_audit.models import save_state_dict

    device = next(iter(found.network.state_dict().values())).device
    seen = [
        batch.images
        for batch in batches(subset(data, min(_TRIED, len(data)), 0), batch_size=64, device=device)
    ]
    images = torch.cat(seen)
    to_mean = 2 * (images - images.mean(0)).flatten(1).norm(dim=1)
    values = (float(found.distance(images).median()), float(to_mean.median()), learned)
    said = dict(zip(_MEASURED, map(repr, values), strict=True))
    save_state_dict(
        found.network, path, metadata=said | {DECIDED: decides, _DESIGN: found.design.written}
    )


def _read(path: Path, setup: Setup) -> "Manifold":
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    from saliency_audit.models.manifold import ManifoldDesign, restored_manifold

    again = f"give {FILE} of a run of {METRIC}, or {PCA}"
    keys = (_DESIGN, DECIDED, *_MEASURED)
    said = metadata_of(path, NEED, keys=keys, what="manifold", again=again)
    try:
        design = ManifoldDesign.read(said[_DESIGN])
        if design.shape != setup.model.input_shape:
            raise InputError(
                f"it is of images of {_sides(design.shape)}, and {setup.model.name} takes "
                f"{_sides(setup.model.input_shape)}"
            )
        return restored_manifold(load_file(path), design, setup.model.mean.device)
    except (InputError, OSError, ValueError, SafetensorError) as error:
        raise InputError(f"--manifold {path} cannot be used: {error}; {again}") from error


def _sides(shape: Iterable[int]) -> str:
    return "x".join(map(str, shape))


def _tell(tell: Callable[[str], None], found: "Manifold", said: Mapping[str, str]) -> None:
    distance, to_mean, learned = (float(said[name]) for name in _MEASURED)
    made = (
        f"a plane of {found.design.latent} components ({learned:.1%} of the variance)"
        if found.design.kind == PCA
        else f"a VAE-GAN of {found.design.latent} dimensions ({learned:,.0f} images shown)"
    )
    tell(
        f"{METRIC}: {made}; training images are {distance:.1f} from it (median), and {to_mean:.1f} "
        "from their mean image"
    )
    if not distance < to_mean:
        tell(
            f"WARNING: the manifold is no nearer to training images than their mean image is, so "
            f"{METRIC} says nothing; train longer, with --manifold-epochs"
        )
