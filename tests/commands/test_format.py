"""``--format parquet``: the same answer from another file, wherever the rows go on to."""

import json
from pathlib import Path

import pytest

from saliency_audit.catalogue import formats
from saliency_audit.report.results import read_results

FEW = ("evaluate", "--metric", "deletion", "--steps", 4, "--max-samples", 4, "--saliency",
       "gradient")  # fmt: skip
PARQUET = (*FEW, "--format", "parquet")
OUT = Path("saliency-audit-report/evaluate")


@pytest.fixture
def pyarrow():
    return pytest.importorskip("pyarrow")


def tables():
    return {path.name: path.read_bytes() for path in OUT.glob("*.csv") if path.stem != "results"}


def test_everything_but_the_rows_is_as_with_csv(run, pyarrow):
    assert run(*FEW).code == 0
    expected, rows = tables(), read_results(OUT / "results.csv")
    ran = run(*PARQUET)
    assert ran.code == 0, ran.err
    assert tables() == expected
    assert read_results(OUT / "results.parquet").equals(rows)
    # That of the run before is gone, and this one's is listed as its own.
    files = json.loads((OUT / "run.json").read_text())["files"]
    assert "results.parquet" in files
    assert "results.csv" not in files
    assert not (OUT / "results.csv").exists()
    assert not (OUT / "partial").exists()
    again = run(*PARQUET, "--resume")
    assert again.code == 0, again.err
    assert again.out == ran.out


def test_without_its_library_a_format_is_refused_before_any_work(run, monkeypatch):
    monkeypatch.setattr(formats, "find_spec", lambda name: None)
    ran = run("evaluate", "no-such-model.pt", "--format", "parquet")
    assert ran.code == 2
    assert ran.err.count("\n") == 1
    assert (
        "--format parquet: pyarrow is not installed; pip install 'saliency-audit[parquet]'"
        in ran.err
    )
    assert list(Path().iterdir()) == []


def test_what_a_run_reads_is_not_written_over(run, pyarrow):
    OUT.mkdir(parents=True)
    names = "".join(f"class {i}\n" for i in range(10))
    (OUT / "results.parquet").write_text(names)
    ran = run(*PARQUET, "--class-names", OUT / "results.parquet")
    assert ran.code == 2
    assert "would write over it" in ran.err
    assert (OUT / "results.parquet").read_text() == names


POLICY = """[data]
min_images = 8
[[check]]
metric = "deletion"
saliency = "gradient"
steps = 4
no_worse_than = "baseline"
tolerance = 0.01
"""


def test_a_gate_writes_it_and_pairs_with_it(run, pyarrow):
    images = ("--max-samples", 8)
    Path("policy.toml").write_text(POLICY)
    earlier = run("evaluate", *FEW[1:5], *images, *FEW[7:], "--format", "parquet")
    assert earlier.code == 0, earlier.err
    gate = ("gate", "--policy", "policy.toml", *images, "--baseline", OUT / "summary.csv")
    ran = run(*gate, "--format", "parquet")
    assert ran.code == 0, ran.err + ran.out
    place = Path("saliency-audit-report/gate")
    assert not (place / "results.csv").exists()
    assert set(read_results(place / "results.parquet")["saliency"]) >= {"gradient", "random"}
    assert json.loads((place / "run.json").read_text())["settings"]["baseline paired"]
    (OUT / "results.csv").write_text("of another run")
    ran = run(*gate)
    assert ran.code == 2
    assert "results.csv and results.parquet lie beside --baseline" in ran.err
    (OUT / "results.csv").unlink()
    (OUT / "results.parquet").write_text("PAR1")
    ran = run(*gate)
    assert ran.code == 2
    assert "beside --baseline, cannot be read (" in ran.err
