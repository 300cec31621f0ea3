"""Rows come back the same from every format, and what is computed of them is the same."""

import numpy as np
import pandas as pd
import pytest

from saliency_audit.catalogue.formats import FORMATS
from saliency_audit.report import results_csv, results_parquet
from saliency_audit.report.results import join_results, read_results, results_in, write_results
from saliency_audit.report.tables import csv_lines, write_csv
from saliency_audit.stats.medians import median_summary
from saliency_audit.stats.paired import between_models, differences
from saliency_audit.stats.summary import summarise
from saliency_audit.stats.undefined import with_reasons
from saliency_audit.types import COLUMNS, TEXTS

NAMES = ("a,b.png", 'say "x".png', "two\nlines", "日本.png", "NA", "nan", "1e5", "007", " x ", "")


@pytest.fixture(params=FORMATS)
def format(request):
    if FORMATS[request.param].needs:
        pytest.importorskip(FORMATS[request.param].needs)
    return request.param


def rows(count, seed=0):
    """Rows of two models, three methods and three checks, some of which are undefined or failed."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "image": [NAMES[i % len(NAMES)] for i in range(count)],
            "label": pd.array([None if i % 5 == 0 else i % 3 for i in range(count)], "Int64"),
            "target": pd.array(rng.integers(0, 1000, count), "Int64"),
            "model": rng.choice(["net.pt", "another.pt"], count),
            "saliency": rng.choice(["smoothgrad", "gradient", "random"], count),
            "scalar": "logit",
            "check": rng.choice(["deletion", "accuracy", "manifold-distance", ""], count),
            "setting": rng.choice(["steps=32", "", "reason=it failed with x"], count),
            "value": rng.standard_normal(count).round(5),
            "status": rng.choice(["ok", "ok", "ok", "undefined", "error"], count),
        },
        columns=list(COLUMNS),
    )
    frame.loc[frame["saliency"] == "random", "scalar"] = ""
    frame.loc[frame["status"] != "ok", "value"] = np.nan
    frame.loc[3, "value"] = np.inf
    return frame


def batches_of(frame, folder, size=7):
    """Files of batches, as a run puts them on disk."""
    folder.mkdir(exist_ok=True)
    paths = []
    for start in range(0, len(frame), size):
        paths.append(folder / f"{start:06d}.csv")
        part = frame.iloc[start : start + size].itertuples(index=False)
        paths[-1].write_text(csv_lines(COLUMNS, part), "utf-8", newline="")
    return paths


def as_text(frame):
    """Text as Python's own, as it is in a frame that was never in a file."""
    return frame.astype(dict.fromkeys(TEXTS, object))


def test_rows_come_back_with_their_types_whatever_the_pieces(tmp_path, monkeypatch, format):
    monkeypatch.setattr(results_csv, "ROWS", 8)
    monkeypatch.setattr(results_parquet, "_AT_ONCE", 600)
    frame = rows(100)
    path = tmp_path / f"results.{format}"
    assert join_results(path, iter(batches_of(frame, tmp_path / "partial"))) == path
    read = read_results(path)
    pd.testing.assert_frame_equal(as_text(read), as_text(frame))
    for name in TEXTS:
        assert read[name].cat.categories.tolist() == sorted(set(frame[name]))
    assert results_in(tmp_path) == [path]


def test_rows_in_memory_are_written_like_those_of_batches(tmp_path, format):
    frame = rows(50)
    joined = tmp_path / f"joined.{format}"
    join_results(joined, batches_of(frame, tmp_path / "partial"))
    write_results(tmp_path / f"kept.{format}", frame)
    write_results(tmp_path / f"again.{format}", read_results(joined))
    contents = {path.read_bytes() for path in tmp_path.glob(f"*.{format}")}
    assert len(contents) == 1


def test_no_rows_have_types_too(tmp_path, format):
    write_results(tmp_path / f"none.{format}", rows(4).iloc[:0])
    join_results(tmp_path / f"joined.{format}", [])
    for path in tmp_path.glob(f"*.{format}"):
        frame = read_results(path)
        assert list(frame.columns) == list(COLUMNS)
        assert frame["label"].dtype == "Int64"
        assert frame["value"].dtype == np.float64
        assert not frame["setting"].str.startswith("attack=").any()
        assert summarise(frame, higher_is_better={}).empty


def test_every_statistic_is_the_same_to_the_byte(tmp_path, format):
    frame = rows(3000)
    path = join_results(
        tmp_path / f"results.{format}", batches_of(frame, tmp_path / "partial", 500)
    )

    def numbers(results):
        better = {"deletion": False}
        summary = summarise(results, higher_is_better=better, resamples=50)
        settings = {("deletion", "steps=32"): ""}
        of_settings = summarise(results, higher_is_better=better, controls=settings, resamples=50)
        tables = {
            "summary": with_reasons(summary, results),
            "of settings": of_settings,
            "differences": differences(results, resamples=50),
            "models": between_models(results, resamples=50),
            "medians": median_summary(results, higher_is_better=better, resamples=50),
        }
        assert min(map(len, tables.values())) > 1
        return {
            name: write_csv(tmp_path / "table", table).read_bytes()
            for name, table in tables.items()
        }

    assert numbers(read_results(path)) == numbers(frame)


def test_a_row_group_is_a_piece_of_whole_batches(tmp_path, monkeypatch):
    parquet = pytest.importorskip("pyarrow.parquet")
    monkeypatch.setattr(results_parquet, "_AT_ONCE", 600)
    pieces = []

    def batches():
        for path in batches_of(rows(100), tmp_path / "partial"):
            pieces.append(path)
            yield path

    written = FORMATS["parquet"].joined(batches())
    first = next(written)
    # No more than that was looked at when the first piece was there.
    assert len(pieces) < 3
    (tmp_path / "results.parquet").write_bytes(first + b"".join(written))
    groups = parquet.ParquetFile(tmp_path / "results.parquet").metadata
    sizes = [groups.row_group(i).num_rows for i in range(groups.num_row_groups)]
    assert sum(sizes) == 100
    assert len(sizes) > 5
    assert {size % 7 for size in sizes[:-1]} == {0}


def test_parquet_of_another_program_is_refused(tmp_path):
    pa = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "results.parquet"
    parquet.write_table(pa.table({"image": ["a"], "label": ["cat"]}), path)
    with pytest.raises(ValueError, match="its label is string, not int64"):
        read_results(path)
    parquet.write_table(pa.table({"image": ["a", None]}), path)
    with pytest.raises(ValueError, match="a row says nothing of its image"):
        read_results(path)
    path.write_bytes(b"PAR1 and no more")
    with pytest.raises(ValueError, match="Parquet"):
        read_results(path)


def test_several_files_are_read_one_after_the_other(tmp_path):
    frame = rows(40)
    paths = batches_of(frame, tmp_path / "partial")
    pd.testing.assert_frame_equal(as_text(read_results(*paths)), as_text(frame))
    assert list(read_results().columns) == list(COLUMNS)
