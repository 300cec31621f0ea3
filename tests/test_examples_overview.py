"""The page of all claims says what the experiments' files say, and nothing else."""

import importlib.util
from pathlib import Path

import pytest

from saliency_audit.stats.claims import CLAIM_COLUMNS, verdict

EXAMPLES = Path(__file__).parent.parent / "examples"


@pytest.fixture(scope="module")
def overview():
    spec = importlib.util.spec_from_file_location("overview", EXAMPLES / "overview.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_made_of_the_files(overview):
    page = (EXAMPLES / "README.md").read_text("utf-8")
    shown = page.partition(overview.BEGIN)[2].partition(overview.END)[0]
    assert shown == f"\n{overview.markdown(overview.tables())}\n"


def test_every_paper_is_there(overview):
    folders = {path.name for path in EXAMPLES.glob("paper-*")}
    assert folders == set(overview.TITLES)
    assert {path.partition("/")[0] for path in overview.tables()} == folders


def test_every_experiment_has_script_page_and_minutes(overview):
    for path in overview.tables():
        experiment = path.removesuffix("-claims.csv")
        assert experiment in overview.MINUTES
        assert (EXAMPLES / f"{experiment}.md").is_file()
        assert (EXAMPLES / f"{experiment}.py").is_file()


def test_verdicts_go_by_the_interval(overview):
    for path, rows in overview.tables().items():
        assert tuple(rows.columns) == CLAIM_COLUMNS, path
        for line in rows.to_dict("records"):
            assert line["verdict"] == verdict(line["ci_low"], line["ci_high"]), line
            assert not line["ours"] < line["ci_low"], line
            assert not line["ours"] > line["ci_high"], line
