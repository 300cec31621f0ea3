"""A model with its images, as every command needs them before it measures anything."""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from functools import partial
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from saliency_audit.errors import InputError
from saliency_audit.options import Given
from saliency_audit.processes import ALONE, Processes

if TYPE_CHECKING:
    from saliency_audit.commands.clean import Clean
    from saliency_audit.data import ImageData
    from saliency_audit.models import Classifier, Nature


Advance = Callable[[int, int], None]
NOTE = "[dim]note[/dim]"


class Screen(Protocol):
    """What the user sees while a command runs; the command line has one."""

    def tell(self, head: str, line: str) -> None:
        """Print a line on stderr, after a word of what kind it is."""

    def progress(self, what: str, *, quiet: bool) -> AbstractContextManager[Advance]:
        """Show how far something is; yields ``advance(done, total)``."""

    def note(self, line: str) -> None:
        """Print a line on stderr."""

    def write(self, text: str) -> None:
        """Print a file's text on stdout as it is."""

    def show(self, *things: Any) -> None:
        """Print lines and tables of the answer on stdout."""

    def width(self) -> int:
        """Characters of a line of it."""


@dataclass
class Setup:
    """A loaded model with its images.

    Attributes:
        model: on its device.
        data: what will be audited.
        classes: outputs of the model.
        batch_size: most images the model sees at once.
        quiet: whether to print the answer only.
        screen: what the user sees.
        notes: lines the user was told.
        load: loads a further model for the same images.
        open: opens further images for the same model, prepared alike.
        nature: what kind of function the model is, as its first images tell.
        class_names: of its outputs, for people; None where nobody knows them.
        assumed: what decides the numbers and nobody said, in a few words each.
    """

    model: "Classifier"
    data: "ImageData"
    classes: int
    batch_size: int
    quiet: bool
    screen: "Screen"
    load: "Callable[[str], Classifier]"
    open: "Callable[[str], ImageData]"
    nature: "Nature"
    class_names: Sequence[str] | None = None
    assumed: Sequence[str] = ()
    started: float = field(default_factory=time.time)
    notes: list[str] = field(default_factory=list)

    @property
    def alternatives(self) -> int | None:
        """Classes of which one is right; None where outputs do not exclude each other."""
        return self.classes if self.model.outputs.exclusive else None

    def tell(self, line: str) -> None:
        """Print a line on stderr and keep it for the report."""
        self.notes.append(line)
        if not self.quiet:
            self.screen.tell(NOTE, line)


def prepare(
    given: Given, screen: Screen, *, processes: Processes = ALONE, untrained: bool = False
) -> Setup:
    """Load model and images and try the one on the first of the others; writes nothing.

    Args:
        given: the options of the command.
        screen: what the user sees.
        processes: of this run; only the first one tells the user anything.
        untrained: take the architecture alone, its weights drawn with the seed.

    Raises:
        InputError: anything that the user must change first.
    """
    import torch

    from saliency_audit.commands.class_names import read_class_names
    from saliency_audit.commands.known import first_images
    from saliency_audit.data import open_data
    from saliency_audit.models import (
        auto_batch_size,
        fresh,
        halve_on_oom,
        kind_of,
        load,
        nature,
        resolve_device,
    )
    from saliency_audit.models.load import BUNDLED
    from saliency_audit.models.nature import TRIED

    quiet = given.quiet or not processes.main
    for line in () if quiet else given.notes:
        screen.tell(NOTE, line)
    place = resolve_device(processes.device(given.device))
    arch = given.arch
    how: dict[str, Any] = {
        "size": given.size,
        "mean": given.mean,
        "std": given.std,
        "channels": given.channels,
        "precision": "bf16" if given.precision == "bf16" else "fp32",
        "layer": given.layer,
        "output": given.output,
        "outputs": given.outputs,
        "device": place,
        "channels_last": given.channels_last,
    }

    def loaded(spec: str | None, arch: str | None, weights: str | None = None) -> "Classifier":
        return load(spec, arch=arch, weights=weights, trust_pickle=given.trust_pickle, **how)

    if untrained and given.weights:
        raise InputError(
            option="weights", value=given.weights, fix="it is for checkpoints; leave it"
        )

    classifier = (
        fresh(arch, seed=given.seed, **how)
        if untrained and arch is not None
        else loaded(given.model, arch, given.weights)
    )
    with classifier.audited():
        outputs = classifier.check(torch.full((2, *classifier.input_shape), 0.5, device=place))
    opened = partial(
        open_data,
        input_shape=classifier.input_shape,
        resize=classifier.resize if given.resize is None else given.resize,
        classes_file=given.classes,
        outputs=outputs,
        seed=given.seed,
    )
    images = opened(given.data, max_samples=given.max_samples)
    file = getattr(given, "class_names", None)
    own = classifier.class_names if len(classifier.class_names or ()) == outputs else None
    class_names = read_class_names(file, outputs) if file else own or images.class_names
    at_once = (
        auto_batch_size(classifier.input_shape, place)
        if given.batch_size == "auto"
        else int(given.batch_size)
    )

    # Two at least: what one image does to another shows in no smaller batch.
    tried = max(2, min(TRIED, at_once))
    first, _, _ = first_images(images, tried, tried, device=place, workers=0)

    def examined(model: "Classifier") -> "Nature":
        found = halve_on_oom(
            lambda size: nature(model, first[:size]), len(first), tell=lambda line: None
        )
        if refused := found.refused(model.name):
            raise InputError(refused)
        model.probabilities |= found.probabilities
        return found

    def further(spec: str) -> "Classifier":
        kind = kind_of(Path(spec)) if Path(spec).is_file() else ""
        other = loaded(spec, arch if kind in ("checkpoint", "safetensors") else None)
        with other.audited():
            other.check(torch.full((2, *other.input_shape), 0.5, device=place))
        if other.input_shape != classifier.input_shape:
            raise InputError(
                f"{other.name} takes images of {'x'.join(map(str, other.input_shape))} and "
                f"{classifier.name} of {'x'.join(map(str, classifier.input_shape))}; models in one "
                "run must take the same images"
            )
        for line in examined(other).notes(other.name):
            setup.tell(line)
        return other

    found = examined(classifier)
    others = given.data is None and classifier.name != BUNDLED
    setup = Setup(
        classifier,
        images,
        outputs,
        at_once,
        quiet,
        screen,
        further,
        opened,
        found,
        class_names,
        [*classifier.assumed, *([f"images {images.name}"] if others else [])],
    )
    setup.notes += given.notes
    # Before any training no output depends on the image, as is known.
    seen = replace(found, spread=None) if untrained else found
    for line in (*classifier.notes, *images.notes, *seen.notes(classifier.name)):
        setup.tell(line)
    return setup


def refuse_methods(
    setup: Setup, names: Sequence[str] | None, *, scalar: str, options: Mapping[str, Any]
) -> None:
    """Refuse saliency methods that were asked for and do not work, before anything is measured.

    Args:
        setup: model and images; one image is tried.
        names: of methods; None or nothing tries none.
        scalar: that is explained.
        options: of methods.

    Raises:
        UnsupportedError: one of them does not work on this model.
    """
    from saliency_audit.commands.explain import predict, supported
    from saliency_audit.commands.known import first_images

    model, device = setup.model, setup.model.mean.device
    with model.audited():
        images, _, _ = first_images(setup.data, 2, 2, device=device, workers=0)
        model.check(images)
        supported(
            list(names or ()),
            model,
            images[:1],
            predict(model, images[:1], batch_size=1).argmax(1),
            scalar=scalar,
            options=options,
            refuse=True,
            tell=setup.tell,
        )


def measure_clean_accuracy(setup: Setup, *, workers: int, processes: Processes = ALONE) -> "Clean":
    """Clean accuracy first: told, with a warning when the model seems to guess."""
    from saliency_audit.commands.clean import clean_accuracy, merged
    from saliency_audit.stats.summary import wilson_interval

    with setup.screen.progress("clean accuracy", quiet=setup.quiet) as advance:
        clean = clean_accuracy(
            setup.model,
            setup.data,
            batch_size=setup.batch_size,
            workers=workers,
            shard=(processes.rank, processes.world),
            advance=advance,
        )
    clean = merged(processes.gathered(clean))
    of = f"images of {setup.data.name}"
    images = f"{len(setup.data)} {of}"
    if clean.unreadable:
        setup.tell(
            f"WARNING: {clean.unreadable} of {images} cannot be read (rows with status=error); "
            f"the first is {clean.first_failure}"
        )
    if not setup.model.outputs.exclusive:
        setup.tell(
            "clean accuracy: undefined, images have one label each and a multi-label model says a "
            "set; know by other means that this is the right model behind the right preprocessing"
        )
    elif clean.accuracy is None and setup.data.labelled:
        setup.tell(
            f"clean accuracy: undefined, no image of {setup.data.name} that has a label can be read"
        )
    elif clean.accuracy is None:
        setup.tell(f"clean accuracy: undefined, the {images} have no labels")
    else:
        low, high = wilson_interval(clean.right, clean.n)
        setup.tell(
            f"clean accuracy: {clean.accuracy:.1%} of {clean.n} {of} [95 % {low:.1%} to {high:.1%}]"
        )
    if clean.at_chance:
        setup.tell(
            f"WARNING: clean accuracy {clean.accuracy:.1%} is that of guessing among "
            f"{setup.classes} classes: check --mean and --std (the preprocessing) and --classes "
            "(the order of the labels) before believing any map"
        )
    return clean


def fingerprint(place: Path) -> str:
    """sha256 over the names, sizes and times of the files in a folder, or of one file.

    Raises:
        InputError: there is no such place, or it cannot be looked at.
    """
    if not place.exists():
        raise InputError(f"'{place}' does not exist; check the path")
    digest = sha256()
    try:
        for path in sorted(place.rglob("*")) if place.is_dir() else [place]:
            # A link that leads nowhere, or to itself, counts as itself.
            about = path.stat() if path.exists() else path.lstat()
            digest.update(f"{path.name}\0{about.st_size}\0{about.st_mtime_ns}\n".encode())
    except (OSError, RuntimeError, UnicodeEncodeError) as error:  # RuntimeError: far too deep
        raise InputError(f"'{place}' cannot be looked through: {error}") from error
    return digest.hexdigest()


def common_settings(setup: Setup, given: Given) -> dict[str, Any]:
    """What of any command's options determines its numbers; a run with others cannot resume it."""
    model, data = setup.model, setup.data
    return {
        "model": model.name,
        "model sha256": model.sha256,
        "arch": given.arch,
        "weights": given.weights,
        "input shape": list(model.input_shape),
        "mean": model.mean.flatten().tolist(),
        "std": model.std.flatten().tolist(),
        "layer": given.layer,
        "output": given.output,
        "outputs": given.outputs,
        "precision": given.precision,
        "channels last": given.channels_last,
        # Before what is drawn with it, which would be blamed for it.
        "seed": given.seed,
        "data": data.name,
        "max samples": given.max_samples,
        "resize": given.resize,
        "data fingerprint": data.fingerprint,
        "batch size": setup.batch_size,
        "device": model.mean.device.type,
        "torch": version("torch"),
    }


def facts(
    setup: Setup, clean: "Clean", command: list[str], options: Mapping[str, Any]
) -> dict[str, Any]:
    """What ``run.json`` says about any run."""
    from saliency_audit.report.facts import environment

    model, data = setup.model, setup.data
    return {
        "command": " ".join(["saliency-audit", *command]),
        "options": dict(options),
        "model": model.source,
        "model_sha256": model.sha256,
        "model_format": model.format,
        "input_shape": list(model.input_shape),
        "mean": [round(value, 6) for value in model.mean.flatten().tolist()],
        "std": [round(value, 6) for value in model.std.flatten().tolist()],
        "data": data.name,
        "data_fingerprint": data.fingerprint,
        "images": len(data),
        "unreadable": clean.unreadable,
        "classes": setup.classes,
        "outputs": model.outputs.name,
        "clean_accuracy": clean.accuracy,
        "clean_accuracy_n": clean.n,
        **({"assumptions": list(setup.assumed)} if setup.assumed else {}),
        "device": str(model.mean.device),
        "seconds": round(time.time() - setup.started, 1),
        "model_passes": model.passes,
        "notes": setup.notes,
        "versions": environment(),
    }
