"""`saliency-audit gate` from the first word to the exit code."""

import json
import tomllib
from pathlib import Path

import pandas as pd
import pytest
import torch
import xmlschema
from junitparser import JUnitXml
from PIL import Image
from safetensors.torch import save_file
from torch import nn

from saliency_audit.assets import FashionMnistCnn, bundled_images, bundled_model, default_policy
from saliency_audit.models import save
from saliency_audit.report.folder import RunFolder
from saliency_audit.report.table import wrapped

FEW = ("--max-samples", 16, "--ig-steps", 8)
PLAIN = ("--mean", 0, "--std", 1)
"""What the bundled network takes: a file of it does not say that."""
FOLDER = Path("saliency-audit-report/gate")
FILES = {
    "attestation.json",
    "checks.csv",
    "junit.xml",
    "report.html",
    "results.csv",
    "run.json",
    "summary.csv",
    "checks.png",
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
    assert "released: all 9 checks passed" in ran.out
    assert {path.name for path in FOLDER.iterdir()} == FILES
    assert set(statuses().values()) == {"passed"}
    schema = Path(__file__).with_name("junit.xsd")
    xmlschema.XMLSchema(schema).validate(FOLDER / "junit.xml")
    suite = next(iter(JUnitXml.fromfile(str(FOLDER / "junit.xml"))))
    assert all(0 <= case.time < 600 for case in suite)
    facts = json.loads((FOLDER / "run.json").read_text())
    assert facts["answer"] == "released: all 9 checks passed"
    assert facts["policy"] == default_policy()
    assert "0.5" in (FOLDER / "report.html").read_text()


@pytest.mark.slow
def test_a_shifted_model_is_refused_and_the_report_says_by_which_check(run):
    few = ("--saliency", "gradient", "--scalar", "logit", "--max-samples", 8)
    assert run("fool", *few, "--trick", "logit-shift").code == 0
    ran = run("gate", "saliency-audit-report/fool/logit-shift.pt2", *FEW, *PLAIN)
    assert ran.code == 1
    assert "scalar-agreement failed" in ran.out
    assert statuses()["scalar-agreement"] == "failed"
    assert "scalar-agreement failed" in (FOLDER / "report.html").read_text()
    assert "scalar-agreement failed" in (FOLDER / "summary.md").read_text()
    suite = next(iter(JUnitXml.fromfile(str(FOLDER / "junit.xml"))))
    assert [case.name for case in suite if not case.is_passed] == [
        "scalar-agreement",
        # Beside so large a shift, fp32 has no digits for what half a level does.
        "completeness-log-prob",
        # The shift outlives the last layer, so for most stages the map does.
        "sanity-cascade × gradient",
    ]


def test_a_model_with_random_weights_is_refused(run):
    torch.manual_seed(0)
    save_file(FashionMnistCnn().state_dict(), "random.safetensors")
    ran = run(
        "gate",
        "random.safetensors",
        "--arch",
        "saliency_audit.assets:FashionMnistCnn",
        *FEW,
        *PLAIN,
    )
    assert ran.code == 1
    assert statuses()["accuracy"] in ("failed", "inconclusive")
    ran = run(
        *("gate", "random.safetensors", "--arch", "saliency_audit.assets:FashionMnistCnn", *FEW),
        *("--report-only", "--quiet", *PLAIN),
    )
    assert ran.code == 0
    assert "refused" in ran.out
    assert ran.err == ""


@pytest.mark.slow
def test_torchscript_passes_the_default_policy_too(run):
    torch.jit.script(bundled_model()).save("model.pt")
    ran = run("gate", "model.pt", "--channels", 1, *FEW, *PLAIN)
    assert ran.code == 0, ran.out + ran.err


def test_without_labels_nothing_is_released(run):
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 4, 7, stride=4), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(),
        nn.Linear(16, 5),
    )  # fmt: skip
    torch.jit.script(model).save("model.pt")
    ran = run("gate", "model.pt", "--size", 32, *PLAIN, *policy(QUICK.format(bound=0.99)))
    assert ran.code == 1
    assert "no labels" in ran.out
    assert statuses()["accuracy"] == "undefined"


def test_mean_and_std_of_a_model_of_one_s_own_are_never_assumed(run):
    torch.jit.script(bundled_model()).save("model.pt")
    quick = policy(QUICK.format(bound=0.99))
    ran = run("gate", "model.pt", "--channels", 1, *quick)
    assert ran.code == 2
    error = ran.err.splitlines()[-1]
    assert "give the mean and std that it was trained with (--mean 0 --std 1 for pixels" in error
    assert not FOLDER.exists()
    ran = run("gate", "model.pt", "--channels", 1, "--mean", 0, *quick)
    assert "model.pt does not say its std, and a gate assumes none" in ran.err
    Path("saliency-audit.toml").write_text("mean = 0\n")
    stated = policy(QUICK.format(bound=0.99).replace("[data]", "[data]\nstd = 1"))
    assert run("gate", "model.pt", "--channels", 1, *stated).code == 0


def test_the_default_policy_is_printed_whole(run):
    ran = run("gate", "--print-policy")
    assert ran.code == 0
    assert ran.out == default_policy()
    assert len(tomllib.loads(ran.out)["check"]) == 8
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
    text = QUICK.format(bound=0.99).replace('"gradient"', '["gradcam", "gradient"]')
    ran = run("gate", "model.pt", "--channels", 1, *PLAIN, *policy(text))
    assert ran.code == 1
    found = statuses()
    assert found["deletion × gradcam (steps=4)"] == "not run"
    assert found["deletion × gradient (steps=4)"] == "passed"
    assert found["accuracy"] == "passed"


ALL_KINDS = (
    QUICK.format(bound=0.99)
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
verdict = ["steady", "shifted"]
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
    import saliency_audit.commands.gate.report as reports

    given = policy(QUICK.format(bound=0))
    write = reports.write_gate_report
    monkeypatch.setattr(reports, "write_gate_report", None)
    assert run("gate", *given).code == 3
    monkeypatch.setattr(reports, "write_gate_report", write)
    ran = run("gate", *given, "--resume")
    assert ran.code == 1
    assert len(statuses()) == 3


def test_no_worse_than_an_earlier_run(run):
    assert run("gate", *policy(QUICK.format(bound=0.99))).code == 0
    text = QUICK.replace("at_most = {bound}", 'no_worse_than = "baseline"\ntolerance = 0.99')
    given = ("gate", *policy(text), "--baseline", FOLDER / "summary.csv", "--output-dir", "b")
    assert run(*given).code == 0
    assert run(*given[:3], "--output-dir", "c").code == 2  # no --baseline
    other = ("gate", *policy(text.replace("steps = 4", "steps = 5")), *given[3:5])
    ran = run(*other, "--output-dir", "d")
    assert ran.code == 1
    assert "the baseline has steps=4 and not steps=5" in ran.out
    assert statuses(Path("d"))["deletion × gradient (steps=5)"] == "undefined"
    missing = ("gate", *policy(text.replace('"gradient"', '"gradcam"')), *given[3:5])
    ran = run(*missing, "--output-dir", "e")
    assert ran.code == 2
    assert "saliency=gradcam" in ran.err
    assert not Path("e").exists()


def test_the_same_model_is_no_worse_than_itself(run):
    text = QUICK.replace("at_most = {bound}", 'no_worse_than = "baseline"')
    assert run("gate", *policy(QUICK.format(bound=0.99))).code == 0
    # Into the same folder: the baseline is read before it is overwritten.
    given = ("gate", *policy(text), "--baseline", FOLDER / "summary.csv")
    assert run(*given).code == 0
    ran = run(*given, "--max-samples", 12, "--output-dir", "more")
    assert ran.code == 0, ran.out
    assert "was measured on other images" in ran.err
    assert "the baseline was measured on other images" in Path("more/summary.md").read_text("utf-8")
    (FOLDER / "results.csv").unlink()
    ran = run(*given, "--output-dir", "unpaired")
    assert ran.code == 1
    assert "the tolerance must exceed half the interval's width" in ran.out


@pytest.mark.parametrize("room", [10, 25, 40])
def test_names_break_at_spaces_and_before_the_cross(room):
    name = "sanity-cascade × integrated-gradients (randomise=shuffle, draws=2)"
    lines = wrapped(name, room).split("\n")
    assert " ".join(lines) == name
    assert not any(line.endswith("×") for line in lines)


def test_the_command_line_goes_before_the_policy(run):
    given = policy("[run]\nseed = 3\ntarget = 'label'\n" + QUICK.format(bound=0.99))
    assert run("gate", *given).code == 0
    facts = json.loads((FOLDER / "run.json").read_text())
    assert (facts["images"], facts["settings"]["seed"]) == (8, 3)
    assert facts["settings"]["target"] == "label"
    again = run("gate", *given, "--seed", 0, "--max-samples", 9, "--target", "predicted")
    assert again.code == 0
    assert "--seed 0 is left: the policy's own seed, 3, is taken" in again.err
    facts = json.loads((FOLDER / "run.json").read_text())
    # Whoever wants to be released does not choose the seed.
    assert (facts["images"], facts["settings"]["seed"]) == (9, 3)
    assert facts["settings"]["target"] == "predicted"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "cannot be read (No such file or directory)"),
        ("[[check]]\nmetrc = 'x'\n", "policy.toml, line 2: unknown key of [[check]] 'metrc'"),
        (
            QUICK.format(bound=0.99).replace("steps = 4", "steps = 0"),
            "policy.toml, line 10: steps is 0; give at least 1",
        ),
        (QUICK.format(bound=0.99).replace("8", "8\nsize = 5"), "size"),
        (
            '[[check]]\nmetric = "accuracy"\nat_least = 0.5\n[[check]]\nmetric = "aopc"\n'
            'saliency = "gradient"\nregions = [5, 5000]\nat_least = 0.1\n',
            "policy.toml, line 7: regions is 5,000; an image has",
        ),
        ('[run]\nlevel = "warn"\n' + QUICK.format(bound=0.99), "refuses no model"),
        (
            QUICK.format(bound=0.99) + '[[check]]\ntrick = "logit-shift"\nsaliency = "gradient"\n'
            'picture = "none.png"\nverdict = "unmoved"\n',
            "picture",
        ),
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
    assert run("gate", *policy(QUICK.format(bound=0.99))).code == 0
    assert Path("page.md").read_text("utf-8") == (FOLDER / "summary.md").read_text("utf-8")
    assert run("gate", *policy(QUICK.format(bound=0.99)), "--resume").code == 0
    assert Path("page.md").read_text("utf-8") == 2 * (FOLDER / "summary.md").read_text("utf-8")


def manifest(good, bad, name="images.csv"):
    """A manifest of images of the bundled set, and of files that are none."""
    images, labels, _ = bundled_images("test")
    lines = ["path,label"]
    for i in range(good + bad):
        file = Path(f"{i}.png")
        if i < good:
            Image.fromarray(images[i]).save(file)
        else:
            file.write_bytes(b"not an image")
        lines.append(f"{file},{labels[i]}")
    Path(name).write_text("\n".join(lines))
    return ("--data", name)


def test_images_that_cannot_be_read_are_no_pass_and_told_everywhere(run):
    text = QUICK.format(bound=0.99)
    assert run("gate", *policy(text), *manifest(8, 0)).code == 0
    ran = run("gate", *policy(text.replace("= 8", "= 16")), *manifest(8, 3))
    assert ran.code == 1
    found = statuses()
    assert found.pop("distinct images") == "passed"
    assert set(found.values()) == {"undefined"}
    told = "file unreadable on 3 of 11"
    assert told in ran.out
    assert told in (FOLDER / "summary.md").read_text("utf-8")
    suite = next(iter(JUnitXml.fromfile(str(FOLDER / "junit.xml"))))
    assert [(one.name, one.value) for one in suite.properties()] == [("unreadable images", "3")]
    assert sum(told in case.result[0].message for case in suite if case.result) == 2
    schema = Path(__file__).with_name("junit.xsd")
    xmlschema.XMLSchema(schema).validate(FOLDER / "junit.xml")


def test_two_images_are_too_few_for_all_but_shares(run):
    ran = run("gate", "--max-samples", 2, "--ig-steps", 8)
    assert ran.code == 1
    found = statuses()
    assert found.pop("accuracy") in ("passed", "inconclusive")
    assert found.pop("distinct images") == "passed"
    assert set(found.values()) == {"undefined"}
    assert "2 images, 8 needed" in ran.out


@pytest.mark.as_released
def test_copies_of_one_image_are_one_image_and_refused(run):
    pixels, labels, _ = bundled_images("test")
    lines = ["path,label"]
    for i in range(40):
        Image.fromarray(pixels[0 if i < 20 else i]).save(f"{i}.png")
        lines.append(f"{i}.png,{labels[0 if i < 20 else i]}")
    Path("images.csv").write_text("\n".join(lines))
    text = QUICK.format(bound=0.99).replace("max_samples = 8", "max_samples = 64")
    ran = run("gate", *policy(text), "--data", "images.csv")
    assert ran.code == 1
    assert "distinct images failed (21 of 40: give 32 that differ)" in ran.out
    assert statuses()["accuracy"] == "passed"
    fewer = text.replace("[data]", "[data]\nmin_images = 21")
    assert run("gate", *policy(fewer), "--data", "images.csv").code == 0
    assert json.loads((FOLDER / "run.json").read_text())["distinct_images"] == 21


def test_a_seed_that_the_policy_draws_is_its_own(run):
    text = "[run]\nseed = 'from-policy'\n" + QUICK.format(bound=0.99)
    seeds = []
    for name, written in (("a.toml", text), ("b.toml", text), ("c.toml", text + "# other\n")):
        assert run("gate", *policy(written, name), "--output-dir", name + "-out").code == 0
        facts = json.loads(Path(name + "-out", "run.json").read_text())
        seeds.append(facts["settings"]["seed"])
    assert seeds[0] == seeds[1] != seeds[2]


def test_a_model_is_not_compared_with_itself(run):
    text = "[run]\nother = 'bundled:fashion-mnist'\n[[check]]\nmetric = 'stability'\n"
    ran = run("gate", *policy(text + "saliency = 'gradient'\nat_least = 0.5\n"), *FEW)
    assert ran.code == 2
    assert "the model itself, with which every map agrees" in ran.err


def test_what_was_found_is_attested(run):
    for bound, result in ((0.99, "PASSED"), (0.01, "FAILED")):
        run("gate", *policy(QUICK.format(bound=bound)))
        statement = json.loads((FOLDER / "attestation.json").read_text())
        assert statement["predicate"]["result"] == result
        facts = json.loads((FOLDER / "run.json").read_text())
        assert statement["subject"][0]["digest"]["sha256"] == facts["model_sha256"]
        configuration = [one["digest"]["sha256"] for one in statement["predicate"]["configuration"]]
        assert configuration == [facts["policy_sha256"], facts["images_sha256"]]


OTHER_CHECKS = """
[data]
max_samples = 8
[run]
noise_level = 0.1
[[check]]
metric = "density-profile-median"
sigma = [0.1]
at_most = 1000
[[check]]
metric = "density-profile-log-mean"
sigma = [0.1]
at_most = 1000
[[check]]
metric = "sanity-cascade-logit-spread"
saliency = "gradient"
draws = 1
stages = 2
at_least = 0.0001
[[check]]
metric = "deletion"
saliency = "gradient"
steps = 4
fill = 0.5
at_most = 0.99
"""


def test_medians_spreads_and_fills_that_are_numbers_are_judged(run):
    ran = run("gate", *policy(OTHER_CHECKS))
    assert ran.code == 0, ran.out + ran.err
    assert set(statuses().values()) == {"passed"}
    summary = pd.read_csv(FOLDER / "summary.csv")
    assert {"density-profile-median", "density-profile-log-mean"} <= set(summary["check"])
    fills = pd.read_csv(FOLDER / "checks.csv").set_index("name").loc["deletion", "setting"]
    assert "fill=0.5" in fills


def test_a_bad_option_of_a_later_check_is_found_before_earlier_ones_are_measured(run, monkeypatch):
    text = QUICK.format(bound=0.99) + (
        '[[check]]\nmetric = "preservation"\nsaliency = "gradcam"\nfill = "x"\nat_least = 0.1\n'
        '[[check]]\nattack = "topk"\nsaliency = "gradcam"\nk = 7000\nverdict = "steady"\n'
    )
    ran = run("gate", *policy(text.replace('fill = "x"\n', "")))
    assert ran.code == 2
    assert "policy.toml, line 19: k is 7,000" in ran.err

    def write(*given):
        raise AssertionError("measured before all was known to be right")

    monkeypatch.setattr(RunFolder, "write", write)
    ran = run("gate", *policy(text))
    assert ran.code == 2
    assert "policy.toml, line 15: fill is 'x'; give" in ran.err


def test_annotations_that_changed_are_no_run_to_go_on_with(run):
    data = manifest(8, 0)
    rows = [f"{i}.png,2,2,20,20" for i in range(8)]
    Path("boxes.csv").write_text("\n".join(["path,xmin,ymin,xmax,ymax", *rows]))
    text = QUICK.format(bound=0.99).replace("[data]", '[data]\nannotations = "boxes.csv"')
    text += '[[check]]\nmetric = "pointing-game-chance"\nsaliency = "gradient"\nat_most = 0.9\n'
    given = ("gate", *policy(text), *data)
    ran = run(*given)
    assert statuses()["pointing-game-chance × gradient"] == "passed", ran.out + ran.err
    assert run(*given, "--resume").code == 0
    Path("boxes.csv").write_text("\n".join(["path,xmin,ymin,xmax,ymax", *rows[:4]]))
    ran = run(*given, "--resume")
    assert ran.code == 2
    assert "annotations" in ran.err


def test_a_number_of_processes_that_is_none_is_refused(run, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "abc")
    ran = run("gate")
    assert ran.code == 2
    assert "WORLD_SIZE is 'abc'" in ran.err


REFUSED_ALONE = (
    QUICK.format(bound=0.99)
    + """
[[check]]
metric = "deletion"
saliency = "gradcam"
steps = 4
at_most = 0.99
[[check]]
metric = "preservation"
saliency = "gradcam"
steps = 4
at_least = 0.01
"""
)


@pytest.mark.parametrize("rank", [0, 1])
def test_what_one_process_cannot_measure_none_goes_on_with(monkeypatch, rank):
    """A check that fails on the images of one process is measured alone by all of them."""
    from saliency_audit.commands.gate import runs
    from saliency_audit.commands.gate.policy import read_policy
    from saliency_audit.errors import UnsupportedError
    from saliency_audit.processes import Processes

    first = runs.plan(read_policy(REFUSED_ALONE, "policy").checks)[0]

    class Two(Processes):
        def gathered(self, value):
            return [value, "not on mine"] if self.rank == 0 else ["", value or "not on mine"]

    def audit(model, data, *, begin, **given):
        begin()
        yield runs.Batch(0, [], [])
        if rank == 1:
            raise UnsupportedError("not on mine")

    monkeypatch.setitem(runs.AUDITS, "metric", audit)
    found = list(runs.measured(first, None, None, begin=lambda job: (), processes=Two(rank, 2)))
    assert [(one.job, what) for one, what in found if isinstance(what, str)] == [
        (part.job, "not on mine") for part in runs.alone(first)
    ]
    assert not any(what is None for _, what in found)
    assert {what.job for _, what in found if isinstance(what, runs.Batch)} == {
        first.job,
        *(part.job for part in runs.alone(first)),
    }


def test_a_policy_that_only_warns_may_report(run):
    text = QUICK.format(bound=0.99) + 'level = "warn"\n'
    text = text.replace('better_than = "chance"\n', 'better_than = "chance"\nlevel = "warn"\n')
    assert run("gate", *policy(text)).code == 2
    assert run("gate", *policy(text), "--report-only").code == 0


class Rounded(nn.Module):
    """The bundled network, with an output in steps: no gradient reaches the image."""

    def __init__(self):
        super().__init__()
        self.inner = bundled_model()

    def forward(self, x):
        return (self.inner(x) * 100).round() / 100


class OneMore(nn.Module):
    """The bundled network and an output that is no class's."""

    def __init__(self):
        super().__init__()
        self.inner = bundled_model()

    def forward(self, x):
        logits = self.inner(x)
        return torch.cat([logits, logits.mean(1, True) - 5], 1)


def test_a_model_with_an_output_that_is_no_class_is_refused_whatever_the_policy_asks(run):
    save(OneMore().eval(), Path("more.pt2"), format="exported", input_shape=(1, 28, 28))
    text = '[data]\nmax_samples = 32\n[[check]]\nmetric = "accuracy"\nbetter_than = "chance"\n'
    ran = run("gate", "more.pt2", *PLAIN, *policy(text))
    assert ran.code == 1
    assert "outputs failed (11, and the images know 10 classes" in " ".join(ran.out.split())
    assert statuses()["outputs"] == "failed"
    assert run("gate", *policy(text)).code == 0
    assert "outputs" not in statuses()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_model_without_input_gradient_is_refused_whatever_the_policy_asks(run):
    torch.jit.trace(Rounded().eval(), torch.rand(2, 1, 28, 28)).save("rounded.pt")
    text = '[data]\nmax_samples = 8\n[[check]]\nmetric = "accuracy"\nbetter_than = "chance"\n'
    given = ("--size", 28, "--channels", 1, *PLAIN)
    ran = run("gate", "rounded.pt", *given, *policy(text))
    assert ran.code == 1
    assert "input gradient failed (8 of 8 images tried have none: something in it rounds" in ran.out
    assert statuses() == {
        "accuracy": "passed",
        "distinct images": "passed",
        "input gradient": "failed",
    }
    assert run("gate", *policy(text)).code == 0
    assert "input gradient" not in statuses()
