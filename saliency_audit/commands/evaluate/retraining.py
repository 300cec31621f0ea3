"""Metrics that train networks anew: which trainings they ask for, each done once and kept."""

import csv
import json
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from functools import cached_property
from hashlib import sha256
from importlib.metadata import version
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from saliency_audit.catalogue.methods import CONTROLS, METHODS
from saliency_audit.commands.evaluate.recipe import (
    fresh_network,
    read_recipe,
    refuse_unlabelled,
    test_images,
)
from saliency_audit.commands.setup import Setup
from saliency_audit.errors import AuditError
from saliency_audit.metrics import METRICS
from saliency_audit.options import Given
from saliency_audit.processes import Processes
from saliency_audit.training.recipe import Recipe, check_recipe

if TYPE_CHECKING:
    from saliency_audit.catalogue.entries import SaliencyMethod
    from saliency_audit.data import ImageData
    from saliency_audit.data.replacement import Replacement
    from saliency_audit.metrics.retraining import Bench
    from saliency_audit.models import Classifier
    from saliency_audit.training.retrain import Change
    from saliency_audit.types import Batch, CurvePoint, Row

JOB = "retrained"
"""What the rows of these metrics belong to, beside those of the images."""
FILE = "trainings.csv"
COLUMNS = (
    "key", "model", "saliency", "share", "side", "unit", "mask", "repeat", "accuracy", "seconds",
)  # fmt: skip


@dataclass(frozen=True)
class Training:
    """One training: what its images are like, and which of its kind it is.

    Attributes:
        place: of the model whose maps order the pixels, in the run's order; -1 for none's.
        replacement: of each image.
        number: from 0; it draws the weights and the order of the images.
    """

    place: int
    replacement: "Replacement"
    number: int


@dataclass
class Retraining:
    """All trainings of a run.

    Attributes:
        metrics: that train, with their options.
        models: whose maps order the pixels, the first one's architecture is retrained.
        data: the training images.
        tested: the test images.
        setup: the screen.
        given: of the command line.
        options: of saliency methods.
        further: saliency methods of the user's own, by name.
        beside: what else decides maps, such as a file of code or of a masking network.
        recipe: of each training.
        processes: that share them.
        folder: where `FILE` is kept.
        done: such files of other runs, whose trainings are not done again.
        accuracies: by key, of all trainings that are done.
    """

    metrics: Mapping[str, Mapping[str, Any]]
    models: "Sequence[Classifier]"
    data: "ImageData"
    tested: "ImageData"
    setup: Setup
    given: Given
    options: Mapping[str, Any]
    further: "Mapping[str, SaliencyMethod]"
    beside: Mapping[str, Any]
    recipe: Recipe
    processes: Processes
    folder: Path
    done: Sequence[Path] = ()
    accuracies: dict[str, float] = field(default_factory=dict)

    @property
    def files(self) -> list[str]:
        """That it writes into the output folder."""
        return [FILE, *(_file_of(rank) for rank in range(1, self.processes.world))]

    @property
    def settings(self) -> dict[str, Any]:
        """What of it decides the numbers of a run."""
        return {
            "metrics": {name: dict(given) for name, given in self.metrics.items()},
            "test": [self.tested.name, self.tested.fingerprint],
            "recipe": asdict(self.recipe),
            "retrain": self.given.retrain,
        }

    @cached_property
    def methods(self) -> list[str]:
        """Whose maps order the pixels: those that all models allow, and the controls."""
        from saliency_audit.commands.evaluate.audit import SALIENCY_BY_DEFAULT
        from saliency_audit.commands.explain import predict, supported
        from saliency_audit.commands.known import first_images

        usual = () if self.further else SALIENCY_BY_DEFAULT
        asked = [*self.further, *(self.given.saliency or usual), *CONTROLS]
        asked = list(dict.fromkeys(asked))
        for model in self.models:
            with model.audited():
                images, _, _ = first_images(self.tested, 1, 1, device=model.mean.device, workers=0)
                asked = supported(
                    asked,
                    model,
                    images,
                    predict(model, images, batch_size=1).argmax(1),
                    scalar=self.given.scalar,
                    options=self.options,
                    refuse=False,
                    tell=self.setup.tell,
                    methods=self.known,
                )
        return asked

    @property
    def known(self) -> "Mapping[str, SaliencyMethod]":
        """All saliency methods by name."""
        return {**METHODS, **self.further}

    def make(self) -> None:
        """Do all trainings that are not done; every process calls this alike.

        Raises:
            InputError: nothing can be trained, or by a recipe that means nothing.
            AuditError: a training failed; those before it are kept.
        """
        check_recipe(self.recipe, len(self.data), anew=True)
        for line in self._kept():
            with suppress(ValueError):
                self.accuracies[line["key"]] = float(line["accuracy"])
        wanted = {self._key(one): one for one in self._wanted()}
        missing = {key: one for key, one in wanted.items() if key not in self.accuracies}
        count = len(wanted) - len(missing)
        epochs = f"{self.recipe.epochs} epoch{'s' * (self.recipe.epochs != 1)}"
        self.setup.tell(
            f"{', '.join(self.metrics)}: {len(wanted)} trainings of {epochs} on "
            f"{len(self.data):,} images of {self.data.name}, tested on {len(self.tested):,} of "
            f"{self.tested.name}" + (f"; {count} of them are done" if count else "")
        )
        problem: AuditError | None = None
        if missing:
            try:
                self._train(missing)
            except AuditError as error:
                problem = error
        # All end alike: the others would wait for the first one for ever.
        for found, failed in self.processes.gathered((self.accuracies, problem)):
            self.accuracies |= found
            problem = problem or failed
        if problem is not None:
            raise problem
        if self.processes.main:
            self._write(FILE, wanted, {line["key"]: line["seconds"] for line in self._kept()})
            for path in self._places():
                if path.name != FILE:
                    path.unlink()

    def batch(self) -> "Batch":
        """The rows and curves of all these metrics, once `make` is done."""
        from saliency_audit.types import Batch

        rows: list[Row] = []
        curves: list[CurvePoint] = []
        for place, model in enumerate(self.models):
            for method in self.methods:
                bench = self._bench(place, method, lambda one: self.accuracies[self._key(one)])
                scalar = "" if method in CONTROLS else self.given.scalar
                for name, given in self.metrics.items():
                    for found in METRICS[name].function(bench, **given):
                        if found.rows:
                            rows += _rows(model.name, method, scalar, found)
                        if found.curve is not None:
                            curves += _points(model.name, method, found)
        self._tell_leak(rows)
        return Batch(0, rows, [], curves, JOB)

    def _tell_leak(self, rows: "Sequence[Row]") -> None:
        """Say how well the class can be told from nothing but which pixels went."""
        found: dict[tuple[str, str], list[float]] = {}
        for row in rows:
            if row["check"].endswith("-mask-only"):
                found.setdefault((row["saliency"], row["setting"]), []).append(row["value"])
        most: dict[str, float] = {}
        for (method, _), values in found.items():
            most[method] = max(most.get(method, 0.0), sum(values) / len(values))
        if most:
            told = ", ".join(f"{method} {value:.1%}" for method, value in most.items())
            self.setup.tell(
                "networks that see only which pixels were replaced have an accuracy of up to "
                f"{told} (chance {1 / self.setup.classes:.1%}): so much of what is left may be "
                "told by the pattern, not by the pixels"
            )

    def _places(self) -> list[Path]:
        """The files of all processes, also of a run that was killed."""
        return sorted(self.folder.glob(FILE.replace(".", "*.")))

    def _kept(self) -> list[dict[str, str]]:
        """What is in them, and in those of the other runs."""
        return [line for path in (*self.done, *self._places()) for line in _lines(path)]

    def _wanted(self) -> list[Training]:
        """Every training that a metric asks for, once."""
        asked: dict[Training, None] = {}

        def ask(one: Training) -> float:
            asked[one] = None
            return float("nan")

        for place in range(len(self.models)):
            for method in self.methods:
                for name, given in self.metrics.items():
                    METRICS[name].function(self._bench(place, method, ask), **given)
        return list(asked)

    def _bench(self, place: int, method: str, fit: Callable[[Training], float]) -> "Bench":
        from saliency_audit.metrics.retraining import Bench

        def accuracy(replacement: "Replacement", number: int) -> float:
            # Nothing replaced, or in an order that no model decides: the same for all models.
            of_model = replacement.saliency and replacement.saliency not in CONTROLS
            return fit(Training(place if of_model else -1, replacement, number))

        return Bench(method, accuracy)

    def _key(self, one: Training) -> str:
        """sha256 of all that decides a training."""
        model = self.models[max(one.place, 0)]
        assert model.sha256, "its trainings could not be told from another model's"
        maps = {
            "sha256": model.sha256,
            "options": dict(self.options),
            "scalar": self.given.scalar,
            "target": self.given.target,
            **self.beside,
        }
        said = {
            "maps": maps if one.place >= 0 else None,
            "architecture": self.given.retrain or repr(self.models[0].network),
            "input shape": self.models[0].input_shape,
            "colours": [part.flatten().tolist() for part in (model.mean, model.std)],
            "precision": self.models[0].precision,
            "channels last": self.given.channels_last,
            "images": [self.data.fingerprint, self.tested.fingerprint],
            "recipe": asdict(self.recipe),
            "replacement": asdict(one.replacement),
            "number": one.number,
            "seed": self.given.seed,
            "device": model.mean.device.type,
            "versions": [version("torch"), version("saliency-audit")],
        }
        return sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()

    def _train(self, missing: Mapping[str, Training]) -> None:
        """This process's share of the trainings, each on disk once it is done."""
        from saliency_audit.commands.evaluate.rankings import Rankings

        rank, world = self.processes.rank, self.processes.world
        with Rankings(self, list(missing.values())) as rankings:
            own = dict(list(missing.items())[rank::world])
            done: dict[str, Training] = {}
            seconds: dict[str, str] = {}
            with self.setup.screen.progress(
                "evaluate: trainings", quiet=self.setup.quiet
            ) as advance:
                advance(0, len(own))
                for key, one in own.items():
                    began = time.monotonic()
                    self.accuracies[key] = self._accuracy(one, rankings.changes(one))
                    done[key], seconds[key] = one, f"{time.monotonic() - began:.2f}"
                    self._write(_file_of(rank), done, seconds)
                    advance(len(done), len(own))

    def _accuracy(self, one: Training, changes: "tuple[Change | None, Change | None]") -> float:
        from saliency_audit.seeding import seed_of
        from saliency_audit.training.retrain import retrained_accuracy

        seed = seed_of(self.given.seed, "retraining", one.number)
        return retrained_accuracy(
            fresh_network(self.models[0], self.given, seed),
            self.data,
            self.tested,
            recipe=self.recipe,
            seed=seed,
            changes=changes,
            batch_size=self.setup.batch_size,
            workers=self.given.workers,
        )

    def _write(
        self,
        name: str,
        trainings: Mapping[str, Training],
        seconds: Mapping[str, str],
    ) -> None:
        """Put trainings that are done on disk, behind those that this file has already."""
        from saliency_audit.writing import replace_file

        path = self.folder / name
        lines = {line["key"]: line for line in _lines(path)}
        for key, one in trainings.items():
            lines[key] = {
                **{n: v for n, v in asdict(one.replacement).items() if n in COLUMNS},
                "key": key,
                "model": self.models[one.place].name if one.place >= 0 else "",
                "repeat": str(one.number + 1),
                "accuracy": repr(self.accuracies[key]),
                "seconds": seconds[key],
            }
        text = StringIO()
        table = csv.DictWriter(text, COLUMNS, extrasaction="ignore", lineterminator="\n")
        table.writeheader()
        table.writerows(lines.values())
        replace_file(path, text.getvalue())


def retraining(
    given: Given,
    setup: Setup,
    processes: Processes,
    *,
    metrics: Mapping[str, Mapping[str, Any]],
    models: "Sequence[Classifier]",
    data: "ImageData | None",
    options: Mapping[str, Any],
    methods: "Mapping[str, SaliencyMethod]",
    beside: Mapping[str, Any],
    folder: Path,
    done: Sequence[Path] = (),
) -> Retraining | None:
    """The trainings of a run; None where no metric trains.

    Args:
        given: of the command line.
        setup: the model and the images.
        processes: of this run.
        metrics: that are measured.
        models: all of the run.
        data: the training images; None where no metric needs them.
        options: of saliency methods.
        methods: of the user's own.
        beside: what else decides maps.
        folder: the output folder.
        done: files of trainings of other runs.

    Raises:
        InputError: images without labels, or options that mean nothing.
    """
    chosen = {name: one for name, one in metrics.items() if METRICS[name].of == "training"}
    if not chosen:
        return None
    assert data is not None
    name = next(iter(chosen))
    whole = test_images(given, setup)
    for images, flag in ((data, "--train"), (whole, "--data")):
        refuse_unlabelled(images, flag, name)
    for own_maps in (one for one, method in methods.items() if method.recorded):
        setup.tell(
            f"{own_maps} left out of {', '.join(chosen)}: the maps are of the images of --data "
            "alone, and those of the training images are needed, too; --explain makes them"
        )
    for one, wanted in chosen.items():
        METRICS[one].refuse(setup.model.input_shape, setup.classes, wanted)
    made = Retraining(
        chosen,
        models,
        data,
        whole,
        setup,
        given,
        options,
        {one: method for one, method in methods.items() if not method.recorded},
        beside,
        read_recipe(given.recipe or ()),
        processes,
        folder,
        done,
    )
    check_recipe(made.recipe, len(data), anew=True)
    fresh_network(
        setup.model, given, given.seed
    )  # what cannot be trained is refused before anything is measured
    return made


def _file_of(rank: int) -> str:
    return FILE if not rank else FILE.replace(".", f"-{rank}.")


def _lines(path: Path) -> list[dict[str, str]]:
    """The rows of a file of trainings; none of what is no such file."""
    from saliency_audit.regular import why_irregular

    if why_irregular(path) is not None:
        return []
    try:
        with path.open(newline="", encoding="utf-8") as file:
            found = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error):
        return []
    return [line for line in found if all(isinstance(line.get(name), str) for name in COLUMNS)]


def _rows(model: str, method: str, scalar: str, found: Any) -> "list[Row]":
    """A row for each repeat."""
    return [
        {
            "image": f"training {number}",
            "label": None,
            "target": None,
            "model": model,
            "saliency": method,
            "scalar": scalar,
            "check": found.check,
            "setting": found.setting,
            "value": value,
            "status": "ok",
        }
        for number, value in enumerate(found.values.tolist(), 1)
    ]


def _points(model: str, method: str, found: Any) -> "list[CurvePoint]":
    from saliency_audit.types import CurvePoint

    sums = zip(
        found.x, found.curve.sum(0).tolist(), found.curve.square().sum(0).tolist(), strict=True
    )
    n = len(found.curve)
    return [CurvePoint(model, method, found.check, x, n, total, sq) for x, total, sq in sums]
