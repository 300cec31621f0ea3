"""The audits of a policy, one after the other, into one folder."""

import json
import os
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from saliency_audit.commands.setup import Setup, facts, measure_clean_accuracy

if TYPE_CHECKING:
    from collections.abc import Container

    import pandas as pd

    from saliency_audit.commands.gate.policy import Policy
    from saliency_audit.commands.gate.runs import GateRun
    from saliency_audit.report.folder import RunFolder
    from saliency_audit.report.ledger import Ledger


@dataclass
class Work:
    """What a gate is to do, and how far it is.

    Attributes:
        setup: model and images.
        policy: the checks.
        path: the output folder.
        settings: that determine the numbers.
        shared: what every audit takes.
        beside: what some metrics need.
        baseline: summary of an earlier run.
        earlier: its rows, if they are known.
        other_images: whether it measured other images.
        workers: processes that read images.
        ledger: of the files in the output folder.
        folder: the same as ``path``, once it is known that something can be measured.
        seconds: spent, by place of the check in the policy.
        refusals: why the model does not allow a check, by place.
        runs: what was measured, to its end.
        told: lines the user was told.
    """

    setup: Setup
    policy: "Policy"
    path: Path
    settings: Mapping[str, Any]
    shared: Mapping[str, Any]
    beside: Mapping[str, Any]
    baseline: "pd.DataFrame | None"
    earlier: "pd.DataFrame | None"
    other_images: bool
    workers: int
    ledger: "Ledger | None" = None
    folder: "RunFolder | None" = None
    seconds: dict[int, float] = field(default_factory=dict)
    refusals: dict[int, str] = field(default_factory=dict)
    runs: list["GateRun"] = field(default_factory=list)
    told: set[str] = field(default_factory=set)

    @property
    def batches(self) -> int:
        """Most batches of one audit: one an image."""
        return len(self.setup.data)

    def begin(self) -> "Container[int]":
        """Open the folder, the first time; the numbers of batches that are done."""
        from saliency_audit.report.folder import RunFolder

        if self.folder is None:
            self.folder = RunFolder(self.path, self.settings, resume=False, ledger=self.ledger)
        return self.folder.done

    def tell(self, line: str) -> None:
        """Tell a line once, whichever of the audits says it."""
        if line not in self.told:
            self.told.add(line)
            self.setup.tell(line)

    def places(self, run: "GateRun") -> list[int]:
        """Where the checks of a run stand in the policy."""
        own = {id(check) for check in run.checks}
        return [i for i, check in enumerate(self.policy.checks) if id(check) in own]


def decide(work: Work, *, resume: bool) -> "tuple[pd.DataFrame, str]":
    """Measure, judge and report.

    Args:
        work: what is to do.
        resume: go on where an interrupted run stopped.

    Returns:
        What became of each check, ``OUTCOME_COLUMNS``, and the answer in a sentence.

    Raises:
        InputError: anything that the user must change first.
    """
    from saliency_audit.commands.gate.fit import refuse_unfit
    from saliency_audit.commands.gate.outcome import OUTCOME_COLUMNS
    from saliency_audit.commands.gate.runs import plan
    from saliency_audit.report.folder import RunFolder

    if resume:
        work.folder = RunFolder(work.path, work.settings, resume=True, ledger=work.ledger)
        if work.folder.finished:
            import pandas as pd

            run = json.loads((work.path / "run.json").read_text("utf-8"))
            table = pd.DataFrame(run["checks"], columns=list(OUTCOME_COLUMNS)).astype(
                dict.fromkeys(("measured", "ci_low", "ci_high"), "float64")
            )
            _to_the_job(work)
            return table, str(run["answer"])
        if work.folder.done:
            work.tell(f"resuming: {len(work.folder.done)} batches are done")
    planned = plan(work.policy.checks, batches=work.batches)
    refuse_unfit(work.policy.checks, work.setup.model.input_shape, work.setup.classes)
    clean = measure_clean_accuracy(work.setup, workers=work.workers)
    for run in planned:
        _measure(work, run)
    return _report(work, facts(work.setup, clean, sys.argv[1:], work.settings))


def _measure(work: Work, planned: "GateRun") -> None:
    """One audit, and what it costs each of its checks."""
    from saliency_audit.commands.gate.runs import measured
    from saliency_audit.types import Batch

    names = dict.fromkeys(check.name for check in planned.checks)
    last = time.monotonic()
    with work.setup.screen.progress(f"gate: {', '.join(names)}", quiet=work.setup.quiet) as advance:
        for run, batch in measured(
            planned,
            work.setup.model,
            work.setup.data,
            batches=work.batches,
            begin=work.begin,
            beside=work.beside,
            batch_size=work.setup.batch_size,
            workers=work.workers,
            tell=work.tell,
            advance=advance,
            **work.shared,
        ):
            places = work.places(run)
            if isinstance(batch, Batch):
                assert work.folder is not None
                work.folder.write(batch)
            elif batch is None:
                work.runs.append(run)
            else:
                work.refusals |= dict.fromkeys(places, str(batch))
            now = time.monotonic()
            for place in places:
                spent = (now - last) / len(places)
                work.seconds[place] = work.seconds.get(place, 0.0) + spent
            last = now


def _report(work: Work, run: dict[str, Any]) -> "tuple[pd.DataFrame, str]":
    """Judge what was measured and write all files."""
    import pandas as pd

    from saliency_audit.commands.gate.audit import judge
    from saliency_audit.commands.gate.outcome import (
        GATE_WORDS,
        gate_sentence,
        not_run,
        outcome_table,
    )
    from saliency_audit.commands.gate.report import (
        all_rows,
        changes_since,
        run_rows,
        write_gate_report,
    )
    from saliency_audit.metrics import CHECKS
    from saliency_audit.stats.density import density_summary
    from saliency_audit.stats.paired import differences
    from saliency_audit.stats.summary import summarise

    done = work.begin()
    assert work.folder is not None
    better = {name: check.higher_is_better for name, check in CHECKS.items()}
    outcomes: dict[int, Any] = {
        place: not_run(work.policy.checks[place], why) for place, why in work.refusals.items()
    }
    counted = {"images": run["images"], "unreadable": run["unreadable"]}
    rows, summaries = [], []
    for one in work.runs:
        numbers = one.own(done, work.batches)
        frame = run_rows(work.path, [one.place + number for number in numbers])
        summary = summarise(frame, higher_is_better=better, **_beside(one, frame, work))
        if len(density := density_summary(frame)):
            summary = pd.concat([summary, density], ignore_index=True)
        apart = differences(frame) if one.kind == "metric" else None
        compared = {c.name for c in one.checks if c.limit == "no_worse_than"}
        changes = None
        if compared and work.earlier is not None:
            changes = changes_since(frame, work.earlier, compared)
        rows.append((one.kind, frame))
        summaries.append((one.kind, summary))
        for place in work.places(one):
            outcomes[place] = judge(
                work.policy.checks[place],
                frame,
                summary,
                apart,
                baseline=work.baseline,
                changes=changes,
                other_images=work.other_images,
                classes=work.setup.classes,
                **counted,
                labelled=work.setup.data.labelled,
            )
    table = outcome_table([outcomes[i] for i in range(len(work.policy.checks))], work.seconds)
    sentence = gate_sentence(table, **counted)
    run |= {"answer": sentence, "policy": work.policy.text}
    write_gate_report(
        work.path,
        results=all_rows(rows),
        summary=all_rows(summaries),
        outcomes=table,
        sentence=sentence,
        run=run,
        words=GATE_WORDS,
        policy=work.policy.text,
        started=work.setup.started,
    )
    _to_the_job(work)
    work.folder.close(run | {"checks": table.to_dict("records")})
    return table, sentence


def _to_the_job(work: Work) -> None:
    """Append the summary to the page of the CI job, if there is one."""
    from saliency_audit.commands.gate.report import append_summary

    if page := os.environ.get("GITHUB_STEP_SUMMARY"):
        append_summary(work.path / "summary.md", Path(page), tell=work.tell)


def _beside(run: "GateRun", frame: "pd.DataFrame", work: Work) -> dict[str, Any]:
    """Chance levels and controls of the summary of an audit."""
    from saliency_audit.commands.attack.verdict import attack_chances, attack_controls
    from saliency_audit.commands.evaluate.verdict import evaluate_chances
    from saliency_audit.metrics.similarity import pixel_count

    if run.kind == "metric":
        return {"chance": evaluate_chances(frame, work.setup.classes)}
    if run.kind == "trick":
        return {}
    pixels = work.setup.model.input_shape[1] * work.setup.model.input_shape[2]
    k = pixel_count(run.arguments["k"], pixels)
    return {
        "chance": attack_chances(k=k, pixels=pixels, classes=work.setup.classes),
        "controls": attack_controls(frame),
    }
