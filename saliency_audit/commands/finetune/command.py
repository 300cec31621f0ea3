"""``saliency-audit finetune``: what its options mean."""

from dataclasses import asdict
from functools import cache, partial

from saliency_audit.commands.finetune.data import open_annotations, open_training, validation_of
from saliency_audit.commands.finetune.grid import refuse_idle_sweep
from saliency_audit.commands.finetune.model import to_train, try_audit, under_activation
from saliency_audit.commands.finetune.options import OPTIONS
from saliency_audit.commands.finetune.plan import audited, budgets, planned
from saliency_audit.commands.finetune.run import Work, answer, audit, report
from saliency_audit.commands.life import Entry, Job, live
from saliency_audit.commands.masking import refuse_untrained
from saliency_audit.commands.setup import Screen, Setup, fingerprint, prepare
from saliency_audit.errors import InputError
from saliency_audit.options import Given, place_of_report
from saliency_audit.processes import Processes

HELP = """Train a model whose gradients can be trusted more, and audit it before and after.

Example: saliency-audit finetune --objective gradient-norm --max-steps 20 --max-samples 8

Example: saliency-audit finetune my.pt --arch net:build --data images --objective noise
"""
MODELS = ("model.safetensors", "model.pt2")
OF_ANOTHER = (*MODELS, "training.csv", "run.json")
"""Files of an earlier run that a new one must not be taken for."""


def check(given: Given) -> None:
    """Refuse what is wrong before anything is loaded.

    Raises:
        InputError: it is.
    """
    from saliency_audit.commands.finetune.before_and_after import check_before_and_after

    refuse_idle_sweep(given)
    audited(given)
    check_before_and_after(_saliency(given), given.scalar, budgets=budgets(given, planned(given)))
    refuse_untrained(given.saliency, "finetune")


def opened(given: Given, screen: Screen, *, processes: Processes) -> Setup:
    """The model as it is given, or an architecture alone, with the images to validate on.

    Raises:
        InputError: anything that the user must change first.
    """
    return prepare(
        given.but(data=validation_of(given.data, given.val), max_samples=None),
        screen,
        processes=processes,
        untrained=_untrained(given),
    )


def plan(given: Given, setup: Setup, processes: Processes) -> Job:
    """What one run does.

    Raises:
        InputError: the model or the images do not allow it.
    """
    from saliency_audit.commands.finetune.audit import CHECKPOINT, check_training_data
    from saliency_audit.commands.finetune.before_and_after import JOBS
    from saliency_audit.commands.finetune.report import PICTURES
    from saliency_audit.metrics import CHECKS
    from saliency_audit.models import trainable
    from saliency_audit.training.loop import check_objective
    from saliency_audit.training.recipe import check_recipe

    wanted, untrained = planned(given), _untrained(given)
    trainable(setup.model)
    train, setup.data = open_training(
        setup,
        data=given.data,
        val=given.val,
        classes=given.classes,
        resize=given.resize,
        max_train=given.max_train,
        max_val=given.max_val,
        seed=given.seed,
    )
    for line in check_training_data(train, setup.classes):
        setup.tell(line)
    if given.min_accuracy and not setup.data.labelled:
        raise InputError(
            f"--min-accuracy {given.min_accuracy:g} needs labels and {setup.data.name} has none"
        )
    check_recipe(
        wanted.recipe,
        len(train),
        processes=processes.world,
        replay=int(wanted.options.get("replay", 1)),
    )
    other, teacher = (setup.load(spec) if spec else None for spec in (given.other, given.teacher))
    before = None if untrained else setup.model
    if given.against is not None:
        before = setup.load(given.against)
        setup.tell(f"'before' is {before.name} (--against), not the model that is trained")
    if untrained and teacher is None and "targets" in wanted.objective.needs:
        raise InputError(
            f"--objective {wanted.name} of random weights has nobody to learn from; give "
            "--teacher, such as the model.safetensors of --objective pgd"
        )
    model = to_train(setup, given, wanted)
    check_objective(model, wanted.objective, wanted.options, setup.classes)
    beside = [one for one in (before, other, teacher) if one is not None]
    try_audit(given, setup, model, beside)
    path = place_of_report(given, "finetune")
    work = Work(
        given,
        setup,
        wanted,
        path,
        train,
        open_annotations(given, wanted, train, setup),
        model,
        before,
        under_activation(before, model) if before is setup.model else None,
        other,
        teacher,
        checks=audited(given),
        budgets=budgets(given, wanted),
        # A teacher's maps whose settings are not beside them may be of any training.
        begun=(path / "partial" / "settings.json").is_file(),
        processes=processes,
    )
    work.measure_clean = cache(work.clean_of_trained) if untrained else None
    return Job(
        settings={
            "objective": wanted.name,
            "options": wanted.options,
            "recipe": asdict(wanted.recipe),
            "activation": model.activation,
            "from scratch": given.from_scratch,
            "training data": train.name,
            "training data fingerprint": train.fingerprint,
            "processes": processes.world,
            "teacher": teacher and teacher.sha256,
            "teacher options": wanted.teacher if "targets" in wanted.objective.needs else {},
            "annotations": given.annotations and fingerprint(given.annotations),
            "checkpoint every": given.checkpoint_every,
            "min accuracy": given.min_accuracy,
            "against": given.against and before and before.sha256,
            "other": other and other.sha256,
            "saliency": _saliency(given),
            "scalar": given.scalar,
            "target": given.target,
            "audit": work.checks,
            "audit budgets": work.budgets,
        },
        audit=partial(audit, work),
        answer=partial(answer, work=work),
        report=partial(report, work=work),
        files=(*MODELS, CHECKPOINT.as_posix(), "training.csv"),
        pictures=[*PICTURES, *CHECKS],
        reads={
            "--data": given.data,
            "--teacher": given.teacher,
            "--against": given.against,
            "--other": given.other,
            "--annotations": given.annotations,
        },
        models=[one for one in dict.fromkeys(beside) if one is not setup.model],
        # A training that fails must not leave an earlier one's model for its own.
        clear=(CHECKPOINT.as_posix(), *OF_ANOTHER),
        parts=JOBS,
        measure_clean=work.measure_clean,
    )


def _saliency(given: Given) -> tuple[str, ...]:
    return tuple(given.saliency or ("gradient",))


def _untrained(given: Given) -> bool:
    """Whether there is no model but the one that is trained."""
    return given.from_scratch and given.model is None and given.arch is not None


def run(given: Given, screen: Screen) -> int:
    """Train once, or once for each point of a sweep."""
    if given.sweep:
        from saliency_audit.commands.finetune.sweep import sweep

        return sweep(given, screen)
    return live(given, screen, command="finetune", check=check, prepare=opened, plan=plan)


COMMAND = Entry("finetune", OPTIONS, HELP, run)
