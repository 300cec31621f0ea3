"""The audits of a policy, one after the other, into one folder."""

import json
import os
import time
from collections.abc import Callable, Container, Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from saliency_audit.commands.life import Answer, Done
from saliency_audit.commands.setup import Setup
from saliency_audit.processes import Processes

if TYPE_CHECKING:
    import pandas as pd

    from saliency_audit.commands.gate.policy import Policy
    from saliency_audit.commands.gate.runs import GateRun
    from saliency_audit.types import Batch


@dataclass(frozen=True)
class Baseline:
    """An earlier run.

    Attributes:
        summary: its ``summary.csv``.
        rows: its ``results.csv``; None where that is not known.
        images: fingerprint of its images; None likewise.
        options: of saliency methods that were given; None likewise.
    """

    summary: "pd.DataFrame | None" = None
    rows: "pd.DataFrame | None" = None
    images: str | None = None
    options: Mapping[str, Any] | None = None


@dataclass
class Work:
    """What a gate is to do, and how far it is.

    Attributes:
        setup: model and images.
        policy: the checks.
        planned: audits that measure them.
        shared: what every audit takes.
        beside: what some metrics need.
        baseline: an earlier run.
        processes: of this run.
        report_only: whether a refusal ends the run with 0.
        seconds: spent, by place of the check in the policy.
        refusals: why the model does not allow a check, by place.
        runs: what was measured, to its end.
    """

    setup: Setup
    policy: "Policy"
    planned: "list[GateRun]"
    shared: Mapping[str, Any]
    beside: Mapping[str, Any]
    baseline: Baseline
    processes: Processes
    report_only: bool
    seconds: dict[int, float] = field(default_factory=dict)
    refusals: dict[int, str] = field(default_factory=dict)
    runs: list["GateRun"] = field(default_factory=list)

    @property
    def other_images(self) -> bool:
        """Whether the earlier run measured other images."""
        return self.baseline.images not in (None, self.setup.data.fingerprint)

    def places(self, run: "GateRun") -> list[int]:
        """Where the checks of a run stand in the policy."""
        own = {id(check) for check in run.checks}
        return [i for i, check in enumerate(self.policy.checks) if id(check) in own]


def audit(
    work: Work,
    *,
    begin: Callable[[str], Container[int]],
    tell: Callable[[str], None],
    advance: Callable[[int, int], None],
) -> "Iterator[Batch]":
    """One audit after the other, and what each costs each of its checks.

    Args:
        work: what is to do.
        begin: called with a job once something is known to work; returns the indices of its
            batches that need no work.
        tell: called with lines the user should read, each of them once.
        advance: not called: each audit has a bar of its own.

    Yields:
        Batches of rows.

    Raises:
        InputError: anything that the user must change first.
    """
    from saliency_audit.commands.costs import expecting
    from saliency_audit.commands.gate.costs import passes_of_image
    from saliency_audit.commands.gate.runs import measured
    from saliency_audit.types import Batch

    del advance
    images = -(-len(work.setup.data) // work.processes.world)
    options = work.shared["options"]
    each = passes_of_image(work.planned, work.setup, images=images, options=options)
    if each is not None:
        expecting(work.setup, work.processes)(each * images)
    told: set[str] = set()

    def tell_once(line: str) -> None:
        if line not in told:
            told.add(line)
            tell(line)

    for planned in work.planned:
        names = ", ".join(dict.fromkeys(check.name for check in planned.checks))
        last = time.monotonic()
        with work.setup.screen.progress(f"gate: {names}", quiet=work.setup.quiet) as bar:
            for run, found in measured(
                planned,
                work.setup.model,
                work.setup.data,
                begin=begin,
                beside=work.beside,
                processes=work.processes,
                tell=tell_once,
                advance=bar,
                **work.shared,
            ):
                places = work.places(run)
                if isinstance(found, Batch):
                    yield found
                elif found is None:
                    work.runs.append(run)
                else:
                    work.refusals |= dict.fromkeys(places, found)
                now = time.monotonic()
                for place in places:
                    spent = (now - last) / len(places)
                    work.seconds[place] = work.seconds.get(place, 0.0) + spent
                last = now


def answer(done: Done, *, work: Work) -> Answer:
    """What became of each check, and whether the model may be released."""
    from saliency_audit.commands.gate.terminal import shown

    beside: Mapping[str, pd.DataFrame] = {}
    if done.folder.finished:
        table, sentence = _kept(done.folder.path)
        _to_the_job(work, done.folder.path)
    else:
        table, sentence, beside = _judged(done, work)
    checks, spoken = shown(table, sentence, width=done.width)
    return Answer(
        sentence,
        {"checks": table},
        [checks],
        refused=None if sentence.startswith("released") or work.report_only else "",
        spoken=str(spoken),
        facts={
            "policy": work.policy.text,
            "policy_sha256": sha256(work.policy.text.encode()).hexdigest(),
            "images_sha256": done.clean.images_sha256,
            "distinct_images": len(done.clean.digests),
        },
        beside=beside,
    )


def _kept(path: Path) -> "tuple[pd.DataFrame, str]":
    """The answer of a finished run."""
    import pandas as pd

    from saliency_audit.commands.gate.outcome import OUTCOME_COLUMNS

    run = json.loads((path / "run.json").read_text("utf-8"))
    table = pd.DataFrame(run["checks"], columns=list(OUTCOME_COLUMNS)).astype(
        dict.fromkeys(("measured", "ci_low", "ci_high"), "float64")
    )
    return table, str(run["answer"])


def _judged(done: Done, work: Work) -> "tuple[pd.DataFrame, str, dict[str, pd.DataFrame]]":
    """The outcome of each check, the answer in a sentence, and what the report writes beside."""
    from saliency_audit.commands.gate.audit import judge
    from saliency_audit.commands.gate.outcome import (
        enough_images,
        gate_sentence,
        input_gradient,
        not_run,
        outcome_table,
        outputs_named,
    )
    from saliency_audit.commands.gate.report import all_rows, changes_since

    outcomes: dict[int, Any] = {
        place: not_run(work.policy.checks[place], why) for place, why in work.refusals.items()
    }
    counted = {"images": len(work.setup.data), "unreadable": done.clean.unreadable}
    rows, summaries = [], []
    for one in work.runs:
        frame = done.folder.rows(one.job)
        summary, apart = summed(
            one, frame, shape=work.setup.model.input_shape, classes=work.setup.alternatives
        )
        compared = {c.name for c in one.checks if c.limit == "no_worse_than"}
        changes = None
        if compared and work.baseline.rows is not None:
            changes = changes_since(frame, work.baseline.rows, compared)
        rows.append((one.kind, frame))
        summaries.append((one.kind, summary))
        for place in work.places(one):
            outcomes[place] = judge(
                work.policy.checks[place],
                frame,
                summary,
                apart,
                baseline=work.baseline.summary,
                changes=changes,
                other_images=work.other_images,
                classes=work.setup.alternatives,
                **counted,
            )
    judged = [outcomes[i] for i in range(len(work.policy.checks))]
    judged.append(enough_images(work.policy.images, len(done.clean.digests), done.clean.readable))
    tried = work.setup.nature
    judged += input_gradient(tried.images, tried.no_gradient, tried.reason)
    judged += outputs_named(work.setup.classes, work.setup.data.class_names)
    table = outcome_table(judged, work.seconds)
    beside = {"results": all_rows(rows), "summary": all_rows(summaries)}
    return table, gate_sentence(table, **counted), beside


def report(done: Done, answer: Answer, about: Mapping[str, Any], *, work: Work) -> None:
    """Write all files, and the summary to the page of the CI job."""
    from saliency_audit.commands.gate.attestation import write_attestation
    from saliency_audit.commands.gate.outcome import GATE_WORDS
    from saliency_audit.commands.gate.report import write_gate_report
    from saliency_audit.report.results import write_results

    # Without what several audits measured alike.
    write_results(done.folder.results, answer.beside["results"])
    write_gate_report(
        done.folder.path,
        summary=answer.beside["summary"],
        outcomes=answer.tables["checks"],
        sentence=answer.sentence,
        run=about,
        words=GATE_WORDS,
        policy=work.policy.text,
        started=work.setup.started,
    )
    write_attestation(
        done.folder.path / "attestation.json",
        answer.tables["checks"],
        released=answer.sentence.startswith("released"),
        policy=work.policy.text,
        run=about,
    )
    _to_the_job(work, done.folder.path)


def _to_the_job(work: Work, path: Path) -> None:
    """Append the summary to the page of the CI job, if there is one."""
    from saliency_audit.commands.gate.report import append_summary

    if page := os.environ.get("GITHUB_STEP_SUMMARY"):
        append_summary(path / "summary.md", Path(page), tell=work.setup.tell)


def summed(
    run: "GateRun", frame: "pd.DataFrame", *, shape: tuple[int, ...], classes: int | None
) -> "tuple[pd.DataFrame, pd.DataFrame | None]":
    """Summary of an audit's rows, and of metrics the paired differences to the random map.

    Args:
        run: the audit.
        frame: its rows.
        shape: of an image, ``(c, h, w)``.
        classes: of which one is right; None where outputs do not exclude each other.
    """
    import pandas as pd

    from saliency_audit.commands.attack.verdict import attack_chances, attack_controls
    from saliency_audit.commands.evaluate.verdict import evaluate_chances
    from saliency_audit.metrics import CHECKS
    from saliency_audit.metrics.similarity import pixel_count
    from saliency_audit.stats.medians import median_summary
    from saliency_audit.stats.paired import differences
    from saliency_audit.stats.summary import summarise

    beside: dict[str, Any] = {}
    if run.kind == "metric":
        beside["chance"] = evaluate_chances(frame, classes)
    elif run.kind == "attack":
        pixels = shape[1] * shape[2]
        k = pixel_count(run.arguments["k"], pixels)
        beside["chance"] = attack_chances(k=k, pixels=pixels, classes=classes)
        beside["controls"] = attack_controls(frame)
    better = {name: check.higher_is_better for name, check in CHECKS.items()}
    summary = summarise(frame, higher_is_better=better, **beside)
    if len(medians := median_summary(frame, higher_is_better=better)):
        summary = pd.concat([summary, medians], ignore_index=True)
    return summary, differences(frame) if run.kind == "metric" else None
