"""`saliency-audit gate` from the first word to the exit code."""

import json
import tomllib
from pathlib import Path

import pandas as pd
import pytest
import torch
import xmlschema
from junitparser import JUnitXml
from safetensors.torch import save_file
from torch import nn

from saliency_audit.assets import FashionMnistCnn, bundled_model, default_policy
from saliency_audit.reports.folder import RunFolder

FEW = ("--max-samples", 16, "--ig-steps", 8)
FOLDER = Path("saliency-audit-report/gate")
FILES = {
    "checks.csv",
    "junit.xml",
    "report.html",
    "results.csv",
    "run.json",
    "summary.csv",
    "summary.md",
}
QUICK = """
[data]
max_samples = 8
[[check]]
metric = "accuracy"
better_than = "chance"
[[check]]
metric = "deletion"
saliency = "gradient"
steps = 4
at_most = {bound}
"""


def policy(text, name="policy.toml"):
    Path(name).write_text(text)
    return ("--policy", name)


def statuses(folder=FOLDER):
    table = pd.read_csv(folder / "checks.csv")
    return dict(zip(table["check"], table["status"], strict=True))


def test_the_bundled_model_passes_the_default_policy(run):
    ran = run("gate", *FEW)
    assert ran.code == 0, ran.out + ran.err
    assert "released: all 4 checks passed" in ran.out
    assert {path.name for path in FOLDER.iterdir()} == FILES
    assert set(statuses().values()) == {"passed"}
    schema = Path(__file__).parents[1] / "reports" / "junit.xsd"
    xmlschema.XMLSchema(schema).validate(FOLDER / "junit.xml")
    suite = next(iter(JUnitXml.fromfile(str(FOLDER / "junit.xml"))))
    assert all(0 < case.time < 600 for case in suite)
    facts = json.loads((FOLDER / "run.json").read_text())
    assert facts["answer"] == "released: all 4 checks passed"
    assert facts["policy"] == default_policy()
    assert "0.5" in (FOLDER / "report.html").read_text()


def test_a_shifted_model_is_refused_and_the_report_says_by_which_check(run):
    few = ("--saliency", "gradient", "--scalar", "logit", "--max-samples", 8)
    assert run("fool", *few, "--trick", "logit-shift").code == 0
    ran = run("gate", "saliency-audit-report/fool/logit-shift.pt2", *FEW)
    assert ran.code == 1
    assert "scalar-agreement failed" in ran.out
    assert statuses()["scalar-agreement"] == "failed"
    assert "scalar-agreement failed" in (FOLDER / "report.html").read_text()
    assert "scalar-agreement failed" in (FOLDER / "summary.md").read_text()
    suite = next(iter(JUnitXml.fromfile(str(FOLDER / "junit.xml"))))
    assert [case.name for case in suite if not case.is_passed] == ["scalar-agreement"]


def test_a_model_with_random_weights_is_refused(run):
    torch.manual_seed(0)
    save_file(FashionMnistCnn().state_dict(), "random.safetensors")
    ran = run("gate", "random.safetensors", "--arch", "saliency_audit.assets:FashionMnistCnn", *FEW)
    assert ran.code == 1
    assert "accuracy failed" in ran.out
    ran = run(
        *("gate", "random.safetensors", "--arch", "saliency_audit.assets:FashionMnistCnn", *FEW),
        *("--report-only", "--quiet"),
    )
    assert ran.code == 0
    assert "refused" in ran.out
    assert ran.err == ""


def test_torchscript_passes_the_default_policy_too(run):
    torch.jit.script(bundled_model()).save("model.pt")
    ran = run("gate", "model.pt", "--channels", 1, *FEW)
    assert ran.code == 0, ran.out + ran.err


def test_without_labels_nothing_is_released(run):
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 4, 7, stride=4), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(),
        nn.Linear(16, 5),
    )  # fmt: skip
    torch.jit.script(model).save("model.pt")
    ran = run("gate", "model.pt", "--size", 32, *policy(QUICK.format(bound=1)))
    assert ran.code == 1
    assert "needs labels: give --data with labels" in ran.out
    assert statuses()["accuracy"] == "undefined"


def test_the_default_policy_is_printed_whole(run):
    ran = run("gate", "--print-policy")
    assert ran.code == 0
    assert ran.out == default_policy()
    assert len(tomllib.loads(ran.out)["check"]) == 4
    assert not Path("saliency-audit-report").exists()


def test_warnings_refuse_nothing_and_are_shown(run):
    assert run("gate", *policy(QUICK.format(bound=0))).code == 1
    ran = run("gate", *policy(QUICK.format(bound=0) + 'level = "warn"\n'))
    assert ran.code == 0
    assert "Only warned of: deletion × gradient" in ran.out
    suite = next(iter(JUnitXml.fromfile(str(FOLDER / "junit.xml"))))
    assert (suite.failures, suite.skipped) == (0, 1)


def test_what_the_model_does_not_allow_is_no_pass_and_stops_no_other_check(run):
    torch.jit.script(bundled_model()).save("model.pt")
    text = QUICK.format(bound=1).replace('"gradient"', '["gradcam", "gradient"]')
    ran = run("gate", "model.pt", "--channels", 1, *policy(text))
    assert ran.code == 1
    found = statuses()
    assert found["deletion × gradcam (steps=4)"] == "not run"
    assert found["deletion × gradient (steps=4)"] == "passed"
    assert found["accuracy"] == "passed"


ALL_KINDS = (
    QUICK.format(bound=1)
    + """
[[check]]
metric = "deletion"
saliency = "gradient"
steps = 8
better_than = "random"
inconclusive = "warn"
[[check]]
trick = "logit-shift"
saliency = "gradcam"
verdict = ["unmoved"]
[[check]]
attack = "topk"
saliency = "gradcam"
eps = "1/255"
steps = 2
verdict = ["steady", "shifted", "fragile"]
"""
)


def test_tricks_and_attacks_stand_beside_metrics(run):
    ran = run("gate", *policy(ALL_KINDS))
    assert ran.code in (0, 1)
    found = statuses()
    assert found["logit-shift × gradcam"] == "passed"
    assert found["topk × gradcam (eps=1/255, steps=2)"] == "passed"
    rows = pd.read_csv(FOLDER / "results.csv", keep_default_na=False)
    key = ["image", "model", "saliency", "scalar", "check", "setting"]
    assert not rows.duplicated(key).any()
    assert {"deletion", "cosine-to-picture", "topk-intersection"} <= set(rows["check"])


@pytest.mark.parametrize("at", [1, 5])
def test_a_stopped_gate_goes_on_and_ends_with_the_same_bytes(run, monkeypatch, at):
    given = (*policy(ALL_KINDS), "--batch-size", 4)
    whole = run("gate", *given, "--output-dir", "whole")
    written, count = RunFolder.write, 0

    def stop(folder, batch):
        nonlocal count
        count += 1
        if count > at:
            raise KeyboardInterrupt
        written(folder, batch)

    monkeypatch.setattr(RunFolder, "write", stop)
    assert run("gate", *given, "--output-dir", "parts").code == 130
    monkeypatch.setattr(RunFolder, "write", written)
    assert len(list(Path("parts/partial").glob("*.csv"))) == at
    resumed = run("gate", *given, "--output-dir", "parts", "--resume")
    assert resumed.code == whole.code
    for file in ("results.csv", "summary.csv"):
        assert Path("parts", file).read_bytes() == Path("whole", file).read_bytes()
    assert statuses(Path("parts")) == statuses(Path("whole"))
    # Once more: nothing is left to do, and the same answer is given.
    again = run("gate", *given, "--output-dir", "parts", "--resume")
    assert (again.code, again.out) == (resumed.code, resumed.out)


def test_a_gate_whose_report_failed_is_not_passed_by_resuming(run, monkeypatch):
    import saliency_audit.reports.gate as reports

    given = policy(QUICK.format(bound=0))
    write = reports.write_gate_report
    monkeypatch.setattr(reports, "write_gate_report", None)
    assert run("gate", *given).code == 3
    monkeypatch.setattr(reports, "write_gate_report", write)
    ran = run("gate", *given, "--resume")
    assert ran.code == 1
    assert len(statuses()) == 2


def test_no_worse_than_an_earlier_run(run):
    assert run("gate", *policy(QUICK.format(bound=1))).code == 0
    text = QUICK.replace("at_most = {bound}", 'no_worse_than = "baseline"\ntolerance = 1')
    given = ("gate", *policy(text), "--baseline", FOLDER / "summary.csv", "--output-dir", "b")
    assert run(*given).code == 0
    assert run(*given[:3], "--output-dir", "c").code == 2  # no --baseline
    other = ("gate", *policy(text.replace("steps = 4", "steps = 5")), *given[3:5])
    ran = run(*other, "--output-dir", "d")
    assert ran.code == 2
    assert "setting=steps=5" in ran.err
    assert not Path("d").exists()
    missing = ("gate", *policy(text.replace('"gradient"', '"gradcam"')), *given[3:5])
    ran = run(*missing, "--output-dir", "e")
    assert ran.code == 2
    assert "saliency=gradcam" in ran.err
    assert not Path("e").exists()


def test_the_command_line_goes_before_the_policy(run):
    given = policy("[run]\nseed = 3\ntarget = 'label'\n" + QUICK.format(bound=1))
    assert run("gate", *given).code == 0
    facts = json.loads((FOLDER / "run.json").read_text())
    assert (facts["images"], facts["settings"]["seed"]) == (8, 3)
    assert facts["settings"]["target"] == "label"
    assert run("gate", *given, "--seed", 0, "--max-samples", 6, "--target", "predicted").code == 0
    facts = json.loads((FOLDER / "run.json").read_text())
    assert (facts["images"], facts["settings"]["seed"]) == (6, 0)
    assert facts["settings"]["target"] == "predicted"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "cannot be read (No such file or directory)"),
        ("[[check]]\nmetrc = 'x'\n", "policy.toml, line 2: unknown key of [[check]] 'metrc'"),
        (QUICK.format(bound=1).replace("steps = 4", "steps = 0"), "line 7: --steps is 0"),
        (QUICK.format(bound=1).replace("8", "8\nsize = 5"), "size"),
    ],
)
def test_a_wrong_policy_is_exit_2_and_writes_nothing(run, text, said):
    given = ("--policy", "policy.toml") if text is None else policy(text)
    ran = run("gate", *given)
    assert ran.code == 2, ran.err
    assert said in ran.err
    assert not Path("saliency-audit-report").exists()


def test_the_summary_goes_to_the_page_of_a_github_job(run, monkeypatch):
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", "page.md")
    assert run("gate", *policy(QUICK.format(bound=1))).code == 0
    assert Path("page.md").read_text("utf-8") == (FOLDER / "summary.md").read_text("utf-8")
