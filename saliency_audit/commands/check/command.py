"""``saliency-audit check``: what its options mean."""

import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from saliency_audit.catalogue.methods import METHODS
from saliency_audit.commands.check.options import OPTIONS
from saliency_audit.commands.life import Answer, Done, Entry, Job, live
from saliency_audit.commands.options import of_methods, refuse_idle
from saliency_audit.commands.setup import Setup
from saliency_audit.options import Given, place_of_report
from saliency_audit.processes import Processes

HELP = """Look at a model before any audit: what was loaded and assumed, what it says, what works.

Example: saliency-audit check --max-samples 8
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
    refuse_idle(given, "--saliency", METHODS, given.saliency or METHODS)


def plan(given: Given, setup: Setup, processes: Processes) -> Job:
    """What one run does."""
    from saliency_audit.commands.check.audit import check as look

    return Job(
        settings={
            "saliency": given.saliency or "all",
            "scalar": given.scalar,
            "target": given.target,
            "method options": of_methods(given),
        },
        audit=partial(
            look,
            setup.model,
            setup.data,
            saliency=given.saliency,
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
    from saliency_audit.report.table import terminal

    setup, timed = done.setup, seconds_a_pass(done.setup)
    assumed = assumptions(given, setup)
    accuracy = verdict.accuracies(done.rows)
    found = verdict.methods(done.rows, seconds_a_pass=timed)
    says = verdict.says(done.rows, setup.data.class_names)
    facts = {"input": assumed["input"], "classes": setup.classes}
    text = verdict.sentence(accuracy, found, model=setup.model.name, facts=facts)
    shown = [
        tables.assumed_table(assumed),
        tables.says_table(says),
        *([tables.accuracy_table(accuracy)] if accuracy["n"].any() else []),
        tables.methods_table(found),
    ]
    return Answer(
        text,
        {"accuracies": accuracy, "methods": found, "says": says},
        [terminal(table, wrap=True, apart=1) for table in shown],
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
    said = {name: " (as given)" if getattr(given, name) is not None else "" for name in _SAID}
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


def seconds_a_pass(setup: Setup) -> float:
    """Seconds that a forward and a backward pass of one image take, in a batch of eight."""
    import torch

    from saliency_audit.commands.known import first_images
    from saliency_audit.models import input_gradient

    model = setup.model
    device = model.mean.device
    images, _, _ = first_images(setup.data, min(8, setup.batch_size), 8, device=device, workers=0)

    def timed() -> float:
        started = time.perf_counter()
        with model.audited():
            input_gradient(model, images, torch.zeros(len(images), dtype=torch.long, device=device))
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return (time.perf_counter() - started) / len(images)

    timed()
    return timed()


def report(done: Done, answer: Answer, about: Mapping[str, Any], *, path: Path) -> None:
    """Write tables, pictures and page."""
    from saliency_audit.commands.check.report import write_check_report

    write_check_report(
        path,
        accuracies=answer.tables["accuracies"],
        methods=answer.tables["methods"],
        says=answer.tables["says"],
        assumed=answer.facts["assumed"],
        examples=done.folder.examples(),
        sentence=answer.sentence,
        run=about,
        summary=_summary(done),
    )


def _summary(done: Done) -> Any:
    from saliency_audit.metrics import CHECKS
    from saliency_audit.stats.summary import summarise

    better = {name: check.higher_is_better for name, check in CHECKS.items()}
    return summarise(done.rows, higher_is_better=better)


COMMAND = Entry(
    "check", OPTIONS, HELP, partial(live, command="check", doing="maps", check=check, plan=plan)
)
