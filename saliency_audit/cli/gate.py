"""``saliency-audit gate``."""

from enum import StrEnum
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from saliency_audit.cli import options as o
from saliency_audit.cli.console import results
from saliency_audit.cli.gate_run import Work, decide
from saliency_audit.cli.gate_table import show_gate
from saliency_audit.cli.processes import launched
from saliency_audit.cli.setup import (
    Setup,
    check_apart,
    common_settings,
    fingerprint,
    hold,
    nothing_written_on_bad_input,
    prepare,
)
from saliency_audit.visible import flat

if TYPE_CHECKING:
    from saliency_audit.commands.gate.policy import Policy

LARGEST_POLICY = 1 << 20
"""Bytes that are read at most."""


def gate(
    context: typer.Context,
    model: o.Model = None,
    *,
    policy: Annotated[
        Path | None,
        typer.Option(
            help="TOML file with the checks; without it, a default one.", show_default=False
        ),
    ] = None,
    baseline: Annotated[
        Path | None,
        typer.Option(
            help='summary.csv of an earlier run, for checks with no_worse_than = "baseline".',
            show_default=False,
        ),
    ] = None,
    print_policy: Annotated[
        bool,
        typer.Option("--print-policy", help="Print the default policy, with reasons, and stop."),
    ] = False,
    report_only: Annotated[
        bool,
        typer.Option("--report-only", help="Exit with 0 even if the model is refused."),
    ] = False,
    target: o.TargetClass = o.Target.PREDICTED,
    layer: o.Layer = None,
    samples: o.Samples = None,
    noise_level: o.NoiseLevel = None,
    ig_steps: o.IgSteps = None,
    data: o.Data = None,
    classes: o.Classes = None,
    resize: o.Resize = None,
    max_samples: o.MaxSamples = 64,
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
    """Run the checks of a policy and say whether the model may be released.

    Exit code 1 if not. What the command line says goes before what the policy says.

    Example: saliency-audit gate --max-samples 32
    """
    del debug  # main() looks for it itself.
    if print_policy:
        from saliency_audit.assets import default_policy

        typer.echo(default_policy(), nl=False)
        return
    from saliency_audit.commands.gate.audit import check_baseline
    from saliency_audit.commands.gate.report import baseline_images, baseline_rows, read_baseline
    from saliency_audit.errors import InputError

    if launched() > 1:
        raise InputError("gate runs in one process; start it without accelerate or torchrun")
    rules = _policy(policy)
    if not (rules.refuses or report_only):
        raise InputError(
            f'--policy {policy} refuses no model: every check has level = "warn"; give one '
            'level = "fail", or add --report-only'
        )
    earlier = None if baseline is None else read_baseline(baseline)
    check_baseline(rules.checks, earlier)
    # Read before this run writes: it may well be into the same folder.
    rows = None if baseline is None else baseline_rows(baseline)
    known = None if baseline is None else baseline_images(baseline)
    chosen = _chosen(context, rules)
    path = output_dir or Path("saliency-audit-report/gate")
    check_apart(path, data=chosen["data"], annotations=rules.data.get("annotations"))
    setup = prepare(
        model,
        arch=arch,
        trust_pickle=trust_pickle,
        quiet=quiet,
        **{
            name: chosen[name]
            for name in (
                *("data", "size", "channels", "mean", "std", "precision", "layer", "resize"),
                *("max_samples", "device", "batch_size", "seed", "classes"),
            )
        },
    )
    given = {name: chosen[name] for name in ("samples", "noise_level")}
    given["steps"] = chosen["ig_steps"]
    shared: dict[str, Any] = {
        "target": chosen["target"],
        "options": {name: value for name, value in given.items() if value is not None},
        "seed": chosen["seed"],
    }
    beside = _beside(rules, setup)
    marked = rules.data.get("annotations")
    settings = {
        **common_settings(
            setup,
            arch=arch,
            **{
                name: chosen[name]
                for name in ("layer", "precision", "max_samples", "resize", "seed")
            },
        ),
        "policy": [vars(check) for check in rules.checks],
        "pictures sha256": _pictures(rules),
        "other": beside.get("other") and beside["other"].sha256,
        "judge": beside.get("judge") and beside["judge"].sha256,
        "annotations": marked and [marked, fingerprint(Path(marked))],
        "baseline sha256": baseline and sha256(baseline.read_bytes()).hexdigest(),
        "baseline paired": rows is not None,
        "target": chosen["target"],
        "method options": shared["options"],
    }
    # Not the policy nor the baseline, which are read already: it may be of the run before.
    ledger = hold(
        path,
        setup,
        files=("checks.csv", "junit.xml", "summary.md"),
        data=chosen["data"],
        others={
            "MODEL": model,
            "--classes": chosen["classes"],
            **{f"{name} of the policy": rules.run.get(name) for name in ("other", "judge")},
            "annotations of the policy": marked,
            **{
                f"{name} of the policy": [check.options.get(name) for check in rules.checks]
                for name in ("picture", "target_map")
            },
        },
    )
    work = Work(
        setup,
        rules,
        path,
        settings,
        shared,
        beside,
        baseline=earlier,
        earlier=rows,
        other_images=known not in (None, setup.data.fingerprint),
        workers=workers,
        ledger=ledger,
    )
    if work.other_images and any(check.limit == "no_worse_than" for check in rules.checks):
        setup.tell(f"--baseline {baseline} was measured on other images")
    with nothing_written_on_bad_input(ledger):
        outcomes, sentence = decide(work, resume=resume)
    show_gate(outcomes, sentence)
    if not quiet:
        results.print(escape(flat(f"report: {path / 'report.html'}")), soft_wrap=True)
    if not sentence.startswith("released") and not report_only:
        raise typer.Exit(1)


def _policy(path: Path | None) -> "Policy":
    """The policy of the user, or the default one.

    Raises:
        InputError: it cannot be read, or says what makes no sense.
    """
    from saliency_audit.assets import default_policy
    from saliency_audit.commands.gate.policy import read_policy
    from saliency_audit.errors import InputError
    from saliency_audit.regular import refuse_irregular

    if path is None:
        return read_policy(default_policy(), "the default policy")
    refuse_irregular(path, "policy")
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_POLICY + 1)
        if len(content) > LARGEST_POLICY:
            raise InputError(
                f"--policy {path} is larger than {LARGEST_POLICY >> 20} MiB, which no policy is; "
                "check the path"
            )
        text = content.decode("utf-8")
    except (OSError, ValueError) as error:
        problem = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise InputError(
            f"--policy {path} cannot be read ({problem}); `saliency-audit gate --print-policy` "
            "writes one to start from"
        ) from error
    return read_policy(text, str(path))


def _chosen(context: typer.Context, policy: "Policy") -> dict[str, Any]:
    """Options by name: of the command line where given, else of the policy, else the default."""
    chosen = {}
    for name, value in context.params.items():
        source = context.get_parameter_source(name)
        in_policy = {**policy.data, **policy.run}
        if name in in_policy and (source is None or source.name != "COMMANDLINE"):
            value = in_policy[name]
        chosen[name] = str(value) if isinstance(value, StrEnum) else value
    if chosen["classes"] is not None:
        chosen["classes"] = Path(chosen["classes"])
    chosen["batch_size"] = str(chosen["batch_size"])
    return chosen


def _beside(policy: "Policy", setup: Setup) -> dict[str, Any]:
    """What some metrics need beside model and images."""
    beside: dict[str, Any] = {
        name: setup.load(policy.run[name]) for name in ("other", "judge") if name in policy.run
    }
    if "annotations" in policy.data:
        from saliency_audit.data import read_annotations

        marked = read_annotations(Path(policy.data["annotations"]), setup.data)
        for line in marked.notes:
            setup.tell(line)
        beside["annotations"] = marked.read
    return beside


def _pictures(policy: "Policy") -> dict[str, str]:
    """sha256 of the pictures that tricks and attacks aim at."""
    from saliency_audit import audits

    options = {"picture": "picture", "target_map": "target_map"}
    return {
        check.options[name]: audits.picture_sha256(Path(check.options[name]), option=option)
        for check in policy.checks
        for name, option in options.items()
        if name in check.options and check.kind != "metric"
    }
