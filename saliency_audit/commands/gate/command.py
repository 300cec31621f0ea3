"""``saliency-audit gate``."""

from collections.abc import Collection
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from saliency_audit.catalogue.metrics import METRICS
from saliency_audit.catalogue.needs import NEEDS
from saliency_audit.commands.beside import loaded
from saliency_audit.commands.gate.options import OPTIONS
from saliency_audit.commands.gate.run import Baseline, Work, answer, audit, report
from saliency_audit.commands.kept import in_turn
from saliency_audit.commands.life import Entry, Job, live
from saliency_audit.commands.manifold import METRIC as MANIFOLD
from saliency_audit.commands.manifold import learning, refuse_idle_learning
from saliency_audit.commands.masking import masking, refuse_idle_masking
from saliency_audit.commands.options import of_methods
from saliency_audit.commands.planting import METRIC, preparation
from saliency_audit.commands.setup import Screen, Setup
from saliency_audit.errors import InputError
from saliency_audit.options import Given, place_of_report
from saliency_audit.processes import Processes

if TYPE_CHECKING:
    from saliency_audit.commands.gate.policy import Policy, PolicyCheck
    from saliency_audit.models import Classifier

HELP = """Run the checks of a policy and say whether the model may be released.

Exit code 1 if not. What the command line says goes before what the policy says, but for the seed.

Example: saliency-audit gate --max-samples 32

Example: saliency-audit gate my.pt --arch net:build --data images --mean 0.5 --std 0.25
"""
LARGEST_POLICY = 1 << 20
"""Bytes that are read at most."""


def run(given: Given, screen: Screen) -> int:
    """Run the checks of a policy and say whether the model may be released."""
    if given.print_policy:
        from saliency_audit.assets import default_policy

        screen.write(default_policy(without=_meaningless(given)))
        return 0
    from saliency_audit.commands.gate.audit import check_baseline
    from saliency_audit.commands.gate.fit import refuse_other_options

    rules = policy_of(given)
    # Read before this run writes: it may well be into the same folder.
    baseline = _baseline(given.baseline)
    check_baseline(rules.checks, baseline.summary)
    under = _under(given, rules)
    if baseline.options is not None:
        refuse_other_options(rules.checks, of_methods(under), baseline.options)
    if "seed" in given.said and under.seed != given.seed and not given.quiet:
        screen.note(f"--seed {given.seed} is left: the policy's own seed, {under.seed}, is taken")
    return live(under, screen, command="gate", plan=partial(plan, rules=rules, baseline=baseline))


def policy_of(given: Given) -> "Policy":
    """What is required.

    Raises:
        InputError: it cannot be read, says what makes no sense, or refuses no model.
    """
    rules = _policy(given.policy, without=_meaningless(given))
    if not (rules.refuses or given.report_only):
        raise InputError(
            f'--policy {given.policy} refuses no model: every check has level = "warn"; give one '
            'level = "fail", or add --report-only'
        )
    return rules


def refuse_policy(rules: "Policy", setup: Setup, *, report_only: bool = False) -> None:
    """Refuse a policy that means nothing for a model, or that every model passes.

    Raises:
        InputError: with the line in the policy.
    """
    from saliency_audit.commands.gate.fit import refuse_exclusive, refuse_unfit
    from saliency_audit.commands.gate.teeth import refuse_toothless

    refuse_exclusive(rules.checks, setup.model)
    refuse_unfit(rules.checks, setup.model.input_shape, setup.classes)
    if not report_only:
        refuse_toothless(rules)


def plan(
    given: Given, setup: Setup, processes: Processes, *, rules: "Policy", baseline: Baseline
) -> Job:
    """What one run does.

    Raises:
        InputError: an option of the policy means nothing, or what it names cannot be used.
    """
    from saliency_audit.assets import default_policy
    from saliency_audit.commands.gate.report import PICTURES
    from saliency_audit.commands.gate.runs import alone
    from saliency_audit.commands.gate.runs import plan as audits

    _refuse_assumed(setup)
    refuse_policy(rules, setup, report_only=given.report_only)
    left_out = [name for name in _meaningless(given) if f'metric = "{name}"' in default_policy()]
    if given.policy is None and left_out:
        setup.tell(
            f"WARNING: the default policy is taken without {' and '.join(left_out)}: the outputs "
            f"of a {given.outputs} model do not exclude each other; nothing left in it tells a "
            "model that guesses"
        )
    named = {name: {**rules.data, **rules.run}.get(name) for name in NEEDS}
    metrics = [check for check in rules.checks if check.kind == "metric"]
    beside = loaded(named, setup, [check.metric for check in metrics])
    planted = preparation(
        beside.values.get("train"),
        [setup.model],
        [check.parameters for check in metrics if check.metric == METRIC],
        given,
        place_of_report(given, "gate"),
        processes,
    )
    shared = {
        "target": given.target,
        "options": of_methods(given),
        "seed": given.seed,
        "batch_size": setup.batch_size,
        "workers": given.workers,
    }
    methods = [check.saliency for check in rules.checks if check.saliency]
    how = {**rules.data, **rules.run}
    refuse_idle_masking(how, methods, trains_too="train" in beside.values)
    masks = masking(
        how,
        setup,
        [setup.model, *(beside.values[name] for name in ("other",) if name in beside.values)],
        methods,
        given,
        place_of_report(given, "gate"),
        processes,
    )
    refuse_idle_learning(how, metrics=[check.metric for check in metrics], methods=methods)
    learned = learning(
        beside.values.get("manifold"),
        how,
        setup,
        given,
        place_of_report(given, "gate"),
        processes,
        asked=[check.parameters for check in metrics if check.metric == MANIFOLD],
        data=getattr(beside.values.get("train"), "data", None),
    )
    work = Work(
        setup,
        rules,
        audits(rules.checks),
        shared,
        beside.values,
        baseline,
        processes,
        given.report_only,
    )
    if work.other_images and any(check.limit == "no_worse_than" for check in rules.checks):
        setup.tell(f"--baseline {given.baseline} was measured on other images")
    _refuse_itself(beside.values.get("other"), setup)
    return Job(
        settings={
            "policy": [_settings(check) for check in rules.checks],
            "pictures sha256": _pictures(rules),
            **beside.settings,
            **masks.settings,
            **learned.settings,
            "baseline sha256": given.baseline and sha256(given.baseline.read_bytes()).hexdigest(),
            "baseline paired": baseline.rows is not None,
            "target": given.target,
            "method options": shared["options"],
        },
        audit=partial(audit, work),
        answer=partial(answer, work=work),
        report=partial(report, work=work),
        files=(*_FILES, *planted.files, *masks.files, *learned.files),
        # Not the policy nor the baseline, which are read already: it may be of the run before.
        reads={
            **{f"{name} of the policy": written for name, written in named.items()},
            **{
                f"{name} of the policy": [check.options.get(name) for check in rules.checks]
                for name in ("picture", "target_map")
            },
        },
        pictures=PICTURES,
        ready=in_turn(planted.make, masks.make, learned.make),
        parts=[part.job for run in work.planned for part in (run, *alone(run))],
    )


def _refuse_assumed(setup: Setup) -> None:
    """Refuse to judge a model on images of which nobody said how it takes them.

    Raises:
        InputError: says what to give, and where.
    """
    said = " ".join(setup.model.assumed)
    if assumed := [name for name, value in _PLAIN.items() if f"{name} {value}" in said]:
        what = " and ".join(assumed)
        options = " ".join(f"--{name} {value}" for name, value in _PLAIN.items() if name in assumed)
        raise InputError(
            f"{setup.model.name} does not say its {what}, and a gate assumes none: give the {what} "
            f"that it was trained with ({options} for pixels in [0, 1] as they are), in [data] of "
            "the policy or in saliency-audit.toml, too"
        )


_PLAIN = {"mean": 0, "std": 1}
_FILES = ("checks.csv", "junit.xml", "summary.md", "attestation.json")


def _refuse_itself(other: "Classifier | None", setup: Setup) -> None:
    if other is not None and other.sha256 == setup.model.sha256:
        raise InputError(
            f"other of the policy is {other.name}, the model itself, with which every map agrees; "
            "name another model"
        )


def _baseline(path: Path | None) -> Baseline:
    """The earlier run that a summary is of.

    Raises:
        InputError: it cannot be read.
    """
    from saliency_audit.commands.gate.report import baseline_facts, baseline_rows, read_baseline

    if path is None:
        return Baseline()
    return Baseline(read_baseline(path), baseline_rows(path), *baseline_facts(path))


def _meaningless(given: Given) -> list[str]:
    """Metrics that the outputs of the model have none of, by the options of the command line."""
    if given.outputs == "softmax":
        return []
    return [name for name, metric in METRICS.items() if metric.exclusive]


def _policy(path: Path | None, *, without: Collection[str] = ()) -> "Policy":
    """The policy of the user, or the default one, without the checks of some metrics.

    Raises:
        InputError: it cannot be read, or says what makes no sense.
    """
    from saliency_audit.assets import default_policy
    from saliency_audit.commands.gate.policy import read_policy
    from saliency_audit.regular import refuse_irregular

    if path is None:
        return read_policy(default_policy(without=without), "the default policy")
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
    if policy.seed is not None:
        # Whoever wants to be released must not choose the images and the noise.
        changed["seed"] = policy.seed
    if changed.get("classes") is not None:
        changed["classes"] = Path(changed["classes"])
    if "batch_size" in changed:
        changed["batch_size"] = str(changed["batch_size"])
    return given.but(**changed)


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


def _settings(check: "PolicyCheck") -> dict[str, Any]:
    """A check as ``--resume`` compares it: the same wherever the file lies."""
    return {name: value for name, value in vars(check).items() if name != "file"}


COMMAND = Entry("gate", OPTIONS, HELP, run)
