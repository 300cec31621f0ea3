"""Images that models make, judged batch by batch, each kept as a file."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any

from saliency_audit.catalogue.metrics import METRICS
from saliency_audit.commands.output import check_kept, check_not_in
from saliency_audit.commands.reason import no_meaning
from saliency_audit.commands.setup import Setup
from saliency_audit.errors import AuditError, UnsupportedError
from saliency_audit.options import Given
from saliency_audit.types import Batch, Example, Row

if TYPE_CHECKING:
    from torch import Tensor

    from saliency_audit.metrics.gan_test import Sampled
    from saliency_audit.models import Classifier

METRIC = "gan-test"
SAMPLES, JUDGED = "samples", "judged"
"""What rows belong to beside those of the images: the samples, and the images by the judge."""
FOLDER = "samples"
AT_ONCE = 64
"""Most samples of one batch of rows: what a kill can lose."""
COLUMNS, ROWS = 10, 3
"""Most classes or images in the picture, and samples of each class."""


def file_of(place: int, number: int, wanted: int) -> str:
    """Name of the file of a sample, in `FOLDER`.

    >>> file_of(0, 4, 4), file_of(1, 4, 4)
    ('sample-0005-class-4.png', 'model-2-sample-0005-class-4.png')
    """
    return f"model-{place + 1}-" * bool(place) + f"sample-{number + 1:04d}-class-{wanted}.png"


@dataclass(frozen=True)
class Part:
    """One batch of samples.

    Attributes:
        index: of the batch.
        numbers: of the samples, from 0.
        images: that they start from, ``(n, c, h, w)``; None for noise.
        labels: of the images, ``(n,)``.
    """

    index: int
    numbers: Sequence[int]
    images: "Tensor | None" = None
    labels: "Tensor | None" = None

    @property
    def names(self) -> list[str]:
        """Of the samples, in every table."""
        return [f"sample {number + 1}" for number in self.numbers]


@dataclass(frozen=True)
class Sampling:
    """All samples of a run.

    Attributes:
        options: of the metric.
        models: that make them.
        beside: has the judge, once the run begins.
        setup: the images and the screen.
        given: of the command line.
        folder: the output folder.
        shard: of this process.
    """

    options: Mapping[str, Any]
    models: "Sequence[Classifier]"
    beside: Mapping[str, Any]
    setup: Setup
    given: Given
    folder: Path
    shard: tuple[int, int]

    @property
    def denoises(self) -> bool:
        """Whether samples start from images."""
        return self.options.get("denoise") is not None

    @property
    def judge(self) -> str:
        """Name of the judge, also of one that a run before has trained."""
        from saliency_audit.commands.evaluate.anew import FILE, JUDGE

        made = self.beside.get("judge")
        return Path(FILE.format(JUDGE)).stem if made is None else str(made.name)

    @property
    def count(self) -> int:
        """How many samples each model makes."""
        if self.denoises:
            return len(self.setup.data)
        default = signature(METRICS[METRIC].function).parameters["count"].default
        return int(self.options.get("count", default))

    @property
    def steps(self) -> int:
        """Of each sample."""
        from saliency_audit.metrics.gan_test import STEPS

        return int(self.options.get("steps", STEPS[self.denoises]))

    def batches(
        self, begin: Callable[[str], Any], advance: Callable[[int, int], None]
    ) -> Iterator[Batch]:
        """Have the images judged, make the samples that are not done, and have those judged.

        Args:
            begin: gives the indices of a job's batches that are done.
            advance: called with the steps that are done, and all.

        Yields:
            Batches of the jobs `JUDGED` and `SAMPLES`.
        """
        from saliency_audit.data import batches

        read = partial(
            batches,
            self.setup.data,
            batch_size=AT_ONCE,
            workers=self.given.workers,
            device=self.setup.model.mean.device,
            shard=self.shard,
        )
        if self.setup.data.labelled:
            for batch in read(skip=begin(JUDGED)):
                rows = self._judged(batch.names, batch.images, batch.labels)
                yield Batch(batch.index, rows, [], [], JUDGED)
        done = begin(SAMPLES)
        rank, world = self.shard
        count = -(-self.count // AT_ONCE)
        wanted = [i for i in range(count) if i % world == rank and i not in done]
        made, total = 0, len(wanted) * len(self.models) * self.steps

        def stepped() -> None:
            nonlocal made
            made = min(made + 1, total)  # memory that ran out begins a batch again
            advance(made, total)

        parts = (
            (
                Part(one.index, self._numbers(one.index, one.names), one.images, one.labels)
                for one in read(skip=done)
            )
            if self.denoises
            else (Part(i, range(i * AT_ONCE, min((i + 1) * AT_ONCE, self.count))) for i in wanted)
        )
        for part in parts:
            found = [self._made(place, part, stepped) for place in range(len(self.models))]
            rows = [row for of_model, _ in found for row in of_model]
            yield Batch(part.index, rows, [e for _, own in found for e in own], [], SAMPLES)

    def _numbers(self, index: int, names: Sequence[str]) -> list[int]:
        """Which images these are: those that cannot be read are missing."""
        start = index * AT_ONCE
        places = {
            name: start + i for i, name in enumerate(self.setup.data.names[start : start + AT_ONCE])
        }
        return [places[name] for name in names]

    def _judged(self, names: list[str], images: "Tensor", labels: "Tensor") -> list[Row]:
        """The judge's accuracy, beside each model."""
        from saliency_audit.commands.rows import Subject
        from saliency_audit.metrics.gan_test import judge_accuracy

        if not names:
            return []
        right, classes = judge_accuracy(
            self.beside["judge"], images, labels, batch_size=self.setup.batch_size
        )
        return [
            row
            for model in self.models
            for row in Subject(names, labels, classes, model.name).rows(
                f"{METRIC}-judge-accuracy", right, setting=""
            )
        ]

    def _made(
        self, place: int, part: Part, stepped: Callable[[], None]
    ) -> tuple[list[Row], list[Example]]:
        """Rows and pictures of one batch of a model's samples."""
        import torch

        from saliency_audit.commands.evaluate.batch import failed, reason_of
        from saliency_audit.commands.explain import predict
        from saliency_audit.commands.reason import refusing
        from saliency_audit.commands.rows import Subject
        from saliency_audit.metrics.gan_test import Drawn
        from saliency_audit.models import halve_on_oom

        if not part.numbers:
            return [], []
        model = self.models[place]
        targets = part.labels
        if part.images is not None and self.given.target == "predicted":
            targets = predict(model, part.images, batch_size=self.setup.batch_size).argmax(1)

        def compute(size: int) -> "Sampled":
            drawn = Drawn(
                model,
                self.beside["judge"],
                self.setup.classes,
                part.names,
                part.numbers,
                self.given.seed,
                size,
                part.images,
                targets,
                stepped,
            )
            with refusing():
                found: Sampled = METRICS[METRIC].function(drawn, **self.options)
            return found

        try:
            sampled = halve_on_oom(compute, self.setup.batch_size, tell=self.setup.tell)
        except AuditError as error:
            reason = reason_of(error)
            self.setup.tell(f"{METRIC} of {model.name} failed: {reason}")
            none = torch.full((len(part.numbers),), -1)
            return failed(Subject(part.names, none, none, model.name), METRIC, "", "", reason), []
        subject = Subject(part.names, sampled.judged, sampled.wanted, model.name)
        rows = [
            row
            for one in sampled.measured
            for row in subject.rows(one.check, one.values, setting=one.setting)
        ]
        return rows, self._kept(place, part, sampled)

    def _kept(self, place: int, part: Part, sampled: "Sampled") -> list[Example]:
        """Write the samples as files, and give those that are drawn."""
        from saliency_audit.commands.picture_file import write_picture
        from saliency_audit.commands.rows import image_example

        classes = len(self.options.get("classes") or range(self.setup.classes))
        across = self.count if self.denoises else classes
        examples = []
        for i, number in enumerate(part.numbers):
            wanted = int(sampled.wanted[i])
            if wanted < 0 or not sampled.samples[i].isfinite().all():
                continue  # is undefined
            name = file_of(place, number, wanted)
            write_picture(sampled.samples[i], self.folder / FOLDER / name)
            row, column = divmod(number, across)
            if row >= ROWS or column >= COLUMNS:
                continue
            setting = (
                f"model={place};row={row};column={column};wanted={wanted};"
                f"judged={int(sampled.judged[i])};probability={float(sampled.probability[i]):.2f}"
            )
            for role, pixels in (
                *((("start", sampled.starts[i]),) if row == 0 else ()),
                ("sample", sampled.samples[i]),
            ):
                shown = image_example(part.names[i], pixels).pixels
                examples.append(Example(part.names[i], "", "", setting, role, shown))
        return examples


def sampling(
    given: Given,
    setup: Setup,
    *,
    metrics: Mapping[str, Mapping[str, Any]],
    models: "Sequence[Classifier]",
    beside: Mapping[str, Any],
    folder: Path,
    shard: tuple[int, int],
) -> Sampling | None:
    """The samples of a run; None where no metric makes any.

    Args:
        given: of the command line.
        setup: the model and the images.
        metrics: that are measured.
        models: all of the run.
        beside: will have the judge.
        folder: the output folder.
        shard: of this process.

    Raises:
        InputError: options that mean nothing here.
        UnsupportedError: outputs do not exclude each other, or no file can hold such images.
    """
    if METRIC not in metrics:
        return None
    if not setup.model.outputs.exclusive:
        raise UnsupportedError(f"{no_meaning(METRIC, setup.model.outputs.name)}; leave it")
    METRICS[METRIC].refuse(setup.model.input_shape, setup.classes, metrics[METRIC])
    # A folder of images that is read by itself must not mix two runs.
    check_not_in(given.data, folder / FOLDER)
    check_kept(setup.data, folder / FOLDER)
    made = Sampling(metrics[METRIC], models, beside, setup, given, folder, shard)
    setup.tell(
        f"{METRIC}: {made.count:,} samples of {made.steps:,} steps, {made.count * made.steps:,} "
        f"gradients{' of each model' * (len(models) > 1)}"
    )
    judge = beside.get("judge")
    for model in models:
        if judge is not None and model.sha256 and model.sha256 == judge.sha256:
            setup.tell(
                f"WARNING: the judge has the weights of {model.name}, and nearly always sees the "
                "class in its own samples; give --judge another model, or anew"
            )
    return made
