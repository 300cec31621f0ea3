"""``saliency-audit attack``."""

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from saliency_audit.cli import options as o
from saliency_audit.cli.attack_table import show_attack
from saliency_audit.cli.console import errors, progress, results
from saliency_audit.cli.setup import (
    check_apart,
    check_kept,
    check_not_in,
    common_settings,
    facts,
    hold,
    measure_clean_accuracy,
    nothing_written_on_bad_input,
    prepare,
)
from saliency_audit.visible import flat

if TYPE_CHECKING:
    from collections.abc import Container

SEARCH = "Search"


class AttackName(StrEnum):
    """Changes of the image."""

    TOPK = "topk"
    MASS_CENTER = "mass-center"
    TARGET_REGION = "target-region"
    STRUCTURED = "structured"
    PGD = "pgd"
    RANDOM = "random"


class PresetName(StrEnum):
    """Settings of the papers."""

    GHORBANI = "ghorbani"
    DOMBROWSKI = "dombrowski"
    RELEX_TOPK = "relex-topk"
    RELEX_STRUCTURED = "relex-structured"
    RELEX_PGD = "relex-pgd"
    MOREAU_L2 = "moreau-l2"
    P3_PGD = "p3-pgd"
    P4_MNIST = "p4-mnist"
    P4_CIFAR = "p4-cifar"


class Smooth(StrEnum):
    """Stand-ins for networks without a second derivative."""

    EXACT_FORWARD = "exact-forward"
    SOFTPLUS = "softplus"
    NONE = "none"


class Rule(StrEnum):
    """How a search steps."""

    SIGN = "sign"
    NORMALISED = "normalised"
    ADAM = "adam"


class Loss(StrEnum):
    """What pgd maximises."""

    XENT = "xent"
    CW = "cw"


class FailOn(StrEnum):
    """Verdicts that make the command exit with 1."""

    FRAGILE = "fragile"
    SHIFTED = "shifted"


ON_MAPS = {"topk", "mass-center", "target-region", "structured"}


def _refuse_unused(attacks: list[str], options: dict[str, tuple[Any, set[str]]]) -> None:
    """Refuse options that none of the attacks has.

    Args:
        attacks: names.
        options: by name, the value that was given, if any, and the attacks that have the option.

    Raises:
        InputError: names the option and the attacks it is for.
    """
    from saliency_audit.errors import InputError

    for name, (value, owners) in options.items():
        if value is not None and not owners & set(attacks):
            raise InputError(
                f"{name} is for --attack {' or '.join(sorted(owners))}, not {', '.join(attacks)}"
            )


def attack(
    model: o.Model = None,
    *,
    attack: Annotated[
        list[AttackName] | None,
        typer.Option(
            help="Attack, repeatable; see `saliency-audit list attacks`. The control, random, "
            "always runs. Default: topk.",
            show_default=False,
        ),
    ] = None,
    eps: Annotated[
        list[float] | None,
        typer.Option(
            parser=o.fraction,
            metavar="NUMBER",
            help="Budget, images being in [0, 1]; repeatable: 8/255. Default: 8/255, none for "
            "structured.",
            show_default=False,
        ),
    ] = None,
    norm: Annotated[
        o.NormName | None,
        typer.Option(help="Norm of the budget. Default: linf.", show_default=False),
    ] = None,
    measure: Annotated[
        list[str] | None,
        typer.Option(
            help="Saliency method measured under the attacks, repeatable. "
            "Default: all that the model's format allows.",
            show_default=False,
        ),
    ] = None,
    k: Annotated[
        float | None,
        typer.Option(
            "--k",
            parser=o.fraction,
            metavar="NUMBER",
            help="Most salient pixels: a share below 1, or a count. Default: 0.02.",
            show_default=False,
        ),
    ] = None,
    target_map: Annotated[
        Path | None,
        typer.Option(
            help="Picture that structured wants as the map, and whose bright half is the region "
            "of target-region. Default: another image's map, the least salient quarter.",
            show_default=False,
        ),
    ] = None,
    preset: Annotated[
        PresetName | None,
        typer.Option(
            help="Every number of a paper's setting; other options override it. See "
            "`saliency-audit list presets`.",
            show_default=False,
        ),
    ] = None,
    fail_on: Annotated[
        FailOn | None,
        typer.Option(help="Exit with 1 if any map is fragile (or, for shifted, moved at all)."),
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(
            help="Steps of the search. Default: 20, structured 100.",
            rich_help_panel=SEARCH,
            show_default=False,
        ),
    ] = None,
    step_size: Annotated[
        float | None,
        typer.Option(
            parser=o.fraction,
            metavar="NUMBER",
            help="Pixel units. Default: 2.5 eps / steps; 0.3 / steps without eps.",
            rich_help_panel=SEARCH,
            show_default=False,
        ),
    ] = None,
    search: Annotated[
        Rule | None,
        typer.Option(
            help="Step by the sign, the normalised gradient, or Adam. Default: sign for linf, "
            "normalised for l2, adam for structured.",
            rich_help_panel=SEARCH,
            show_default=False,
        ),
    ] = None,
    momentum: Annotated[
        float | None,
        typer.Option(
            help="Of MI-FGSM, such as 1. Default: 0.",
            rich_help_panel=SEARCH,
            show_default=False,
        ),
    ] = None,
    restarts: Annotated[
        int | None,
        typer.Option(
            help="Starts; all but the first at random points of the budget. Default: 1.",
            rich_help_panel=SEARCH,
            show_default=False,
        ),
    ] = None,
    surrogate: Annotated[
        Smooth | None,
        typer.Option(
            help="Smooth stand-in for second derivatives: same output, softplus in both "
            "directions (as in the papers), or none for networks that are smooth already. "
            "Default: exact-forward.",
            rich_help_panel=SEARCH,
            show_default=False,
        ),
    ] = None,
    beta: Annotated[
        float | None,
        typer.Option(
            help="Its sharpness. Default: 30.", rich_help_panel=SEARCH, show_default=False
        ),
    ] = None,
    beta_growth: Annotated[
        bool | None,
        typer.Option(
            "--beta-growth/--no-beta-growth",
            help="Sharpness from 10 to 100 in the course of the search. Default: for structured.",
            rich_help_panel=SEARCH,
            show_default=False,
        ),
    ] = None,
    loss: Annotated[
        Loss | None,
        typer.Option(
            help="pgd: cross-entropy or the margin of Carlini and Wagner. Default: xent.",
            rich_help_panel=SEARCH,
            show_default=False,
        ),
    ] = None,
    random_start: Annotated[
        bool | None,
        typer.Option(
            "--random-start/--no-random-start",
            help="pgd: start at a random point of the budget. Default: yes.",
            rich_help_panel=SEARCH,
            show_default=False,
        ),
    ] = None,
    saliency: Annotated[
        list[str] | None,
        typer.Option(
            help="Attacked saliency method, repeatable, or all. Default: gradient, "
            "input-x-gradient, smoothgrad, integrated-gradients, gradcam.",
            rich_help_panel=o.MAPS,
            show_default=False,
        ),
    ] = None,
    scalar: o.ScalarNames = None,
    target: o.TargetClass = o.Target.PREDICTED,
    layer: o.Layer = None,
    samples: o.Samples = None,
    noise_level: o.NoiseLevel = None,
    ig_steps: o.IgSteps = None,
    data: o.Data = None,
    classes: o.Classes = None,
    resize: o.Resize = None,
    max_samples: o.MaxSamples = 8,
    arch: o.Arch = None,
    size: o.Size = None,
    channels: o.Channels = None,
    mean: o.Mean = None,
    std: o.Std = None,
    trust_pickle: o.TrustPickle = False,
    device: o.Device = "auto",
    precision: o.PrecisionName = o.Precision.FP32,
    batch_size: o.BatchSize = "auto",
    seed: o.Seed = 0,
    workers: o.Workers = 0,
    output_dir: o.OutputDir = None,
    resume: o.Resume = False,
    quiet: o.Quiet = False,
    debug: o.Debug = False,
) -> None:
    """Move saliency maps through the image, with every prediction unchanged, and say which can be.

    Example: saliency-audit attack --saliency gradient --measure gradient --max-samples 8
    """
    del debug  # main() looks for it itself.
    from saliency_audit import audits
    from saliency_audit.attacks import PRESETS
    from saliency_audit.budget import check_range
    from saliency_audit.commands.attack.image_manifest import write_image_manifest
    from saliency_audit.commands.attack.report import PICTURES, write_attack_report
    from saliency_audit.errors import InputError
    from saliency_audit.metrics import CHECKS
    from saliency_audit.metrics.topk_intersection import pixel_count
    from saliency_audit.report.folder import RunFolder
    from saliency_audit.report.tables import read_results
    from saliency_audit.stats.summary import summarise

    given = PRESETS[str(preset)] if preset else None
    attacks = [str(name) for name in attack or (given.attacks if given else ())]
    attacks = attacks or list(audits.ATTACKS_BY_DEFAULT)
    chosen_norm = str(norm or (given.norm if given else "linf"))
    if given and given.norm != chosen_norm and not eps:
        raise InputError(f"--preset {preset} has no budget in {chosen_norm}; add --eps")
    budgets = list(eps or (given.eps if given else ())) or None
    share = k if k is not None else given.k if given else 0.02
    methods = saliency or (list(given.saliency) if given and given.saliency else None)
    scalars = scalar or [given.scalar if given else "logit"]
    searching: dict[str, Any] = dict(given.search) if given else {}
    searching |= {
        name: value
        for name, value in {
            "steps": steps,
            "step_size": step_size,
            "rule": search and str(search),
            "momentum": momentum,
            "restarts": restarts,
            "smooth": surrogate and str(surrogate),
            "beta": beta,
            # A beta that is asked for shall not grow.
            "beta_growth": False if beta is not None and beta_growth is None else beta_growth,
            "loss": loss and str(loss),
            "from_random": random_start,
        }.items()
        if value is not None
    }
    method_options: dict[str, Any] = dict(given.methods) if given else {}
    method_options |= {
        name: value
        for name, value in {
            "samples": samples,
            "noise_level": noise_level,
            "steps": ig_steps,
        }.items()
        if value is not None
    }
    audits.check_attack(
        attacks,
        [*(name for name in methods or () if name != "all"), *(measure or ())],
        scalars,
        eps=budgets,
        norm=chosen_norm,
        search=searching,
    )
    for number in eps or ():
        check_range(number, chosen_norm)
    path = output_dir or Path("saliency-audit-report/attack")
    check_not_in(data, path / "images")
    check_apart(path, data=data)
    _refuse_unused(
        attacks,
        {
            "--loss": (loss, {"pgd"}),
            "--random-start": (random_start, {"pgd"}),
            "--target-map": (target_map, {"structured", "target-region"}),
            "--surrogate": (surrogate, ON_MAPS),
            "--beta": (beta, ON_MAPS),
            "--beta-growth": (beta_growth, ON_MAPS),
        },
    )
    if beta is not None and (beta_growth or surrogate is Smooth.NONE):
        other = "--beta-growth" if beta_growth else "--surrogate none"
        raise InputError(f"--beta {beta:g} does nothing with {other}; give one of them")
    if target_map:
        audits.load_picture(target_map, (8, 8), option="--target-map")
    setup = prepare(
        model,
        data,
        arch=arch,
        size=size,
        channels=channels,
        mean=mean,
        std=std,
        trust_pickle=trust_pickle,
        precision=precision,
        layer=layer,
        classes=classes,
        resize=resize,
        max_samples=max_samples,
        device=device,
        batch_size=batch_size,
        seed=seed,
        quiet=quiet,
    )
    check_kept(setup.data, path / "images")
    pixels = setup.model.input_shape[1] * setup.model.input_shape[2]
    if k is None and share > pixels:
        raise InputError(
            f"--preset {preset} compares {share:g} pixels and these images have {pixels}; "
            "add --k 0.02"
        )
    settings = {
        **common_settings(
            setup,
            arch=arch,
            layer=layer,
            precision=str(precision),
            max_samples=max_samples,
            resize=resize,
            seed=seed,
        ),
        "preset": preset and str(preset),
        "attacks": attacks,
        "eps": budgets or "default",
        "norm": chosen_norm,
        "k": share,
        "target map": target_map and str(target_map),
        "target map sha256": target_map
        and audits.picture_sha256(target_map, option="--target-map"),
        "saliency": methods or "default",
        "measure": measure or "all that the model allows",
        "scalars": scalars,
        "target": str(target),
        "search": searching,
        "method options": method_options,
    }
    transfers = [f"transfer-{name}" for name in AttackName]
    ledger = hold(
        path,
        setup,
        files=["images/manifest.csv"],
        pictures=[*AttackName, "worst-case", *PICTURES, *transfers],
        data=data,
        others={"MODEL": model, "--target-map": target_map, "--classes": classes},
    )
    with nothing_written_on_bad_input(ledger):
        folder = RunFolder(path, settings, resume=True, ledger=ledger) if resume else None
        clean = measure_clean_accuracy(setup, workers=workers)
        if folder is None or not folder.finished:

            def begin() -> "Container[int]":
                nonlocal folder
                if folder is None:
                    folder = RunFolder(path, settings, resume=False, ledger=ledger)
                    # A folder of images that is read by itself must not mix two runs.
                    if ledger is not None:
                        ledger.remove_earlier(["images/"])
                if folder.done:
                    setup.tell(f"resuming: {len(folder.done)} batches are done")
                return folder.done

            with progress("attack: steps", quiet=quiet) as advance:
                for batch in audits.attack(
                    setup.model,
                    setup.data,
                    attacks=attacks,
                    saliency=methods,
                    measure=measure,
                    scalars=scalars,
                    target=str(target),
                    eps=budgets,
                    norm=chosen_norm,
                    k=share,
                    target_map=target_map,
                    search=searching,
                    options=method_options,
                    folder=path,
                    seed=seed,
                    batch_size=setup.batch_size,
                    workers=workers,
                    begin=begin,
                    tell=setup.tell,
                    advance=advance,
                ):
                    assert folder is not None
                    folder.write(batch)
            assert folder is not None
            folder.write_results()
    rows = read_results(folder.results)
    summary = summarise(
        rows,
        higher_is_better={name: check.higher_is_better for name, check in CHECKS.items()},
        chance=audits.attack_chances(
            k=pixel_count(share, pixels), pixels=pixels, classes=setup.classes
        ),
        controls=audits.attack_controls(rows),
    )
    verdicts = audits.attack_verdicts(summary, rows)
    predictions = audits.attack_predictions(summary, rows)
    sentence = audits.attack_sentence(verdicts, predictions, images=clean.readable)
    if not folder.finished:
        run = facts(setup, clean, sys.argv[1:], settings) | {"answer": sentence}
        write_image_manifest(path, rows, file_of=audits.file_of, goals=audits.goals(), seed=seed)
        write_attack_report(
            path,
            summary=summary,
            verdicts=verdicts,
            predictions=predictions,
            examples=folder.examples(),
            sentence=sentence,
            run=run,
            results=rows,
            words=audits.ATTACK_WORDS,
        )
        tables = {"verdicts": verdicts, "predictions": predictions}
        folder.close(run | {name: table.to_dict("records") for name, table in tables.items()})
    show_attack(verdicts, predictions, sentence)
    if not quiet:
        results.print(escape(flat(f"report: {path / 'report.html'}")), soft_wrap=True)
    refused = {"fragile", "undefined"} | ({"shifted"} if fail_on is FailOn.SHIFTED else set())
    bad = verdicts["verdict"][verdicts["verdict"].isin(list(refused))]
    # Nothing judged is no pass either.
    if fail_on and (verdicts.empty or len(bad)):
        found = ", ".join(f"{n} {word}" for word, n in bad.value_counts().items())
        errors.print(f"--fail-on {fail_on}: {found or 'no map was judged'}")
        raise typer.Exit(1)
