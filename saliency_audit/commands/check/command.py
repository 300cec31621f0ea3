"""``saliency-audit check``: what its options mean."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from saliency_audit.catalogue.methods import METHODS
from saliency_audit.commands.check.options import FIRST_LOOK, OPTIONS
from saliency_audit.commands.life import Answer, Done, Entry, Job, live
from saliency_audit.commands.masking import refuse_untrained
from saliency_audit.commands.options import of_methods, refuse_idle
from saliency_audit.commands.quick import not_looked_at
from saliency_audit.commands.setup import Setup
from saliency_audit.options import Given, place_of_report
from saliency_audit.processes import Processes

HELP = """Look at a model before any audit: what was loaded and assumed, what it says, what works.

Example: saliency-audit check --max-samples 8

Example: saliency-audit check my.pt --arch net:build --data images --mean 0.5 --std 0.25
"""
PICTURES = ("maps", "methods")


def check(given: Given) -> None:
    """Refuse what is wrong before anything is loaded.

    Raises:
        InputError: it is.
    """
    from saliency_audit.errors import lookup
    from saliency_audit.models import SCALARS

    for name in given.saliency or ():
        lookup("saliency method", METHODS, name)
    lookup("scalar", SCALARS, given.scalar)
    refuse_untrained(given.saliency, "check")
    refuse_idle(given, "--saliency", METHODS, given.saliency or METHODS)


def plan(given: Given, setup: Setup, processes: Processes) -> Job:
    """What one run does."""
    from saliency_audit.commands.check.audit import check as look

    left_out = not_looked_at(given, FIRST_LOOK, tuple(METHODS))
    return Job(
        settings={
            "saliency": given.saliency or "all",
            "left out": left_out,
            "scalar": given.scalar,
            "target": given.target,
            "method options": of_methods(given),
        },
        audit=partial(
            look,
            setup.model,
            setup.data,
            saliency=given.saliency,
            left_out=left_out,
            scalar=given.scalar,
            target=given.target,
            options=of_methods(given),
            seed=given.seed,
            batch_size=setup.batch_size,
            workers=given.workers,
            shard=(processes.rank, processes.world),
        ),
        answer=partial(answer, given=given),
        report=partial(report, path=place_of_report(given, "check")),
        pictures=PICTURES,
    )


def answer(done: Done, *, given: Given) -> Answer:
    """What the model says, under which preprocessing, and which methods have a map."""
    from saliency_audit.commands.check import tables, verdict
    from saliency_audit.commands.check.costs import costs
    from saliency_audit.commands.costs import seconds_a_pass
    from saliency_audit.report.table import terminal

    setup, timed = done.setup, seconds_a_pass(done.setup)
    assumed = assumptions(given, setup)
    accuracy = verdict.accuracies(done.rows)
    found = verdict.methods(done.rows, seconds_a_pass=timed)
    says = verdict.says(done.rows, setup.class_names)
    facts = {"input": assumed["input"], "classes": setup.classes}
    refused = list(found.loc[found["with_map"] == 0, "saliency"])
    takes = costs(setup, refused, options=of_methods(given))
    text = verdict.sentence(accuracy, found, model=setup.model.name, facts=facts)
    shown = [
        tables.assumed_table(assumed),
        tables.says_table(says),
        *([tables.accuracy_table(accuracy)] if accuracy["n"].any() else []),
        tables.methods_table(found),
        tables.costs_table(takes),
    ]
    return Answer(
        text,
        {"accuracies": accuracy, "methods": found, "says": says, "costs": takes},
        [terminal(table, width=done.width, apart=2) for table in shown],
        facts={"assumed": assumed, "seconds_a_pass": timed},
    )


def assumptions(given: Given, setup: Setup) -> dict[str, Any]:
    """What was loaded, and what was taken for granted because nobody said it.

    Args:
        given: the options.
        setup: model and images.
    """
    model, data, found = setup.model, setup.data, setup.nature
    channels, height, width = model.input_shape
    assumed = " ".join(setup.assumed)
    said = {
        name: " (as given)"
        if getattr(given, name) is not None
        else " (assumed)" * (name in assumed)
        for name in _SAID
    }
    weights = sum(weight.numel() for weight in model.network.parameters())

    def colours(values: Any) -> str:
        return ", ".join(f"{value:.4g}" for value in values.flatten().tolist())

    return {
        "model": f"{model.name}, {model.format}, {weights:,} weights",
        "input": f"{channels} x {height} x {width} images{said['size']}",
        "mean": colours(model.mean) + said["mean"],
        "std": colours(model.std) + said["std"],
        "classes": str(setup.classes),
        "output": ("probabilities" if model.probabilities else "logits")
        + ("" if model.outputs.exclusive else ", each with a sigmoid of its own (multi-label)"),
        "gradient": f"in {found.images - found.no_gradient} of the first {found.images} images",
        "images": f"{len(data)} of {data.name}",
        "device": str(model.mean.device),
    }


_SAID = ("size", "mean", "std")


def report(done: Done, answer: Answer, about: Mapping[str, Any], *, path: Path) -> None:
    """Write tables, pictures and page."""
    from saliency_audit.commands.check.report import write_check_report

    write_check_report(
        path,
        accuracies=answer.tables["accuracies"],
        methods=answer.tables["methods"],
        costs=answer.tables["costs"],
        says=answer.tables["says"],
        assumed=answer.facts["assumed"],
        examples=done.folder.examples(),
        sentence=answer.sentence,
        run=about,
        summary=_summary(done),
        said=done.explained,
    )


def _summary(done: Done) -> Any:
    from saliency_audit.metrics import CHECKS
    from saliency_audit.stats.summary import summarise

    better = {name: check.higher_is_better for name, check in CHECKS.items()}
    return summarise(done.rows, higher_is_better=better)


COMMAND = Entry(
    "check",
    OPTIONS,
    HELP,
    partial(live, command="check", doing="maps", check=check, plan=plan, first_look=FIRST_LOOK),
)
