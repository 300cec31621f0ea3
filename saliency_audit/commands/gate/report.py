"""The report of ``gate``: page, picture, a summary for pull requests, JUnit for CI servers."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from saliency_audit.catalogue.formats import refuse_absent
from saliency_audit.commands.gate.tables import checks_table
from saliency_audit.errors import InputError
from saliency_audit.regular import refuse_irregular
from saliency_audit.report.figures import draw_table
from saliency_audit.report.files import write_atomically
from saliency_audit.report.html import Section
from saliency_audit.report.junit import write_junit
from saliency_audit.report.results import read_results, results_in
from saliency_audit.report.sections import write_page, write_tables
from saliency_audit.report.table import Table, escaped, markdown
from saliency_audit.report.wording import facts, is_number, subtitle, summary_table
from saliency_audit.setting import parts_of
from saliency_audit.stats.groups import GROUP
from saliency_audit.stats.paired import between_models
from saliency_audit.stats.summary import SUMMARY_COLUMNS
from saliency_audit.types import COLUMNS

PICTURES = ("checks",)
"""How the names of its pictures begin."""

_QUESTION = "May this model be released?"
_INTRODUCTION = (
    "A policy says what must hold before a model is released together with its saliency maps. "
    "Each line of the table is one check of that policy: what was measured, with its 95 % interval "
    "over images, beside the limit. A check passes only if the whole interval keeps the limit, so "
    "that luck with the images is no pass. Neither is anything undefined, not run or failed: one "
    "image without a value, or one that cannot be read, and the check is undefined. So is it on "
    "fewer than 8 images, unless it is a share such as accuracy, whose interval holds for any "
    "number.",
)
_LIMITS = (
    "An interval is a percentile bootstrap over images, and Wilson's score interval for shares "
    "such as accuracy. A difference to random is measured pair by pair: the method's map and a map "
    "of random numbers, on the same images.",
    "A check that passed held on these images and for these settings. It says nothing of "
    "properties that the policy does not ask for.",
    "No check of one network can refuse one whose weights were trained to show something else: it "
    "is another network of the same architecture, and its maps are true of it. Compare it with one "
    "that is trusted: a check with no_worse_than and --baseline, or evaluate --metric stability "
    "--other. fool --trick finetune shows what such a training does to the maps of this one.",
)
_LARGEST_SUMMARY = 256 << 20  # bytes


def all_rows(frames: Sequence[tuple[str, pd.DataFrame]]) -> pd.DataFrame:
    """Rows or summaries of several audits in one table, what several measured alike only once.

    Args:
        frames: kind of audit ("metric", "trick", "attack") and its table. The setting of a second
            trick or attack also names its audit: options such as its strength are not in there.

    Returns:
        The table; empty for none.
    """
    seen: dict[str, int] = {}
    told_apart = []
    for kind, frame in frames:
        seen[kind] = seen.get(kind, 0) + 1
        if kind != "metric" and seen[kind] > 1 and len(frame):
            frame = frame.assign(setting=[_apart(text, seen[kind]) for text in frame["setting"]])
        if len(frame):
            told_apart.append(frame)
    if not told_apart:
        return pd.DataFrame(columns=list(COLUMNS))
    joined = pd.concat(told_apart, ignore_index=True)
    key = [*(["image"] if "image" in joined else []), *GROUP]
    return joined.drop_duplicates(key, ignore_index=True)


def _apart(setting: str, audit: int) -> str:
    """A setting of a trick or attack with the number of its audit."""
    named = {"trick", "attack", "stage"} & set(parts_of(setting))
    return f"{setting};run={audit}" if named else setting


def read_baseline(path: Path) -> pd.DataFrame:
    """Read ``summary.csv`` of an earlier run.

    Args:
        path: the file.

    Returns:
        Its columns; ``mean`` float, NaN where undefined; the text never NaN.

    Raises:
        InputError: there is no such file, or it is another one.
    """
    refuse_irregular(path, "--baseline")
    try:
        if path.stat().st_size > _LARGEST_SUMMARY:
            raise InputError(
                f"--baseline {path} is larger than {_LARGEST_SUMMARY >> 20} MiB, which no "
                "summary.csv is; check the path"
            )
        frame = pd.read_csv(path, dtype="str", keep_default_na=False)
    except (OSError, ValueError) as error:
        problem = getattr(error, "strerror", None) or error
        raise InputError(f"--baseline {path} cannot be read as CSV ({problem})") from error
    missing = [name for name in SUMMARY_COLUMNS if name not in frame]
    if missing:
        raise InputError(
            f"--baseline {path} has no column {missing[0]}; give the summary.csv that an earlier "
            "gate or evaluate wrote"
        )
    return frame.assign(mean=pd.to_numeric(frame["mean"], errors="coerce"))


def baseline_rows(baseline: Path) -> pd.DataFrame | None:
    """All rows of an earlier run, which lie beside its ``summary.csv``.

    Args:
        baseline: the ``summary.csv``.

    Returns:
        `COLUMNS`; None where there are none.

    Raises:
        InputError: they cannot be read, or there are two files of them.
    """
    there = results_in(baseline.parent)
    if not there:
        return None
    path = there[0]
    if len(there) > 1:
        names = " and ".join(one.name for one in there)
        raise InputError(
            f"{names} lie beside --baseline {baseline}; remove the one that is of another run"
        )
    refuse_absent(path.suffix[1:], said=f"{path}, beside --baseline")
    try:
        frame = read_results(path)
        missing = [name for name in COLUMNS if name not in frame]
    except (OSError, ValueError) as error:
        problem, missing = getattr(error, "strerror", None) or error, []
        raise InputError(
            f"{path}, beside --baseline, cannot be read ({problem}); remove or repair it"
        ) from error
    if missing:
        raise InputError(
            f"{path}, beside --baseline, has no column {missing[0]}; put the {path.name} of "
            "the same run there, or none"
        )
    return frame


def baseline_facts(baseline: Path) -> tuple[str | None, Mapping[str, Any] | None]:
    """What ``run.json`` beside the ``summary.csv`` of an earlier run says of it.

    Args:
        baseline: the ``summary.csv``.

    Returns:
        Fingerprint of its images, and the options of saliency methods that were given; None for
        what nothing tells.
    """
    path = baseline.with_name("run.json")
    refuse_irregular(path, "--baseline: beside it,")
    try:
        run = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return None, None
    run = run if isinstance(run, dict) else {}
    images, options = run.get("data_fingerprint"), run.get("options")
    given = options.get("method options") if isinstance(options, dict) else None
    return (
        images if isinstance(images, str) else None,
        given if isinstance(given, dict) else None,
    )


def changes_since(rows: pd.DataFrame, earlier: pd.DataFrame, names: Iterable[str]) -> pd.DataFrame:
    """The paired difference of what was measured to an earlier run, on the images that both have.

    Models are taken for the same one, whatever they are called.

    Args:
        rows: of this run.
        earlier: of the other one.
        names: of checks.

    Returns:
        ``saliency,scalar,check,setting,difference,difference_low,difference_high,n``, new minus
        earlier, and ``model`` and ``first``, which say nothing.
    """
    wanted = set(names)
    both = [
        frame[frame["check"].isin(wanted)][list(COLUMNS)].assign(model=model)
        for model, frame in (("earlier", earlier), ("new", rows))
    ]
    if any(frame.empty for frame in both):
        return between_models(both[0].iloc[:0])
    return between_models(pd.concat(both, ignore_index=True))


def summary_markdown(outcomes: pd.DataFrame, sentence: str, run: Mapping[str, Any]) -> str:
    """The answer as a table for pull requests.

    Args:
        outcomes: a row for each check.
        sentence: the answer.
        run: facts about the run.
    """
    heading, _, rest = sentence.partition(":")
    return "\n".join(
        [
            f"### saliency-audit gate: {heading}",
            "",
            escaped(rest),
            "",
            *(text for line in warnings(run) for text in (f"⚠️ {escaped(line)}", "")),
            markdown(checks_table(outcomes)),
            "",
            escaped(_subtitle(run)),
            "",
        ]
    )


def write_gate_report(
    folder: Path,
    *,
    summary: pd.DataFrame,
    outcomes: pd.DataFrame,
    sentence: str,
    run: Mapping[str, Any],
    words: Mapping[str, str],
    policy: str,
    started: float,
) -> list[Path]:
    """Write everything ``gate`` shows but the table of all rows and ``run.json``.

    Args:
        folder: the output folder.
        summary: one row per measured quantity.
        outcomes: ``check,name,kind,saliency,scalar,setting,status,effect,measured,ci_low,ci_high,
            limit,message,n,n_undefined,seconds,line``.
        sentence: the answer.
        run: facts about the run.
        words: what a status means.
        policy: its text.
        started: seconds of the epoch.

    Returns:
        The files written.

    Raises:
        AuditError: a file cannot be written.
    """
    # The policy stands in a section of its own.
    options = {name: value for name, value in run["options"].items() if name != "policy"}
    known = {name: value for name, value in run.items() if name != "policy"}
    table = checks_table(outcomes)
    timestamp = datetime.fromtimestamp(started, UTC).isoformat(timespec="seconds")
    return [
        *write_tables(folder, summary=summary, checks=outcomes),
        write_junit(
            folder / "junit.xml",
            outcomes,
            timestamp=timestamp,
            unreadable=run.get("unreadable", 0),
            warnings=warnings(run),
        ),
        write_atomically(folder / "summary.md", summary_markdown(outcomes, sentence, run)),
        *draw_table(
            table,
            folder,
            "checks",
            title=f"{_QUESTION} {sentence.partition(':')[0].capitalize()}",
            footnote=f"{_subtitle(run)}. A check passes only if the whole interval keeps the "
            "limit; one that does not pass refuses the model, unless its policy says that it "
            "warns.",
        ),
        *write_page(
            folder,
            title=_QUESTION,
            about=_subtitle(run),
            sentence=sentence,
            run=known | {"options": options},
            introduction=_INTRODUCTION,
            parts=[
                Section("The checks", tables=[table]),
                Section("What the words mean", terms=words),
            ],
            limits=_LIMITS,
            folded=[Section("The policy", tables=[Table((), [(policy,)], 1)], folded=True)],
            numbers=[summary_table(summary)],
        ),
    ]


def warnings(run: Mapping[str, Any]) -> list[str]:
    """The notes of a run that put its numbers in doubt.

    >>> warnings({"notes": ["clean accuracy: 9%", "WARNING: that is guessing"]})
    ['WARNING: that is guessing']
    """
    return [str(line) for line in run.get("notes", ()) if str(line).startswith("WARNING")]


def _subtitle(run: Mapping[str, Any]) -> str:
    """What was judged, with the clean accuracy as people say it.

    >>> _subtitle({"model": "net", "clean_accuracy": 1.0, "clean_accuracy_n": 16})
    'model: net · clean accuracy: 100.0% of 16 images'
    """
    known = facts(run)
    if is_number(accuracy := run.get("clean_accuracy")):
        known["clean accuracy"] = f"{accuracy:.1%} of {run['clean_accuracy_n']} images"
    return subtitle(known)


def append_summary(summary: Path, page: Path, *, tell: Callable[[str], None]) -> None:
    """Append ``summary.md`` to the page that a CI server shows for the job.

    Args:
        summary: the file.
        page: the server's.
        tell: called with why it could not be done, which changes nothing about the answer.
    """
    try:
        with page.open("a", encoding="utf-8") as file:
            file.write(summary.read_text("utf-8"))
    except OSError as error:
        tell(f"GITHUB_STEP_SUMMARY {page} cannot be written ({error.strerror or error})")
