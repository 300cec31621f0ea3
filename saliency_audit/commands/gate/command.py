"""``saliency-audit gate``."""

from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.markup import escape

from saliency_audit.commands.gate.options import OPTIONS
from saliency_audit.commands.gate.run import Work, decide
from saliency_audit.commands.life import Entry
from saliency_audit.commands.options import of_methods
from saliency_audit.commands.output import check_apart, hold, nothing_written_on_bad_input
from saliency_audit.commands.setup import Screen, Setup, common_settings, fingerprint, prepare
from saliency_audit.options import Given, place_of_report
from saliency_audit.processes import launched
from saliency_audit.visible import flat

if TYPE_CHECKING:
    from saliency_audit.commands.gate.policy import Policy

HELP = """Run the checks of a policy and say whether the model may be released.

Exit code 1 if not. What the command line says goes before what the policy says.

Example: saliency-audit gate --max-samples 32
"""
LARGEST_POLICY = 1 << 20
"""Bytes that are read at most."""


def run(given: Given, screen: Screen) -> int:
    """Run the checks of a policy and say whether the model may be released."""
    if given.print_policy:
        from saliency_audit.assets import default_policy

        screen.write(default_policy())
        return 0
    from saliency_audit.commands.gate.audit import check_baseline
    from saliency_audit.commands.gate.report import baseline_images, baseline_rows, read_baseline
    from saliency_audit.commands.gate.terminal import shown
    from saliency_audit.errors import InputError

    if launched() > 1:
        raise InputError("gate runs in one process; start it without accelerate or torchrun")
    rules = _policy(given.policy)
    if not (rules.refuses or given.report_only):
        raise InputError(
            f'--policy {given.policy} refuses no model: every check has level = "warn"; give one '
            'level = "fail", or add --report-only'
        )
    earlier = None if given.baseline is None else read_baseline(given.baseline)
    check_baseline(rules.checks, earlier)
    # Read before this run writes: it may well be into the same folder.
    rows = None if given.baseline is None else baseline_rows(given.baseline)
    known = None if given.baseline is None else baseline_images(given.baseline)
    given = _under(given, rules)
    path = place_of_report(given, "gate")
    check_apart(path, data=given.data, annotations=rules.data.get("annotations"))
    setup = prepare(given, screen)
    shared: dict[str, Any] = {
        "target": given.target,
        "options": of_methods(given),
        "seed": given.seed,
    }
    beside = _beside(rules, setup)
    marked = rules.data.get("annotations")
    settings = {
        **common_settings(setup, given),
        "policy": [vars(check) for check in rules.checks],
        "pictures sha256": _pictures(rules),
        "other": beside.get("other") and beside["other"].sha256,
        "judge": beside.get("judge") and beside["judge"].sha256,
        "annotations": marked and [marked, fingerprint(Path(marked))],
        "baseline sha256": given.baseline and sha256(given.baseline.read_bytes()).hexdigest(),
        "baseline paired": rows is not None,
        "target": given.target,
        "method options": shared["options"],
    }
    # Not the policy nor the baseline, which are read already: it may be of the run before.
    ledger = hold(
        path,
        setup,
        files=("checks.csv", "junit.xml", "summary.md"),
        data=given.data,
        others={
            "MODEL": given.model,
            "--classes": given.classes,
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
        workers=given.workers,
        ledger=ledger,
    )
    if work.other_images and any(check.limit == "no_worse_than" for check in rules.checks):
        setup.tell(f"--baseline {given.baseline} was measured on other images")
    with nothing_written_on_bad_input(ledger):
        outcomes, sentence = decide(work, resume=given.resume)
    screen.show(*shown(outcomes, sentence, width=screen.width()))
    if not given.quiet:
        screen.show(escape(flat(f"report: {path / 'report.html'}")))
    return int(not sentence.startswith("released") and not given.report_only)


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


def _under(given: Given, policy: "Policy") -> Given:
    """The options of the command line where they stand there, else of the policy, else as given."""
    rules = {**policy.data, **policy.run}
    changed = {name: rules[name] for name in rules if name in vars(given)}
    changed = {name: value for name, value in changed.items() if name not in given.said}
    if changed.get("classes") is not None:
        changed["classes"] = Path(changed["classes"])
    if "batch_size" in changed:
        changed["batch_size"] = str(changed["batch_size"])
    return given.but(**changed)


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
    from saliency_audit.commands.picture import picture_sha256

    options = {"picture": "picture", "target_map": "target_map"}
    return {
        check.options[name]: picture_sha256(Path(check.options[name]), option=option)
        for check in policy.checks
        for name, option in options.items()
        if name in check.options and check.kind != "metric"
    }


COMMAND = Entry("gate", OPTIONS, HELP, run)
