"""The masking network of rt-sal: given in a file, or trained once and kept in one."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from saliency_audit.catalogue.masking import COURSES, Course
from saliency_audit.catalogue.methods import METHODS
from saliency_audit.catalogue.needs import NEEDS, of_methods, takers
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
    from saliency_audit.models import Classifier, Masker

NEED = "masker"
FILE = "masker{}.safetensors"
"""Of a masking network, with nothing or a number in it."""
_MODEL, _DESIGN = "model sha256", "design"


def refuse_idle_masking(
    named: Mapping[str, Any], names: Iterable[str], *, trains_too: bool = False
) -> None:
    """Refuse what is for a masking network where no method reads one, or one is given.

    Args:
        named: by option, what the user wrote; None for what was not given.
        names: of saliency methods that are asked for, or "all".
        trains_too: whether something else is trained on ``--train``.

    Raises:
        InputError: says what it is for.
    """
    need, names = NEEDS[NEED], list(names)
    of_training = [option.name for option in need.options] + ["train"] * (not trains_too)
    method = next(name for name in takers(NEED) if name in METHODS)
    asked = of_methods(name for name in names if name in METHODS)
    if asked and not set(names) <= set(METHODS):
        raise InputError(f"all leaves out {method}; ask for {method} in a run of its own")
    if NEED not in asked:
        idle, why = [NEED, *of_training], f"is for {method}; add --saliency {method} or leave it"
    elif named.get(NEED) is not None:
        idle, why = of_training, "is for training what --masker gives; leave one of them"
    else:
        return
    for name in idle:
        if named.get(name) is not None:
            raise InputError(f"--{name.replace('_', '-')} {why}")


def refuse_untrained(names: Iterable[str] | None, command: str) -> None:
    """Refuse methods that something must be trained for in a command that does not train it.

    Args:
        names: of saliency methods that are asked for.
        command: its name.

    Raises:
        InputError: names commands that do.
    """
    for name in names or ():
        for need in METHODS[name].needs:
            raise InputError(
                f"--saliency {name} {NEEDS[need].why}, which {command} neither trains nor takes; "
                "ask evaluate, attack or fool for it"
            )


def masking(
    named: Mapping[str, Any],
    setup: Setup,
    models: "Sequence[Classifier]",
    names: Iterable[str],
    given: Given,
    folder: Path,
    processes: Processes,
) -> Preparation:
    """Give models their masking networks, as far as a method that is asked for needs them.

    One in a file is there at once. One that is trained is a drawn one until the preparation is
    made, so that what does not work is refused before.

    Args:
        named: by option, what the user wrote; None for what was not given.
        setup: the model and the images.
        models: that are explained, the given one first.
        names: of saliency methods that are asked for.
        given: of the command line: seed, arch and workers.
        folder: the output folder.
        processes: of this run.

    Raises:
        InputError: there is neither a file nor anything to train on, or one does not fit.
        UnsupportedError: a model does not show its feature maps.
    """
    if NEED not in of_methods(names):
        return Preparation()
    import torch

    from saliency_audit.models import untrained
    from saliency_audit.models.load import BUNDLED

    method = next(name for name in names if NEED in METHODS[name].needs)
    file, spec = named.get(NEED), named.get("train")
    if file is not None:
        for model in models:
            model.masker = _read(Path(file), model)
        return Preparation(settings={NEED: metadata(Path(file))[DECIDED]})
    if spec is None and setup.model.name != BUNDLED:
        raise InputError(
            f"--saliency {method} {NEEDS[NEED].why}: give one with --masker, such as --masker "
            f"{NEEDS[NEED].example}, or images to train one on with --train"
        )
    data = images_to_train_on(spec, setup, what=f"--saliency {method}", trains="a masking network")
    course = course_of(named)
    decided = {
        model: decided_by(
            model,
            arch=given.arch,
            seed=given.seed,
            layer=model.layer,
            course=asdict(course),
            **{"training data": [data.name, data.fingerprint]},
        )
        for model in models
    }
    for model in models:
        blank = torch.full((2, *model.input_shape), 0.5, device=model.mean.device)
        with model.audited():
            model.masker = untrained(model, blank, width=course.width, seed=given.seed)
    files = [FILE.format(f"-{i}" if i > 1 else "") for i in range(1, len(models) + 1)]

    def train(model: "Classifier", path: Path) -> None:
        from saliency_audit.models import save_state_dict
        from saliency_audit.training.masker import train_masker

        with setup.screen.progress(
            f"{method}: training a masking network", quiet=setup.quiet
        ) as advance:
            taught = train_masker(
                model,
                data,
                course=course,
                seed=given.seed,
                batch_size=setup.batch_size,
                workers=given.workers,
                advance=advance,
            )
        said = {name: repr(getattr(taught, name)) for name in _MEASURED}
        said |= {DECIDED: decided[model], _MODEL: model.sha256}
        network = taught.masker.network
        save_state_dict(network, path, metadata=said | {_DESIGN: network.design.written})

    def make() -> None:
        for name, model in zip(files, models, strict=True):
            path = folder / name
            trained_once(path, decided[model], partial(train, model, path), processes=processes)
            model.masker = _read(path, model)
            _tell(setup.tell, method, model, metadata(path))

    return Preparation(files, make, {NEED: [decided[model] for model in models]})


def course_of(named: Mapping[str, Any]) -> Course:
    """The numbers of a training, as far as they are given over those of the preset.

    >>> course_of({"decoder_steps": 7}).decoder_steps, course_of({}).selector_batch
    (7, 64)
    """
    course = COURSES[named.get("masker_preset") or "short"]
    steps = {name: named.get(name) for name in ("selector_steps", "decoder_steps")}
    return replace(course, **{name: n for name, n in steps.items() if n is not None})


def masker_of_file(place: str | Path, setup: Setup) -> "Masker":
    """The masking network in a file, which must have been trained for the model.

    Args:
        place: the file.
        setup: with the model.

    Raises:
        InputError: it is none, or of another model.
    """
    return _read(Path(place), setup.model)


def _read(path: Path, model: "Classifier") -> "Masker":
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    from saliency_audit.models import Design, restored

    again = "give masker.safetensors of a run with --train on this model"
    keys = (_MODEL, _DESIGN, DECIDED, *_MEASURED)
    said = metadata_of(path, NEED, keys=keys, what="masking network", again=again)
    if said[_MODEL] != model.sha256:
        raise InputError(
            f"--masker {path} was trained for another model (sha256 {said[_MODEL][:12]}) than "
            f"{model.name} ({model.sha256[:12]}); {again}"
        )
    try:
        return restored(load_file(path), Design.read(said[_DESIGN]), model)
    except (InputError, OSError, ValueError, SafetensorError) as error:
        raise InputError(f"--masker {path} cannot be used: {error}; {again}") from error


_MEASURED = ("tells", "area", "inside", "outside")


def _tell(
    tell: Callable[[str], None], method: str, model: "Classifier", said: Mapping[str, str]
) -> None:
    tells, area, inside, outside = (float(said[name]) for name in _MEASURED)
    tell(
        f"{method}: masks of {model.name} hold {area:.0%} of a training image; the class keeps a "
        f"probability of {inside:.2f} (median) inside them and of {outside:.2f} outside; the "
        f"selector tells classes that are shown from others in {tells:.0%}"
    )
    if inside <= outside:
        tell(
            f"WARNING: what the masks of {method} mark is no more of the class than the rest is; "
            "train longer, with --decoder-steps or --masker-preset paper"
        )
