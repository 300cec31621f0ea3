"""The life of a run, with a sixth command that measures one number."""

import json
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import pandas as pd
import pytest

from saliency_audit.cli import app, console
from saliency_audit.cli.typed import typed
from saliency_audit.commands.life import Answer, Entry, Job, live
from saliency_audit.commands.options import ARGUMENT, OF_MAPS, OF_MODEL, OF_RUN, of_images
from saliency_audit.commands.rows import Subject
from saliency_audit.data import batches
from saliency_audit.errors import InputError
from saliency_audit.options import Given, Option, place_of_report
from saliency_audit.ranges import ANY
from saliency_audit.report.folder import RunFolder
from saliency_audit.report.html import write_html
from saliency_audit.types import COLUMNS, Batch
from tests.two_processes import two_processes

# The whole of the command.

OPTIONS = (
    ARGUMENT,
    Option(
        "at_most", "number", default=1.0, range=ANY, help="Exit with 1 if the images are brighter."
    ),
    Option("why", default="", help="What is said then."),
    *(*OF_MAPS, *of_images(6), *OF_MODEL, *OF_RUN),
)


def brightness(images):
    return images.mean((1, 2, 3))


def check(given):
    if given.at_most < 0:
        raise InputError(f"--at-most is {given.at_most:g}; nothing is darker than 0")


def audit(model, data, *, batch_size, begin, tell, advance):
    for batch in batches(data, batch_size=batch_size, skip=begin()):
        subject = Subject(batch.names, batch.labels, batch.labels, model.name)
        rows = subject.rows("brightness", brightness(batch.images), setting="")
        yield Batch(batch.index, rows, [])
        advance(len(rows), len(data))


def audit_parts(model, data, *, batch_size, begin, tell, advance):
    """The same twice, as two jobs; the second one first."""
    for part in ("late", "early"):
        for batch in audit(
            model,
            data,
            batch_size=batch_size,
            begin=partial(begin, part),
            tell=tell,
            advance=advance,
        ):
            yield replace(batch, job=part)


def answer(done, *, given):
    mean = done.rows["value"].mean()
    table = pd.DataFrame({"mean": [mean], "n": [len(done.rows)]})
    refused = given.why if mean > given.at_most else None
    return Answer(f"brightness {mean:.3f}. {given.why}", {"means": table}, ["a line"], refused)


def report(done, answer, about, *, given):
    place = place_of_report(given, "brightness") / "report.html"
    write_html(place, title="How bright?", verdict_sentence=answer.sentence, sections=[])


def plan(given, setup, processes):
    return Job(
        settings={"at most": given.at_most},
        audit=partial(audit, setup.model, setup.data, batch_size=setup.batch_size),
        answer=partial(answer, given=given),
        report=partial(report, given=given),
    )


COMMAND = Entry(
    "brightness",
    OPTIONS,
    "Say how bright images are.",
    partial(
        live, command="brightness", doing="images", check=check, plan=lambda *given: plan(*given)
    ),
)

# What becomes of it.

OUT = Path("saliency-audit-report/brightness")
PARTS = ("early", "late")
FEW = ("--batch-size", 2)


@pytest.fixture
def bright(run, monkeypatch):
    """``bright("--seed", 1)`` as a user would run the command."""
    monkeypatch.setattr(app, "registered_commands", [*app.registered_commands])
    app.command(COMMAND.name)(typed(COMMAND, console))
    return partial(run, COMMAND.name, *FEW)


@pytest.fixture
def measured(monkeypatch):
    """How many images each batch had, as they are measured; ``measured.stop`` batches at most."""

    class Measured(list):
        stop = 100

    sizes, plain = Measured(), brightness

    def counted(images):
        if len(sizes) == sizes.stop:
            raise KeyboardInterrupt
        sizes.append(len(images))
        return plain(images)

    monkeypatch.setattr(sys.modules[__name__], "brightness", counted)
    return sizes


def facts():
    return json.loads((OUT / "run.json").read_text())


def test_it_measures_answers_and_writes(bright):
    ran = bright()
    assert ran.code == 0, ran.err
    frame = pd.read_csv(OUT / "results.csv")
    assert tuple(frame) == COLUMNS
    assert len(frame) == 6
    assert frame["value"].between(0.05, 0.95).all()
    mean = frame["value"].mean()
    about = facts()
    assert about["finished"]
    assert about["answer"] == f"brightness {mean:.3f}. "
    assert about["means"] == [{"mean": pytest.approx(mean), "n": 6}]
    assert about["settings"]["at most"] == 1.0
    assert about["files"].keys() == {"results.csv", "report.html"}
    assert {path.name for path in OUT.iterdir()} == {"results.csv", "report.html", "run.json"}
    shown = ran.out.splitlines()
    assert shown[0] == "a line"
    assert shown[1].rstrip() == about["answer"].rstrip()
    assert shown[2] == f"report: {OUT / 'report.html'}"
    assert "clean accuracy" in ran.err


def test_quiet_prints_the_answer_alone(bright):
    ran = bright("--quiet")
    assert [line.split()[0] for line in ran.out.splitlines()] == ["a", "brightness"]
    assert ran.err == ""


def test_killed_it_goes_on_where_it_was(bright, measured):
    assert bright("--output-dir", "whole").code == 0
    assert measured == [2, 2, 2]
    measured.clear()
    measured.stop = 2
    ran = bright()
    assert ran.code == 130
    assert "add --resume" in ran.err
    assert not (OUT / "run.json").exists()
    measured.clear()
    ran = bright("--resume")
    assert ran.code == 0, ran.err
    assert measured == [2]
    assert "resuming: 2 batches are done" in ran.err
    assert (OUT / "results.csv").read_bytes() == Path("whole/results.csv").read_bytes()
    assert not (OUT / "partial").exists()


@pytest.mark.parametrize("stop", [2, 4])
def test_each_of_its_jobs_is_kept_through_a_kill(bright, measured, monkeypatch, stop):
    twice = plan

    def planned(*given):
        job = twice(*given)
        return replace(
            job, audit=partial(audit_parts, *job.audit.args, **job.audit.keywords), parts=PARTS
        )

    monkeypatch.setattr(sys.modules[__name__], "plan", planned)
    assert bright("--output-dir", "whole").code == 0
    rows = pd.read_csv("whole/results.csv")
    assert list(rows["image"][:6]) == list(rows["image"][6:])
    measured.clear()
    measured.stop = stop
    assert bright().code == 130
    kept = sorted(path.name for path in (OUT / "partial").glob("*.csv"))
    written = [f"{part}.{index:06d}.csv" for part in ("late", "early") for index in range(3)]
    assert kept == sorted(written[:stop])
    measured.clear()
    measured.stop = 100
    ran = bright("--resume")
    assert ran.code == 0, ran.err
    assert len(measured) == 6 - stop
    assert f"resuming: {stop} batches are done" in ran.err
    assert (OUT / "results.csv").read_bytes() == Path("whole/results.csv").read_bytes()


def test_finished_it_measures_nothing_and_answers_again(bright, measured):
    first = bright()
    written = (OUT / "run.json").read_bytes()
    measured.clear()
    again = bright("--resume")
    assert (again.code, again.out) == (0, first.out)
    assert not measured
    assert (OUT / "run.json").read_bytes() == written


def test_with_another_setting_it_does_not_go_on(bright, measured):
    measured.stop = 1
    assert bright().code == 130
    ran = bright("--resume", "--at-most", 0.9)
    assert ran.code == 2
    assert "at most" in ran.err


@pytest.mark.parametrize(("why", "said"), [("too bright", "too bright\n"), ("", "")])
def test_a_refused_answer_ends_with_1_after_everything_is_written(bright, why, said):
    ran = bright("--at-most", 0, "--why", why, "--quiet")
    assert ran.code == 1
    assert ran.err == said
    assert facts()["finished"]
    assert (OUT / "report.html").exists()


def test_what_is_wrong_is_refused_before_anything_is_there(bright, measured):
    ran = bright("--at-most", -1)
    assert ran.code == 2
    assert "nothing is darker than 0" in ran.err
    assert not measured
    assert list(Path().iterdir()) == []


def test_a_sentence_is_read_and_never_obeyed(bright):
    evil = "[bold red]x[/] [/nothing] \x1b[2J\nsecond"
    ran = bright("--why", evil, "--quiet")
    assert ran.code == 0, ran.err
    assert "\x1b" not in ran.out
    assert "[bold red]x[/] [/nothing]" in ran.out
    assert [line for line in ran.out.splitlines() if line.startswith("second")] == []
    # Files hold it as it is.
    assert facts()["answer"].endswith(evil)


POLICY = """
[[check]]
metric = "accuracy"
at_least = 0.5
[[check]]
metric = "deletion"
saliency = "gradient"
steps = 4
better_than = "random"
[[check]]
trick = "logit-shift"
saliency = "gradcam"
verdict = "unmoved"
[[check]]
attack = "topk"
saliency = "gradcam"
steps = 2
verdict = ["steady", "shifted"]
"""


@pytest.mark.parametrize(
    ("command", "options", "files"),
    [
        (
            "evaluate",
            "--metric deletion --metric accuracy --steps 4 --saliency gradient",
            ("results.csv", "summary.csv", "curves.csv", "verdicts.csv"),
        ),
        (
            "fool",
            "--trick logit-shift --scalar logit --batch-size 16 --saliency gradient",
            ("results.csv", "summary.csv", "verdicts.csv"),
        ),
        pytest.param(
            # Structured wants another image's map: that of the first one, whoever attacks.
            "attack",
            "--attack topk --attack structured --attack pgd --steps 2 --batch-size 16 "
            "--saliency gradient --measure gradient",
            ("results.csv", "summary.csv", "verdicts.csv", "images/manifest.csv"),
            marks=pytest.mark.slow,
        ),
        pytest.param(
            # Trained by the first process alone, a step in four parts: shared out among both, the
            # weights would be those of one up to round-off.
            "fool",
            "--trick finetune --max-steps 2 --scalar logit --batch-size 16 --saliency gradient",
            ("results.csv", "summary.csv", "verdicts.csv", "finetune.safetensors"),
            marks=pytest.mark.slow,
        ),
        pytest.param(
            "evaluate",
            "--metric deletion --steps 4 --batch-size 16 --saliency gradient --channels-last "
            "--compile --format parquet",
            ("results.parquet", "summary.csv", "curves.csv", "verdicts.csv"),
            marks=pytest.mark.slow,
        ),
        pytest.param(
            "evaluate",
            "--metric known-answer --plant-steps 4 --batch-size 16 --saliency gradient",
            ("results.csv", "summary.csv", "verdicts.csv", "known-answer.safetensors"),
            marks=pytest.mark.slow,
        ),
        pytest.param(
            "gate",
            "--policy policy.toml --batch-size 16 --report-only",
            ("results.csv", "summary.csv"),
            marks=pytest.mark.slow,
        ),
    ],
)
def test_two_processes_write_what_one_writes(run, command, options, files):
    Path("policy.toml").write_text(POLICY)
    given = [command, *options.split(), "--max-samples", "40"]
    # On CPUs, accelerate's own launcher starts several processes through MPI only.
    two = two_processes(*given, "--output-dir", "two")
    assert two.returncode == 0, two.stderr
    assert two.stdout.count("report:") == 1
    one = run(*given, "--output-dir", "one")
    assert one.code == 0, one.err
    for name in files:
        assert Path("one", name).read_bytes() == Path("two", name).read_bytes()
    facts = json.loads(Path("two/run.json").read_text())
    assert facts["processes"] == 2
    # Also what the second process wrote is the run's own.
    assert facts["files"].keys() == json.loads(Path("one/run.json").read_text())["files"].keys()
    written = {path.relative_to("two").as_posix() for path in Path("two").rglob("*.*")}
    assert written == {*facts["files"], "run.json"}


@pytest.mark.slow
def test_two_processes_go_on_where_one_was_killed(run, monkeypatch):
    given = (
        *("attack", "--attack", "topk", "--steps", "2", "--saliency", "gradient"),
        *("--measure", "gradient", "--batch-size", "8", "--max-samples", "40"),
    )
    assert run(*given, "--output-dir", "whole").code == 0
    written = RunFolder.write

    def killed(folder, batch):
        if batch.index == 2:
            raise KeyboardInterrupt
        written(folder, batch)

    monkeypatch.setattr(RunFolder, "write", killed)
    assert run(*given, "--output-dir", "parts").code == 130
    two = two_processes(*given, "--output-dir", "parts", "--resume")
    assert two.returncode == 0, two.stderr
    assert "resuming: 2 batches are done" in two.stderr
    facts = json.loads(Path("parts/run.json").read_text())
    assert facts["processes"] == 2
    same = facts["files"].keys() - {"report.html"}
    assert {"results.csv", "verdicts.png", "images/manifest.csv"} <= same
    for name in same:
        assert Path("parts", name).read_bytes() == Path("whole", name).read_bytes()


def test_text_is_as_python_has_it_whatever_pandas_finds_installed():
    """With pyarrow pandas would keep it as UTF-8, and a message that is none end the run."""
    texts = []

    def check(given):
        texts.append(pd.Series(["failed: \ud800"]).iloc[0])
        raise InputError("no more is needed")

    with pytest.raises(InputError):
        live(Given(), None, command="evaluate", plan=None, check=check)
    assert texts == ["failed: \ud800"]
