"""``finetune --sweep``: a complete run of the command for each point of a grid."""

from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from saliency_audit.commands.evaluate.command import plan as plan_evaluation
from saliency_audit.commands.evaluate.options import OPTIONS as OF_EVALUATE
from saliency_audit.commands.evaluate.recipe import fresh_network, read_recipe, refuse_unlabelled
from saliency_audit.commands.finetune.command import check, opened, plan
from saliency_audit.commands.finetune.data import training_of, validation_of
from saliency_audit.commands.finetune.grid import Grid, Point, grid
from saliency_audit.commands.finetune.options import TRAINED_ANEW
from saliency_audit.commands.finetune.plan import trained_for
from saliency_audit.commands.life import Job, live
from saliency_audit.commands.options import (
    ARGUMENT,
    CLASS_NAMES,
    OF_FILES,
    OF_MODEL,
    OF_RUN,
    SCALAR,
    given_to,
)
from saliency_audit.commands.setup import Advance, Screen, Setup
from saliency_audit.commands.train import images_to_train_on
from saliency_audit.errors import AuditError, InputError
from saliency_audit.options import Given, place_of_report
from saliency_audit.processes import ALONE, Apart, Processes, apart

if TYPE_CHECKING:
    from saliency_audit.types import Batch, Row

POINTS = "points"
"""Folder of the runs, in the output folder."""
_BEGUN, _DONE = "sweep-begun", "sweep-done-{}"


@dataclass
class _Sweep:
    """What is to be trained, and by whom.

    Attributes:
        given: options of the command.
        grid: the trainings.
        share: this process among those that share them.
        path: the output folder.
        screen: what the user sees.
        failed: why, by name of a training.
        trained: whether any training of this process went to its end.
    """

    given: Given
    grid: Grid
    share: Apart
    path: Path
    screen: Screen
    failed: dict[str, str] = field(default_factory=dict)
    trained: bool = False

    @property
    def own(self) -> list[int]:
        """Places of the trainings that this process does."""
        return list(range(len(self.grid.points)))[self.share.rank :: self.share.world]

    def folder(self, point: Point) -> Path:
        """Of a training."""
        return self.path / POINTS / point.name

    @property
    def trainings(self) -> list[Path]:
        """Where points keep what they trained anew: no other need do it again."""
        from saliency_audit.commands.evaluate.retraining import FILE

        return [self.folder(point) / "evaluate" / FILE for point in self.grid.points]

    def train(self, place: int) -> None:
        """Do a training with all that is measured of it, or go on where it was left.

        Raises:
            InputError: it cannot be done, and nothing was trained yet.
            AuditError: likewise, after others were.
        """
        point = self.grid.points[place]
        device = self.share.device(self.given.device)
        one = point.given.but(
            output_dir=self.folder(point),
            resume=self.given.resume,
            device=device,
            quiet=self.given.quiet or not self.share.main,
        )
        where = f"training {place + 1} of {len(self.grid.points)} ({point.name})"
        screen = _OfOne(self.screen, where)
        try:
            live(one, screen, command="finetune", check=check, prepare=opened, plan=plan)
            self.trained = True
            if self.grid.anew:
                live(
                    _evaluation(self.given, one, self.grid.anew),
                    screen,
                    command="evaluate",
                    doing="measurements",
                    prepare=partial(_trained, one),
                    plan=partial(plan_evaluation, done=self.trainings),
                )
        except InputError as error:
            if not self.trained:
                raise
            raise AuditError(f"{where}: {error}") from error
        except AuditError as error:
            self.failed[point.name] = str(error)
            self.screen.note(f"{where} failed: {error}")
        self.trained = True


@dataclass(frozen=True)
class _OfOne:
    """The screen of one training: no answer of its own, and each line says whose it is."""

    screen: Screen
    where: str

    def tell(self, head: str, line: str) -> None:
        """Leave out: the sweep has told what holds for all."""

    def progress(self, what: str, *, quiet: bool) -> AbstractContextManager[Advance]:
        """A bar that says of what."""
        return self.screen.progress(f"{self.where}: {what}", quiet=quiet)

    def note(self, line: str) -> None:
        """A line that says of what."""
        self.screen.note(f"{self.where}: {line}")

    def write(self, text: str) -> None:
        """Leave out."""

    def show(self, *things: Any) -> None:
        """Leave out: the table of the sweep has it."""

    def width(self) -> int:
        """As it is."""
        return self.screen.width()


def sweep(given: Given, screen: Screen) -> int:
    """Train and audit every point, and say what it costs and brings.

    Several processes share the points out, and each point is trained by one process alone.

    Args:
        given: options of the command, ``--sweep`` among them.
        screen: what the user sees.

    Returns:
        The exit code.

    Raises:
        InputError: the user must change something first; nothing is left behind.
        AuditError: it failed while running; what was finished is kept.
    """
    wanted = grid(given)
    for point in wanted.points:
        check(point.given)
    with apart() as share:
        path = place_of_report(given, "finetune")
        work = _Sweep(given, wanted, share, path, screen)
        if not share.main:
            return _beside(work)
        try:
            return live(
                given.but(device=share.device(given.device)),
                screen,
                command="finetune",
                prepare=opened,
                plan=partial(_plan, work=work),
            )
        except AuditError as error:
            share.tell(_BEGUN, {"problem": str(error)})
            raise


def _beside(work: _Sweep) -> int:
    """A process beside the first: its points, once that says that the folder is the sweep's."""
    from saliency_audit.report.ledger import Ledger

    share = work.share
    begun = share.hear(_BEGUN)
    if begun["problem"]:
        raise InputError(begun["problem"])
    ledger = Ledger(work.path, rank=share.rank)
    ledger.open()
    try:
        for place in work.own:
            if place not in begun["done"]:
                work.train(place)
    except AuditError as error:
        share.tell(_DONE.format(share.rank), {"failed": work.failed, "problem": str(error)})
        raise
    finally:
        ledger.close()
    share.tell(_DONE.format(share.rank), {"failed": work.failed, "problem": ""})
    return 0


def _plan(given: Given, setup: Setup, processes: Processes, *, work: _Sweep) -> Job:
    """What the first process does; everything that can be refused is, before any training.

    Raises:
        InputError: a point that cannot be trained.
    """
    from saliency_audit.commands.clean import Clean
    from saliency_audit.commands.finetune import sweep_report

    jobs = []
    for i, point in enumerate(work.grid.points):
        # Lines that hold for all points are told once.
        quiet = replace(setup, quiet=setup.quiet or i > 0, notes=setup.notes if not i else [])
        jobs.append(plan(point.given, quiet, ALONE))
        if not i:
            validation = quiet.data
    setup.data = validation
    if work.grid.anew:
        _refuse_anew(given, setup, work.grid.anew)
    none = given.from_scratch and given.model is None and given.arch is not None
    settings = {point.name: job.settings for point, job in zip(work.grid.points, jobs, strict=True)}
    asked = _asked_anew(given, work.grid.anew)
    name, _ = trained_for(given)
    return Job(
        settings={
            "swept": {option: _values(work.grid, option) for option in work.grid.options},
            "seeds": given.sweep_seeds or 1,
            "trained anew": {**asked, "recipe": given.recipe, "retrain": given.retrain},
            "points": settings,
        },
        audit=partial(_audit, work=work),
        answer=partial(sweep_report.answer, work.path / POINTS, wanted=work.grid, objective=name),
        report=partial(sweep_report.report, path=work.path, wanted=work.grid, objective=name),
        files=sweep_report.FILES,
        pictures=sweep_report.pictures(work.grid),
        reads=jobs[0].reads,
        # What a point left that is not of this sweep must not be taken for one of it.
        clear=(f"{POINTS}/", *sweep_report.FILES, "run.json"),
        measure_clean=cache(lambda: Clean(0, 0, 0, 0, setup.classes)) if none else None,
    )


def _values(wanted: Grid, option: str) -> list[Any]:
    return list(dict.fromkeys(point.values[option] for point in wanted.points))


def _audit(
    *,
    begin: Callable[..., Container[int]],
    tell: Callable[[str], None],
    advance: Advance,
    work: _Sweep,
) -> "Iterator[Batch]":
    """Train the points of this process, and wait for those of the others.

    Yields:
        A batch for each point, of the rows of its trained model.
    """
    from saliency_audit.types import Batch

    del tell, advance
    count, share = len(work.grid.points), work.share
    kept = begin()
    done = [i for i in range(count) if i in kept]
    share.tell(_BEGUN, {"problem": "", "done": done})
    own = work.own
    for place in own:
        if place not in done:
            work.train(place)
            yield Batch(place, _rows(work, work.grid.points[place]), [], [])
    for rank in range(1, share.world):
        told = share.hear(_DONE.format(rank))
        work.failed |= told["failed"]
        if told["problem"]:
            raise AuditError(told["problem"])
    for place in range(count):
        if place not in own and place not in done:
            yield Batch(place, _rows(work, work.grid.points[place]), [], [])


def _rows(work: _Sweep, point: Point) -> "list[Row]":
    """What was measured of a trained model, which is called as its point; or why it failed."""
    from saliency_audit.commands.finetune.before_and_after import FINETUNED
    from saliency_audit.report.results import read_results
    from saliency_audit.types import COLUMNS

    if point.name in work.failed:
        why = work.failed[point.name].replace(";", ",").replace("=", "-")
        row: Row = dict.fromkeys(COLUMNS, "")
        return [row | {"model": point.name, "setting": f"reason={why}", "status": "error"}]
    folder, name = work.folder(point), f"results.{work.given.format}"
    rows = read_results(folder / name)
    found = [rows[rows["model"] == FINETUNED]]
    if work.grid.anew:
        found.append(read_results(folder / "evaluate" / name))
    return [
        {str(name): value for name, value in row.items()} | {"model": point.name}
        for one in found
        for row in one.to_dict("records")
    ]


def _asked_anew(given: Given, anew: Sequence[str]) -> Mapping[str, Mapping[str, Any]]:
    """The options of metrics that train networks anew."""
    return {name: given_to(TRAINED_ANEW[name].options, given, of=name) for name in anew}


def _refuse_anew(given: Given, setup: Setup, anew: Sequence[str]) -> None:
    """Refuse what the networks that are trained anew would refuse after the first training.

    Raises:
        InputError: one of their options, or images that they cannot be trained on.
    """
    from saliency_audit.training.recipe import check_recipe

    for name, options in _asked_anew(given, anew).items():
        TRAINED_ANEW[name].refuse(setup.model.input_shape, setup.classes, options)
    fresh_network(setup.model, given, given.seed)
    data = given.data
    if data is not None and given.val is None and validation_of(data, None) == training_of(data):
        raise InputError(
            f"--audit {anew[0]} trains networks anew on all of --data {data}, a part of which "
            "would be validated on; give other images with --val"
        )
    spec = None if data is None else training_of(data)
    train = images_to_train_on(spec, replace(setup, quiet=True, notes=[]), what="a sweep")
    for images, flag in ((train, "--data"), (setup.data, "--val")):
        refuse_unlabelled(images, flag, anew[0])
    check_recipe(read_recipe(given.recipe or ()), len(train), anew=True)


def _evaluation(given: Given, one: Given, anew: Sequence[str]) -> Given:
    """The options of ``evaluate`` for the trained model of a point."""
    options = {option.name: option.default for option in OF_EVALUATE}
    # Options of objectives share names with those of metrics and methods.
    same = (ARGUMENT, *OF_FILES, SCALAR, *OF_MODEL, CLASS_NAMES, *OF_RUN)
    options |= {option.name: getattr(one, option.name) for option in same}
    options |= {option: getattr(given, option) for option in ("recipe", "retrain")}
    for name in anew:
        options |= {o.name: getattr(given, o.name) for o in TRAINED_ANEW[name].options}
    return Given(
        **options
        | {
            "metric": list(anew),
            "train": None if one.data is None else training_of(one.data),
            "data": validation_of(one.data, one.val),
            "target": one.target,
            "saliency": one.saliency or ["gradient"],
            "output_dir": one.output_dir / "evaluate",
            # All validation images are the test images, unless there are to be fewer.
            "said": frozenset({"max_samples"} if one.max_val is not None else ()),
        }
    )


def _trained(one: Given, given: Given, screen: Screen, *, processes: Processes) -> Setup:
    """The trained model of a point, with the images that it is evaluated on."""
    from saliency_audit.data.dataset import subset
    from saliency_audit.models import reload

    setup = opened(one.but(quiet=True), screen, processes=processes)
    if one.max_val is not None:
        setup.data = subset(setup.data, one.max_val, one.seed)
    setup.model = reload(one.output_dir / "model.safetensors", setup.model)
    setup.quiet = given.quiet
    return setup
