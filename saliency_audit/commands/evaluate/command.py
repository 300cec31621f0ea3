"""``saliency-audit evaluate``: what its options mean."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from saliency_audit.catalogue.methods import METHODS
from saliency_audit.catalogue.metric_presets import PRESETS
from saliency_audit.catalogue.metrics import METRICS
from saliency_audit.catalogue.needs import NEEDS, lacking, takers
from saliency_audit.commands.beside import loaded, refuse_idle_needs, refuse_lacking
from saliency_audit.commands.evaluate.options import ANEW, FIRST_LOOK, OPTIONS
from saliency_audit.commands.fail_on import refusal
from saliency_audit.commands.kept import Preparation, in_turn
from saliency_audit.commands.life import Answer, Done, Entry, Job, live
from saliency_audit.commands.manifold import METRIC as MANIFOLD
from saliency_audit.commands.manifold import learning, refuse_idle_learning
from saliency_audit.commands.masking import masking, refuse_idle_masking
from saliency_audit.commands.options import given_to, of_methods, refuse_idle
from saliency_audit.commands.output import check_apart
from saliency_audit.commands.planting import METRIC, preparation, training_images
from saliency_audit.commands.quick import not_looked_at
from saliency_audit.commands.setup import Setup, fingerprint, refuse_methods
from saliency_audit.errors import InputError
from saliency_audit.options import Given, place_of_report
from saliency_audit.processes import Processes

if TYPE_CHECKING:
    from saliency_audit.catalogue.entries import SaliencyMethod
    from saliency_audit.commands.evaluate.anew import Networks
    from saliency_audit.commands.evaluate.retraining import Retraining
    from saliency_audit.commands.evaluate.sampling import Sampling
    from saliency_audit.models import Classifier
    from saliency_audit.report.figures import View
    from saliency_audit.types import Batch

HELP = """Measure whether saliency maps tell what the model uses, beside random maps.

Example: saliency-audit evaluate --metric deletion --max-samples 16

Example: saliency-audit evaluate my.pt --arch net:build --data images --mean 0.5 --std 0.25
"""
REFUSED = {"worse": ("worse",), "not-distinguishable": ("worse", "not distinguishable")}


def chosen(given: Given) -> dict[str, dict[str, Any]]:
    """The metrics, each with its options: of the preset, and over them those that were given.

    Raises:
        InputError: an option or the preset does nothing for any of them.
    """
    names = given.metric or _by_default(given)
    preset = PRESETS[given.preset].options if given.preset else {}
    if preset and not set(preset) & set(names):
        raise InputError(
            f"--preset {given.preset} is for {', '.join(preset)}; add --metric {next(iter(preset))}"
        )
    method = PRESETS[given.preset].saliency if given.preset else ""
    if method and method not in (given.saliency or ()):
        raise InputError(f"--preset {given.preset} is for {method}; add --saliency {method}")
    refuse_idle(given, "--metric", METRICS, names)
    return {
        name: {**preset.get(name, {}), **given_to(METRICS[name].options, given, of=name)}
        for name in names
    }


def method_options(given: Given) -> dict[str, Any]:
    """The options of saliency methods: of the preset, and over them those that were given."""
    return {**(PRESETS[given.preset].methods if given.preset else {}), **of_methods(given)}


def _by_default(given: Given) -> Sequence[str]:
    """The metrics of a run that names none: those of the preset for which all is given."""
    from saliency_audit.commands.evaluate.audit import METRICS_BY_DEFAULT

    if given.preset is None:
        return METRICS_BY_DEFAULT
    named = PRESETS[given.preset].options
    return [name for name in named if not any(lacking(METRICS[name], vars(given)))]


def check(given: Given) -> None:
    """Refuse what is wrong before anything is loaded.

    Raises:
        InputError: it is.
    """
    from saliency_audit.commands.evaluate.foreign import folders
    from saliency_audit.errors import lookup
    from saliency_audit.models import SCALARS

    for folder in folders(given.maps or ()).values():
        check_apart(place_of_report(given, "evaluate"), maps=folder)
    for name in given.metric or ():
        lookup("metric", METRICS, name)
    for name in (*(given.saliency or ()), *([given.base] if given.base else ())):
        lookup("saliency method", METHODS, name)
    lookup("scalar", SCALARS, given.scalar)
    metrics = chosen(given)
    refuse_idle(given, "--saliency", METHODS, given.saliency or METHODS)
    by_default = {name: "" for name, need in NEEDS.items() if need.by_default}
    refuse_lacking(metrics, vars(given) | by_default)
    anew = given.judge == ANEW
    trains_too = anew or any(
        "train" in (*METRICS[name].needs, *METRICS[name].takes) for name in metrics
    )
    if given.train and given.judge and not trains_too and not given.saliency:
        raise InputError(f"--train is for --judge {ANEW} here; give that or leave --train")
    refuse_idle_needs(
        [n for n in NEEDS if getattr(given, n) is not None and not (anew and n == "train")],
        [*metrics, *(given.saliency or ())],
    )
    refuse_idle_masking(
        vars(given),
        given.saliency or (),
        trains_too=trains_too,
    )
    refuse_idle_learning(
        vars(given),
        metrics=metrics,
        methods=given.saliency or (),
    )
    through = [name for name, options in metrics.items() if "opacity" in options]
    if given.view == "symmetric" and through:
        raise InputError(
            f"--view symmetric is for pictures, and {through[0]} shows images through magnitudes; "
            "take percentile99, minmax or none, or leave one of them"
        )
    trains = [n for n, metric in METRICS.items() if metric.of == "training" or metric.networks]
    trains += takers("judge") if anew else []
    for name in ("recipe", "retrain"):
        if getattr(given, name) and not set(trains) & set(metrics):
            raise InputError(
                f"--{name} is for {', '.join(trains)} and --judge {ANEW}; add --metric {trains[0]} "
                f"or leave --{name}"
            )
    scoring = [name for name, metric in METRICS.items() if metric.scores]
    if given.compile and not set(scoring) & set(metrics):
        raise InputError(
            f"--compile is for metrics that look at changed images without a gradient "
            f"({', '.join(scoring)}), not {', '.join(metrics)}; leave it"
        )
    if given.denoise is not None and given.gan_samples is not None:
        raise InputError(
            f"--gan-samples {given.gan_samples} and --denoise do not go together: it makes one "
            "sample of each image; give --max-samples"
        )
    if given.base is not None and "aopc" not in metrics:
        raise InputError("--base is for --metric aopc; add that or leave --base")


def plan(given: Given, setup: Setup, processes: Processes, *, done: Sequence[Path] = ()) -> Job:
    """What one run does.

    Args:
        given: options of the command.
        setup: the model and the images.
        processes: of this run.
        done: ``trainings.csv`` of other runs, whose trainings are not done again.

    Raises:
        InputError: a further model, maps or annotations cannot be used.
    """
    from saliency_audit.commands.costs import expecting
    from saliency_audit.commands.evaluate.anew import networks
    from saliency_audit.commands.evaluate.audit import SALIENCY_BY_DEFAULT, evaluate
    from saliency_audit.commands.evaluate.costs import economy
    from saliency_audit.commands.evaluate.foreign import folders
    from saliency_audit.commands.evaluate.recipe import test_images
    from saliency_audit.commands.evaluate.report import PICTURES
    from saliency_audit.commands.evaluate.retraining import JOB, retraining
    from saliency_audit.commands.evaluate.sample_report import MANIFEST, PICTURE
    from saliency_audit.commands.evaluate.sampling import FOLDER, JUDGED, SAMPLES, sampling
    from saliency_audit.commands.foreign_function import file_of_callable
    from saliency_audit.metrics import CHECKS
    from saliency_audit.models import refuse_to_compile

    if given.compile:
        refuse_to_compile(setup.model)
    path = place_of_report(given, "evaluate")
    options = method_options(given)
    if given.preset and PRESETS[given.preset].warning:
        setup.tell(PRESETS[given.preset].warning)
    metrics = chosen(given)
    further = [setup.load(spec) for spec in given.compare or ()]
    judge = None if given.judge == ANEW else given.judge
    beside = loaded(vars(given) | {"judge": judge}, setup, metrics)
    explained = [setup.model, *further, *filter(None, [beside.values.get("other")])]
    masks = masking(
        vars(given),
        setup,
        explained,
        given.saliency or (),
        given,
        path,
        processes,
    )
    refuse_methods(setup, given.saliency, scalar=given.scalar, options=options)
    planted = preparation(
        beside.values.get("train"),
        [setup.model, *further],
        [options for name, options in metrics.items() if name == METRIC],
        given,
        path,
        processes,
    )
    asked = {n: one for n, one in metrics.items() if METRICS[n].of not in ("training", "samples")}
    train = beside.values.get("train")
    learned = learning(
        beside.values.get("manifold"),
        vars(given),
        setup,
        given,
        path,
        processes,
        asked=[options for name, options in metrics.items() if name == MANIFOLD],
        data=getattr(train, "data", None),
    )
    if given.judge == ANEW and train is None:
        train = training_images(given.train, setup)
    anew = networks(
        given,
        setup,
        processes,
        metrics=metrics,
        data=getattr(train, "data", None),
        tested=partial(test_images, given, setup),
        judged=given.judge == ANEW,
        folder=path,
    )
    if anew is not None and train is not None:
        train.network = anew
    # What networks are trained on is handed to those alone that look at them.
    looked_at = any("train" in METRICS[name].needs for name in asked)
    values = {n: v for n, v in beside.values.items() if n != "train" or looked_at}
    models = [*further, *beside.models]
    judged = _judge_made(anew, values, models) if given.judge == ANEW else None
    samples = sampling(
        given,
        setup,
        metrics=metrics,
        models=[setup.model, *further],
        beside=values,
        folder=path,
        shard=(processes.rank, processes.world),
    )
    own = folders(given.maps or ())
    methods, problems = _foreign_maps(given, setup)
    code = file_of_callable(given.explain) if given.explain else None
    trained = retraining(
        given,
        setup,
        processes,
        metrics=metrics,
        models=[setup.model, *further],
        data=getattr(beside.values.get("train"), "data", None),
        options=options,
        methods=methods,
        beside={"explain": code and fingerprint(code), **masks.settings},
        folder=path,
        done=done,
    )
    prepared: list[Preparation | Networks | Retraining] = [planted, masks, learned]
    prepared += filter(None, (anew, trained))
    left_out, note = economy(
        given.metric or ([given.preset] if given.preset else None),
        given.saliency or list(methods) or (FIRST_LOOK.methods if given.quick else None),
        by_default=SALIENCY_BY_DEFAULT,
        options=options,
        sides=setup.model.input_shape[1:],
    )
    if note:
        setup.tell(note)
    unusual = not_looked_at(given, FIRST_LOOK, SALIENCY_BY_DEFAULT)
    opacities = [one["opacity"] for one in metrics.values() if "opacity" in one]
    view: Any = given.view or (opacities or [""])[0]
    return Job(
        settings={
            "metrics": metrics,
            "saliency": given.saliency or "default",
            "left out": [*left_out, *unusual],
            "scalar": given.scalar,
            "target": given.target,
            "method options": options,
            "compared": [model.sha256 for model in further],
            **beside.settings,
            **masks.settings,
            **learned.settings,
            "maps": {name: str(place) for name, place in own.items()},
            "explain": given.explain,
            "base": given.base,
            "compile": given.compile,
            "trained": trained.settings if trained else None,
            "trained anew": anew.settings if anew else None,
            "files": [fingerprint(place) for place in (*own.values(), code) if place],
        },
        audit=partial(
            evaluate,
            setup.model,
            setup.data,
            metrics=asked,
            by_default=given.metric is None,
            saliency=given.saliency,
            scalar=given.scalar,
            target=given.target,
            options=options,
            methods=methods,
            problems=problems,
            models=further,
            beside=values,
            base=given.base,
            left_out=left_out,
            unusual=unusual,
            seed=given.seed,
            batch_size=setup.batch_size,
            workers=given.workers,
            shard=(processes.rank, processes.world),
            further=partial(_further, trained, samples) if trained or samples else None,
            expect=expecting(setup, processes),
        ),
        answer=partial(answer, fail_on=given.fail_on, samples=samples),
        report=partial(
            report,
            path=path,
            several=bool(further),
            base=given.base,
            view=view,
            samples=samples,
        ),
        files=[
            *(file for one in prepared for file in one.files),
            *([MANIFEST] if samples else ()),
        ],
        pictures=[*PICTURES, PICTURE, *CHECKS],
        reads={
            "--compare": given.compare,
            "--maps": [str(place) for place in own.values()],
            "--explain": given.explain,
            **{need.option.flag: getattr(given, name) for name, need in NEEDS.items()},
        },
        models=models,
        ready=in_turn(
            *(one.make for one in prepared),
            *([judged] if judged else ()),
            *([partial(_compile, setup)] if given.compile else ()),
        ),
        clear=[f"{FOLDER}/"],
        parts=("", *([JOB] if trained else ()), *((JUDGED, SAMPLES) if samples else ())),
    )


def _further(
    trained: "Retraining | None",
    samples: "Sampling | None",
    begin: Callable[[str], Any],
    advance: Callable[[int, int], None],
) -> "Iterator[Batch]":
    """What is measured of no image."""
    if trained is not None and trained.processes.main:
        yield trained.batch()
    if samples is not None:
        yield from samples.batches(begin, advance)


def _compile(setup: Setup) -> None:
    """Have what needs no gradient go through compiled code, of the audited model alone."""
    from saliency_audit.models import compile_scores

    setup.tell(
        f"compiling {setup.model.name} for {setup.batch_size} images at a time: what metrics look "
        "at without a gradient goes through that, maps and further models do not"
    )
    with setup.model.audited():
        compile_scores(setup.model, batch_size=setup.batch_size)


def _judge_made(
    anew: "Networks | None", values: dict[str, Any], models: "list[Classifier]"
) -> Callable[[], None]:
    """What puts the judge that was trained anew where metrics look for it."""
    from saliency_audit.commands.evaluate.anew import JUDGE

    def put() -> None:
        assert anew is not None
        values["judge"] = anew.made[JUDGE].model
        models.append(values["judge"])

    return put


def _foreign_maps(
    given: Given, setup: Setup
) -> "tuple[dict[str, SaliencyMethod], dict[str, Mapping[str, str]]]":
    """Maps made elsewhere as methods by name, and which images have none, with the reason."""
    from saliency_audit.commands.evaluate.foreign import folders, maps_from_files
    from saliency_audit.commands.foreign_function import maps_from_callable

    methods: dict[str, SaliencyMethod] = {}
    problems: dict[str, Mapping[str, str]] = {}
    for name, folder in folders(given.maps or ()).items():
        methods[name], notes, problems[name] = maps_from_files(folder, setup.data)
        for line in notes:
            setup.tell(line)
    if given.explain is not None:
        name, method = maps_from_callable(given.explain)
        methods[name] = method
    return methods, problems


def answer(done: Done, *, fail_on: str | None, samples: "Sampling | None") -> Answer:
    """The word for each map and metric."""
    from saliency_audit.commands.evaluate.sample_report import samples_sentence
    from saliency_audit.commands.evaluate.terminal import others_shown, verdicts_shown
    from saliency_audit.commands.evaluate.verdict import evaluate_sentence, evaluate_verdicts
    from saliency_audit.stats.paired import differences

    summary = _summary(done)
    verdicts = evaluate_verdicts(summary, differences(done.rows), done.rows)
    sentence = evaluate_sentence(verdicts, images=done.clean.readable)
    if samples is not None:
        said = samples_sentence(summary, samples.judge)
        sentence = f"{sentence} {said}" if (verdicts["verdict"] != "").any() else said
    return Answer(
        sentence,
        {"verdicts": verdicts},
        [
            *others_shown(summary, done.rows, width=done.width),
            *verdicts_shown(verdicts, width=done.width),
        ],
        refused=refusal(fail_on, verdicts["verdict"], REFUSED.get(fail_on or "", ())),
    )


def report(
    done: Done,
    answer: Answer,
    about: Mapping[str, Any],
    *,
    path: Path,
    several: bool,
    base: str | None,
    view: "View",
    samples: "Sampling | None",
) -> None:
    """Write tables, pictures and page, and what became of samples."""
    from saliency_audit.commands.evaluate.report import write_evaluate_report
    from saliency_audit.commands.evaluate.sample_report import write_samples
    from saliency_audit.commands.evaluate.verdict import EVALUATE_WORDS
    from saliency_audit.metrics import CHECKS
    from saliency_audit.stats.paired import between_models, relative_drop

    examples, drawn = list(done.folder.examples()), []
    if samples is not None:
        drawn = write_samples(
            path,
            done.rows,
            examples,
            judge=samples.judge,
            images=done.setup.data.names,
            denoises=samples.denoises,
            names=done.setup.class_names,
            seed=samples.given.seed,
        )
    write_evaluate_report(
        path,
        summary=_summary(done),
        verdicts=answer.tables["verdicts"],
        curves=done.folder.curves(),
        examples=examples,
        samples=drawn,
        sentence=answer.sentence,
        run=about,
        words=EVALUATE_WORDS,
        said=done.explained,
        view=view,
        checks=CHECKS,
        results=done.rows,
        compared=between_models(done.rows) if several else None,
        drops=None if base is None else relative_drop(done.rows, base),
    )


def _summary(done: Done) -> Any:
    import pandas as pd

    from saliency_audit.commands.evaluate.verdict import evaluate_chances
    from saliency_audit.metrics import CHECKS
    from saliency_audit.stats.medians import median_summary
    from saliency_audit.stats.summary import summarise

    better = {name: check.higher_is_better for name, check in CHECKS.items()}
    chances = evaluate_chances(done.rows, done.setup.alternatives)
    summary = summarise(done.rows, higher_is_better=better, chance=chances)
    return pd.concat(
        [summary, median_summary(done.rows, higher_is_better=better)], ignore_index=True
    )


COMMAND = Entry(
    "evaluate",
    OPTIONS,
    HELP,
    partial(
        live,
        command="evaluate",
        doing="measurements",
        check=check,
        plan=plan,
        first_look=FIRST_LOOK,
    ),
)
