"""Copies of the audited models that go by a planted trigger: trained once, kept in a file."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any

from saliency_audit.catalogue.metrics import METRICS
from saliency_audit.commands.kept import (
    DECIDED,
    Preparation,
    decided_by,
    metadata,
    trained_once,
)
from saliency_audit.commands.setup import Setup
from saliency_audit.commands.train import images_to_train_on
from saliency_audit.options import Given
from saliency_audit.processes import Processes

if TYPE_CHECKING:
    from saliency_audit.data import ImageData
    from saliency_audit.data.trigger import Trigger
    from saliency_audit.models import Classifier
    from saliency_audit.training.planted import Planted

METRIC = "known-answer"
FILE = "known-answer{}.safetensors"
"""Of a copy, with nothing or a number in it."""


@dataclass
class Planting:
    """Gives the copy of a model that goes by a trigger.

    Attributes:
        data: what copies are trained on.
        setup: with the classes and the screen.
        made: copies by model, seed and options.
        network: gives other networks, trained from fresh weights, where a metric looks at them.
    """

    data: "ImageData"
    setup: Setup
    made: "dict[tuple[Any, ...], Planted]" = field(default_factory=dict)
    network: Callable[..., Any] | None = None

    @property
    def fingerprint(self) -> list[str]:
        """What of it decides the numbers of a run."""
        return [self.data.name, self.data.fingerprint]

    def __call__(self, model: "Classifier", *, seed: int, **options: Any) -> "Planted":
        """The copy of a model: `keep` has made it.

        Args:
            model: that is audited.
            seed: of the run.
            options: of the metric, all of them.
        """
        return self.made[_key(model, seed, options)]

    def keep(
        self,
        model: "Classifier",
        path: Path,
        *,
        processes: Processes,
        seed: int,
        arch: str | None,
        workers: int,
        options: Mapping[str, Any],
    ) -> None:
        """Have the copy of a model in a file and at hand; every process calls this alike.

        The first process trains it, or takes an earlier run's, and all of them read the file.

        Args:
            model: that is audited.
            path: the file, in the output folder that this run holds.
            processes: of this run.
            seed: of the run.
            arch: of the command line; the same weights may be of two architectures.
            workers: processes that read images.
            options: of the metric, all of them.

        Raises:
            InputError: there can be no copy.
            AuditError: the training failed.
        """
        trigger = self._trigger(model, seed, options)
        decides = self._decides(model, seed, arch, options)
        trained_once(
            path,
            decides,
            lambda: self._train(model, trigger, path, decides, seed, workers, options),
            processes=processes,
        )
        made = _read(path, model, trigger)
        self.made[_key(model, seed, options)] = made
        self._tell(model, made)

    def _train(
        self,
        model: "Classifier",
        trigger: "Trigger",
        path: Path,
        decides: str,
        seed: int,
        workers: int,
        options: Mapping[str, Any],
    ) -> None:
        from saliency_audit.models import activation_metadata, save_state_dict
        from saliency_audit.training.planted import planted

        setup = self.setup
        with setup.screen.progress(f"{METRIC}: training a copy", quiet=setup.quiet) as advance:
            found = planted(
                model,
                self.data,
                trigger,
                steps=options["plant_steps"],
                lr=options["plant_lr"],
                seed=seed,
                workers=workers,
                advance=advance,
            )
        said = {
            DECIDED: decides,
            "learned": repr(found.learned),
            "agreement": repr(found.agreement),
        }
        save_state_dict(
            found.model.network, path, metadata=activation_metadata(model.activation) | said
        )

    def _trigger(self, model: "Classifier", seed: int, options: Mapping[str, Any]) -> "Trigger":
        from saliency_audit.data.trigger import drawn_trigger
        from saliency_audit.models import trainable

        trainable(model)
        METRICS[METRIC].refuse(model.input_shape, self.setup.classes, options)
        side = options["patch_side"] or max(1, round(min(model.input_shape[1:]) / 5))
        return drawn_trigger(side, options["patch_opacity"], self.setup.classes, seed=seed)

    def _decides(
        self, model: "Classifier", seed: int, arch: str | None, options: Mapping[str, Any]
    ) -> str:
        """sha256 of all that decides the weights of a copy."""
        return decided_by(
            model,
            arch=arch,
            seed=seed,
            options=dict(options),
            **{"training data": self.fingerprint},
        )

    def _tell(self, model: "Classifier", made: "Planted") -> None:
        from saliency_audit.metrics.known_answer import LEARNED

        trigger = made.trigger
        self.setup.tell(
            f"{METRIC}: a patch of {trigger.side} x {trigger.side} pixels makes "
            f"{made.learned:.1%} of training images class {trigger.classes[0]} or "
            f"{trigger.classes[1]} to a copy of {model.name}; without it, it says what the model "
            f"says of {made.agreement:.1%}"
        )
        if made.learned < LEARNED:
            self.setup.tell(
                f"WARNING: the copy has not learned its trigger (less than {LEARNED:.0%}), so "
                f"{METRIC} is undefined; raise --plant-steps, --patch-opacity or --patch-side, or "
                "change --plant-lr"
            )


def training_images(spec: str | None, setup: Setup) -> Planting:
    """The images that copies are trained on; those of the bundled network by default.

    Raises:
        InputError: there are none that fit, or the model cannot be trained.
    """
    return Planting(images_to_train_on(spec, setup, what="this run"), setup)


def preparation(
    planting: Planting | None,
    models: "Sequence[Classifier]",
    asked: Sequence[Mapping[str, Any]],
    given: Given,
    folder: Path,
    processes: Processes,
) -> Preparation:
    """Train the copies that a run needs, each into a file of its own.

    Args:
        planting: None where no metric needs it.
        models: that are audited.
        asked: options of the metric, as far as they are given; each is measured.
        given: of the command line: seed, arch and workers.
        folder: the output folder.
        processes: of this run.

    Raises:
        UnsupportedError: a model cannot be trained.
    """
    if planting is None:
        return Preparation()
    known = signature(METRICS[METRIC].function).parameters.values()
    from saliency_audit.models import trainable

    for model in models if asked else ():
        trainable(model)
    defaults = {one.name: one.default for one in known if one.kind is one.KEYWORD_ONLY}
    every = [{**defaults, **options} for options in asked]
    wanted = [
        (model, options)
        for i, options in enumerate(every)
        if options not in every[:i]
        for model in models
    ]
    files = [FILE.format(f"-{i}" if i > 1 else "") for i in range(1, len(wanted) + 1)]

    def make() -> None:
        for name, (model, options) in zip(files, wanted, strict=True):
            planting.keep(
                model,
                folder / name,
                processes=processes,
                seed=given.seed,
                arch=given.arch,
                workers=given.workers,
                options=options,
            )

    return Preparation(files, make)


def _key(model: "Classifier", seed: int, options: Mapping[str, Any]) -> tuple[Any, ...]:
    return (model, seed, tuple(sorted(options.items())))


def _read(path: Path, model: "Classifier", trigger: "Trigger") -> "Planted":
    from saliency_audit.models import reload
    from saliency_audit.training.planted import Planted

    said, copy = metadata(path), reload(path, model)
    copy = copy.eval().requires_grad_(False)
    return Planted(copy, trigger, float(said["learned"]), float(said["agreement"]))
