"""``saliency-audit fool``: what its options mean."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from saliency_audit.catalogue.methods import METHODS
from saliency_audit.catalogue.needs import takes
from saliency_audit.catalogue.tricks import OF_LESSON, TRAIN, TRICKS, UNTRAINED
from saliency_audit.commands.fail_on import refusal
from saliency_audit.commands.fool.options import FIRST_LOOK, OPTIONS
from saliency_audit.commands.life import Answer, Done, Entry, Job, live
from saliency_audit.commands.masking import masking, refuse_idle_masking
from saliency_audit.commands.options import given_to, of_methods, refuse_idle
from saliency_audit.commands.output import wrote
from saliency_audit.commands.quick import not_looked_at
from saliency_audit.commands.setup import Setup, refuse_methods
from saliency_audit.commands.train import images_to_train_on
from saliency_audit.options import Given, place_of_report
from saliency_audit.processes import Processes

ALL = "all"

if TYPE_CHECKING:
    from saliency_audit.report.figures import View

HELP = """Make saliency maps show any picture without changing a prediction, and say which can be.

Example: saliency-audit fool --saliency gradient --saliency gradcam --max-samples 8

Example: saliency-audit fool my.pt --arch net:build --data images --mean 0.5 --std 0.25
"""


def check(given: Given) -> None:
    """Refuse what is wrong before anything is loaded.

    Raises:
        InputError: it is.
    """
    from saliency_audit.commands.picture import load_picture
    from saliency_audit.errors import InputError, lookup
    from saliency_audit.models import SCALARS

    for name in named(given.saliency) or ():
        lookup("saliency method", METHODS, name)
    for name in given.scalar or ():
        lookup("scalar", SCALARS, name)
    played = given.trick or UNTRAINED
    refuse_idle(given, "--trick", TRICKS, played)
    trains = any(TRICKS[name].trains for name in played)
    refuse_idle_masking(
        vars(given), [*(given.saliency or ()), *explained(given)], trains_too=trains
    )
    if not trains:
        masks = "train" in takes(explained(given))
        for option in (*([] if masks else [TRAIN]), *OF_LESSON):
            if option.name in given.said:
                trained = " or ".join(name for name in TRICKS if name not in UNTRAINED)
                raise InputError(
                    f"{option.flag} is for --trick {trained}, not {', '.join(played)}; leave it or "
                    "ask for that"
                )
    elif given.forge not in METHODS:
        lookup("saliency method", METHODS, given.forge)
    refuse_idle(given, "--saliency", METHODS, named(given.saliency) or METHODS)
    load_picture(given.picture, (8, 8))


def explained(given: Given) -> list[str]:
    """Methods that are asked for by name, that of a lesson included."""
    trains = any(TRICKS[name].trains for name in given.trick or ())
    return [*(name for name in given.saliency or () if name != ALL), *([given.forge] * trains)]


def named(saliency: list[str] | None) -> list[str] | None:
    """The methods asked for by name; None for all."""
    return None if saliency and ALL in saliency else saliency


def plan(given: Given, setup: Setup, processes: Processes) -> Job:
    """What one run does."""
    from saliency_audit.commands.costs import expecting
    from saliency_audit.commands.fool.audit import SCALARS_BY_DEFAULT, fool
    from saliency_audit.commands.fool.costs import economy
    from saliency_audit.commands.fool.forgery import MODEL_FILES
    from saliency_audit.commands.picture import picture_sha256
    from saliency_audit.models import trainable

    tricks = {name: given_to(TRICKS[name].options, given) for name in given.trick or UNTRAINED}
    scalars = given.scalar or list(SCALARS_BY_DEFAULT)
    path = place_of_report(given, "fool")
    masks = masking(vars(given), setup, [setup.model], explained(given), given, path, processes)
    refuse_methods(setup, given.saliency, scalar=scalars[0], options=of_methods(given))
    saved = economy(
        given.saliency,
        given.scalar,
        besides=not_looked_at(given, FIRST_LOOK, tuple(METHODS)),
        first=scalars[0],
        options=of_methods(given),
        sides=setup.model.input_shape[1:],
    )
    if saved.note:
        setup.tell(saved.note)
    trained = [f"--trick {name}" for name in tricks if TRICKS[name].trains]
    if trained:
        trainable(setup.model)
    train = images_to_train_on(given.train, setup, what=trained[0]) if trained else None
    lesson = given_to(OF_LESSON, given)

    def trained_before(trick: str) -> Path | None:
        # A run goes on with the same settings only, so whatever decides the weights is the same.
        file = path / f"{trick}.safetensors"
        own = given.resume and wrote(path, file.name) and file.is_file()
        return file if processes.gathered(own)[0] else None

    return Job(
        settings={
            "tricks": tricks,
            "picture": str(given.picture or "bundled"),
            "picture sha256": picture_sha256(given.picture),
            "strength": given.strength,
            "saliency": named(given.saliency) or "all that the model allows",
            "scalars": scalars,
            "one scalar": list(saved.once),
            "left out": list(saved.left_out),
            "target": given.target,
            "method options": of_methods(given),
            "training data": None if train is None else [train.name, train.fingerprint],
            "training": lesson if train else {},
            **masks.settings,
        },
        audit=partial(
            fool,
            setup.model,
            setup.data,
            tricks=tricks,
            picture=given.picture,
            strength=given.strength,
            saliency=named(given.saliency),
            scalars=scalars,
            saved=saved,
            target=given.target,
            options=of_methods(given),
            folder=path,
            seed=given.seed,
            batch_size=setup.batch_size,
            workers=given.workers,
            shard=(processes.rank, processes.world),
            skip_impossible=given.trick is None,
            train=train,
            lesson=lesson,
            trained=trained_before,
            once=processes.by_first,
            expect=expecting(setup, processes),
        ),
        answer=partial(answer, tricks=tricks, fail_on=given.fail_on),
        report=partial(report, path=path, view=given.view or ""),
        files=[*MODEL_FILES, *masks.files],
        pictures=[*TRICKS, "verdicts", "examples"],
        reads={"--picture": given.picture, "--train": given.train, "--masker": given.masker},
        ready=masks.make,
    )


def answer(done: Done, *, tricks: Mapping[str, Mapping[str, Any]], fail_on: str | None) -> Answer:
    """The verdicts, and whether every prediction was kept."""
    from saliency_audit.commands.fool.forgery import bounds
    from saliency_audit.commands.fool.terminal import shown
    from saliency_audit.commands.fool.verdict import (
        all_kept,
        fool_sentence,
        fool_verdicts,
        kept_promises,
    )

    promises = kept_promises(done.rows, bounds(tricks))
    promises = promises[promises["n"] + promises["n_undefined"] > 0]
    kept = all_kept(promises)
    verdicts = fool_verdicts(_summary(done), kept, done.rows)
    words = list(verdicts.loc[verdicts["scalar"] != "", "verdict"])
    # A model that changed its predictions shows nothing of its maps.
    words += ["predictions changed" for stayed in kept.values() if not stayed]
    refused = {"forged", "predictions changed"} | {fail_on or ""}
    return Answer(
        fool_sentence(verdicts, kept, images=done.clean.readable),
        {"verdicts": verdicts, "promises": promises},
        shown(verdicts, promises, width=done.width),
        refused=refusal(fail_on, words, refused),
    )


def report(done: Done, answer: Answer, about: dict[str, Any], *, path: Path, view: "View") -> None:
    """Write tables, pictures and page."""
    from saliency_audit.commands.fool.report import write_fool_report
    from saliency_audit.commands.fool.verdict import FOOL_WORDS

    write_fool_report(
        path,
        summary=_summary(done),
        verdicts=answer.tables["verdicts"],
        promises=answer.tables["promises"],
        examples=done.folder.examples(),
        sentence=answer.sentence,
        run=about,
        results=done.rows,
        words=FOOL_WORDS,
        said=done.explained,
        view=view,
    )


def _summary(done: Done) -> Any:
    from saliency_audit.metrics import CHECKS
    from saliency_audit.stats.summary import summarise

    better = {name: check.higher_is_better for name, check in CHECKS.items()}
    return summarise(done.rows, higher_is_better=better)


RUN = partial(live, command="fool", doing="maps", check=check, plan=plan, first_look=FIRST_LOOK)
COMMAND = Entry("fool", OPTIONS, HELP, RUN)
