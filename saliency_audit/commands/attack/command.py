"""``saliency-audit attack``: what its options mean."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from saliency_audit.catalogue.attack_presets import PRESETS
from saliency_audit.catalogue.attacks import ATTACKS, EVOLUTION, GRADIENT, SEARCHES, TARGET_MAP
from saliency_audit.catalogue.methods import METHODS
from saliency_audit.commands.attack.options import FIRST_LOOK, OPTIONS
from saliency_audit.commands.fail_on import refusal
from saliency_audit.commands.life import Answer, Done, Entry, Job, live
from saliency_audit.commands.masking import masking, refuse_idle_masking
from saliency_audit.commands.options import given_to, of_methods, options_of, refuse_idle
from saliency_audit.commands.output import check_kept, check_not_in
from saliency_audit.commands.quick import not_looked_at
from saliency_audit.commands.setup import Setup, fingerprint, refuse_methods
from saliency_audit.errors import InputError
from saliency_audit.options import Given, place_of_report
from saliency_audit.processes import Processes

if TYPE_CHECKING:
    from saliency_audit.report.figures import View

HELP = """\
Move saliency maps through the image, with every prediction unchanged, and say which can be.

Example: saliency-audit attack --saliency gradient --measure gradient --max-samples 8

Example: saliency-audit attack my.pt --arch net:build --data images --mean 0.5 --std 0.25
"""


@dataclass(frozen=True)
class Chosen:
    """What is attacked, and how: the command line over the preset over the defaults.

    Attributes:
        attacks: their names.
        norm: of the budgets.
        eps: budgets; None means each attack's own.
        k: share or number of the most salient pixels.
        saliency: attacked methods; None means the default ones.
        scalars: explained numbers.
        search: options of the search.
        methods: options of saliency methods.
    """

    attacks: list[str]
    norm: str
    eps: list[float] | None
    k: float
    saliency: list[str] | None
    scalars: list[str]
    search: dict[str, Any]
    methods: dict[str, Any]


def chosen(given: Given) -> Chosen:
    """Read the options.

    Raises:
        InputError: the preset has no budget in the norm that was asked for.
    """
    from saliency_audit.commands.attack.audit import ATTACKS_BY_DEFAULT

    preset = PRESETS[given.preset] if given.preset else None
    norm = given.norm or (preset.norm if preset else "linf")
    if preset and preset.norm != norm and not given.eps:
        raise InputError(f"--preset {given.preset} has no budget in {norm}; add --eps")
    search = given_to((o for o in options_of(ATTACKS) if o is not TARGET_MAP), given)
    if not search.get("cross_check"):
        search.pop("cross_check", None)
    # A beta that is asked for shall not grow.
    if "beta" in search:
        search.setdefault("beta_growth", False)
    return Chosen(
        attacks=list(given.attack or (preset.attacks if preset else ()) or ATTACKS_BY_DEFAULT),
        norm=norm,
        eps=list(given.eps or (preset.eps if preset else ())) or None,
        k=given.k if given.k is not None else preset.k if preset else 0.02,
        saliency=given.saliency or (list(preset.saliency) if preset and preset.saliency else None),
        scalars=given.scalar or [preset.scalar if preset else "logit"],
        search={**(preset.search if preset else {}), **search},
        methods={**(preset.methods if preset else {}), **of_methods(given)},
    )


def searches(given: Given) -> list[str]:
    """Which searches for maps are made."""
    if given.cross_check:
        return [GRADIENT, EVOLUTION]
    return [EVOLUTION if given.search == EVOLUTION else GRADIENT]


def check(given: Given) -> None:
    """Refuse what is wrong before anything is loaded.

    Raises:
        InputError: it is.
    """
    from saliency_audit.budget import check_range
    from saliency_audit.commands.attack.audit import check_attack
    from saliency_audit.commands.picture import load_picture

    picked = chosen(given)
    refuse_idle(given, "--attack", ATTACKS, picked.attacks)
    refuse_idle(given, "--search", SEARCHES, searches(given))
    check_attack(
        picked.attacks,
        [*(n for n in picked.saliency or () if n != "all"), *(_without_all(given.measure) or ())],
        picked.scalars,
        eps=picked.eps,
        norm=picked.norm,
        search=picked.search,
    )
    for number in given.eps or ():
        check_range(number, picked.norm)
    refuse_idle_masking(vars(given), [*(picked.saliency or ()), *(given.measure or ())])
    check_not_in(given.data, place_of_report(given, "attack") / "images")
    maps = [name for name in picked.attacks if ATTACKS[name].goal]
    if given.explain and maps and searches(given) != [EVOLUTION]:
        raise InputError(
            f"--explain {given.explain} gives maps without a gradient; add --search evolution"
        )
    if given.beta is not None and (given.beta_growth or given.surrogate == "none"):
        other = "--beta-growth" if given.beta_growth else "--surrogate none"
        raise InputError(f"--beta {given.beta:g} does nothing with {other}; give one of them")
    if given.target_map:
        load_picture(given.target_map, (8, 8), option="--target-map")


def _named(given: Given, picked: Chosen) -> list[str]:
    """Methods that are attacked or measured and were asked for by name."""
    return [name for name in (*(picked.saliency or ()), *(given.measure or ())) if name != "all"]


def _without_all(measure: list[str] | None) -> list[str] | None:
    """The methods to measure that were asked for by name; None for all."""
    return None if measure and "all" in measure else measure


def plan(given: Given, setup: Setup, processes: Processes) -> Job:
    """What one run does.

    Raises:
        InputError: the model or the images do not allow it.
    """
    from saliency_audit.commands.attack.audit import METHODS_BY_DEFAULT, attack
    from saliency_audit.commands.attack.costs import economy
    from saliency_audit.commands.attack.report import PICTURES
    from saliency_audit.commands.costs import expecting
    from saliency_audit.commands.foreign_function import file_of_callable, maps_from_callable
    from saliency_audit.commands.picture import picture_sha256

    methods = dict([maps_from_callable(given.explain)]) if given.explain else {}
    code = file_of_callable(given.explain) if given.explain else None
    picked, path = chosen(given), place_of_report(given, "attack")
    masks = masking(
        vars(given), setup, [setup.model], _named(given, picked), given, path, processes
    )
    _refuse_maps(given, setup, picked)
    check_kept(setup.data, path / "images")
    pixels = setup.model.input_shape[1] * setup.model.input_shape[2]
    if given.k is None and picked.k > pixels:
        raise InputError(
            f"--preset {given.preset} compares {picked.k:g} pixels and these images have {pixels}; "
            "add --k 0.02"
        )
    picture = given.target_map
    measure = _without_all(given.measure)
    saved = economy(
        picked.saliency or ([] if given.explain else None),
        given.measure,
        by_default=METHODS_BY_DEFAULT,
        besides=not_looked_at(given, FIRST_LOOK, tuple(METHODS)),
        options=picked.methods,
        sides=setup.model.input_shape[1:],
    )
    if saved.note:
        setup.tell(saved.note)
    return Job(
        settings={
            "preset": given.preset,
            "attacks": picked.attacks,
            "eps": picked.eps or "default",
            "norm": picked.norm,
            "k": picked.k,
            "target map": picture and str(picture),
            "target map sha256": picture and picture_sha256(picture, option="--target-map"),
            "saliency": picked.saliency or "default",
            "measure": measure or "all that the model allows",
            "not attacked": list(saved.unattacked),
            "not measured": list(saved.unmeasured),
            "scalars": picked.scalars,
            "target": given.target,
            "search": picked.search,
            "method options": picked.methods,
            "explain": given.explain,
            "explain file": code and fingerprint(code),
            **masks.settings,
        },
        audit=partial(
            attack,
            setup.model,
            setup.data,
            attacks=picked.attacks,
            saliency=picked.saliency,
            measure=measure,
            saved=saved,
            scalars=picked.scalars,
            target=given.target,
            eps=picked.eps,
            norm=picked.norm,
            k=picked.k,
            target_map=picture,
            search=picked.search,
            options=picked.methods,
            methods=methods,
            folder=path,
            seed=given.seed,
            batch_size=setup.batch_size,
            workers=given.workers,
            shard=(processes.rank, processes.world),
            expect=expecting(setup, processes),
        ),
        answer=partial(answer, k=picked.k, fail_on=given.fail_on, measured=bool(given.measure)),
        report=partial(report, path=path, k=picked.k, seed=given.seed, view=given.view or ""),
        files=["images/manifest.csv", *masks.files],
        pictures=[*ATTACKS, "worst-case", *PICTURES, *(f"transfer-{name}" for name in ATTACKS)],
        reads={
            "--target-map": picture,
            "--explain": given.explain,
            "--train": given.train,
            "--masker": given.masker,
        },
        ready=masks.make,
        # A folder of images that is read by itself must not mix two runs.
        clear=["images/"],
    )


def _refuse_maps(given: Given, setup: Setup, picked: Chosen) -> None:
    """Refuse maps that cannot be attacked as was asked, before anything is measured.

    Raises:
        UnsupportedError: says what would work.
    """
    from saliency_audit.commands.attack.audit import ALL, METHODS_BY_DEFAULT
    from saliency_audit.commands.attack.search import attackable
    from saliency_audit.commands.known import first_images

    names = [name for name in picked.saliency or () if name != ALL]
    if GRADIENT not in searches(given) or not any(ATTACKS[name].goal for name in picked.attacks):
        refuse_methods(setup, names, scalar=picked.scalars[0], options=picked.methods)
        return
    model = setup.model.replaced(setup.model.network, precision="fp32")
    images, _, _ = first_images(setup.data, 2, 2, device=model.mean.device, workers=0)
    with model.audited():
        model.check(images)
        attackable(
            names or METHODS_BY_DEFAULT[:1],
            model,
            images[:1],
            model(images[:1]).argmax(1),
            scalar=picked.scalars[0],
            smooth=str(picked.search.get("smooth", "exact-forward")),
            options=picked.methods,
            refuse=bool(names),
            tell=setup.tell,
        )


def answer(done: Done, *, k: float, fail_on: str | None, measured: bool) -> Answer:
    """The verdict of each map, and the predictions that were moved."""
    from saliency_audit.commands.attack.terminal import shown
    from saliency_audit.commands.attack.verdict import (
        attack_predictions,
        attack_sentence,
        attack_verdicts,
    )

    summary = _summary(done, k)
    verdicts = attack_verdicts(summary, done.rows)
    predictions = attack_predictions(summary, done.rows)
    refused = {"fragile": ("fragile",), "shifted": ("fragile", "shifted")}.get(fail_on or "", ())
    return Answer(
        attack_sentence(verdicts, predictions, images=done.clean.readable),
        {"verdicts": verdicts, "predictions": predictions},
        shown(verdicts, predictions, summary if measured else None, width=done.width),
        refused=refusal(fail_on, verdicts["verdict"], refused),
    )


def report(
    done: Done,
    answer: Answer,
    about: Mapping[str, Any],
    *,
    path: Path,
    k: float,
    seed: int,
    view: "View",
) -> None:
    """Write the manifest of the images, tables, pictures and page."""
    from saliency_audit.commands.attack.files import file_of
    from saliency_audit.commands.attack.image_manifest import write_image_manifest
    from saliency_audit.commands.attack.jobs import goals
    from saliency_audit.commands.attack.report import write_attack_report
    from saliency_audit.commands.attack.verdict import ATTACK_WORDS

    write_image_manifest(path, done.rows, file_of=file_of, goals=goals(), seed=seed)
    write_attack_report(
        path,
        summary=_summary(done, k),
        verdicts=answer.tables["verdicts"],
        predictions=answer.tables["predictions"],
        examples=done.folder.examples(),
        sentence=answer.sentence,
        run=about,
        results=done.rows,
        words=ATTACK_WORDS,
        said=done.explained,
        view=view,
    )


def _summary(done: Done, k: float) -> Any:
    from saliency_audit.commands.attack.verdict import attack_chances, attack_controls
    from saliency_audit.metrics import CHECKS
    from saliency_audit.metrics.similarity import pixel_count
    from saliency_audit.stats.summary import summarise

    _, height, width = done.setup.model.input_shape
    return summarise(
        done.rows,
        higher_is_better={name: check.higher_is_better for name, check in CHECKS.items()},
        chance=attack_chances(
            k=pixel_count(k, height * width), pixels=height * width, classes=done.setup.alternatives
        ),
        controls=attack_controls(done.rows),
    )


COMMAND = Entry(
    "attack",
    OPTIONS,
    HELP,
    partial(live, command="attack", doing="steps", check=check, plan=plan, first_look=FIRST_LOOK),
)
