"""The memory of a run does not grow with the number of its images, and hardly with its rows."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from saliency_audit.report.results import join_results
from saliency_audit.types import COLUMNS

SIDE = 8
FEW, MANY = 1000, 20_000
PEAK = (
    "import resource, runpy, sys\n"
    "sys.argv = ['saliency-audit', *sys.argv[1:]]\n"
    "try:\n"
    "    runpy.run_module('saliency_audit', run_name='__main__')\n"
    "finally:\n"
    "    print('peak', resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)\n"
)


def peak(command, count):
    """Most KiB that a command with this many images has held."""
    ran = subprocess.run(
        [
            sys.executable, "-c", PEAK, command[0], "model.pt2", "--data", "images", *command[1:],
            "--max-samples", str(count), "--batch-size", "250", "--device", "cpu",
            "--output-dir", f"out-{command[0]}-{count}", "--mean", "0.5", "--std", "0.5",
        ],
        capture_output=True,
        text=True,
        check=True,
    )  # fmt: skip
    return int(ran.stdout.rpartition("peak ")[2])


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak as Linux gives it")
def test_peak_memory_is_the_same_for_twenty_times_the_images(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * SIDE * SIDE, 4)).eval()
    program = torch.export.export(
        network,
        (torch.rand(2, 3, SIDE, SIDE),),
        dynamic_shapes=({0: torch.export.Dim("batch")},),
    )
    torch.export.save(program, "model.pt2")
    rng = np.random.default_rng(0)
    for label in range(4):
        Path(f"images/{label}").mkdir(parents=True)
    for index in range(MANY):
        pixels = rng.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(f"images/{index % 4}/{index}.png")
    command = ["evaluate", "--metric", "deletion", "--steps", "4", "--saliency", "gradient"]
    few, many = (peak(command, count) for count in (FEW, MANY))
    assert many < 1.05 * few


ROWS = 2_000_000
SUMMARY = """
import sys
from pathlib import Path
from saliency_audit.report.results import read_results
from saliency_audit.stats.summary import summarise
if sys.argv[1].endswith("parquet"):
    import pyarrow.parquet

def peak():
    # Not getrusage: what that tells begins with the process that started this one.
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0])

before = peak()
summary = summarise(read_results(Path(sys.argv[1])), higher_is_better={})
print(len(summary), summary["n"].sum(), peak() - before)
"""


def write_rows(path):
    """Ten methods and four checks of 50,000 images, in batches of 16 of them, as a run does."""
    values = np.random.default_rng(0).random(ROWS).round(6).tolist()
    with path.open("w") as file:
        file.write(",".join(COLUMNS) + "\n")
        for start in range(0, ROWS // 40, 16):
            names = [f"n{i % 1000:08d}/val_{i:08d}.JPEG" for i in range(start, start + 16)]
            for method in range(10):
                for check in ("deletion", "preservation", "completeness", "sparsity-gini"):
                    rest = f"3,5,resnet50,method-{method},logit,{check},steps=32"
                    file.writelines(f"{name},{rest},{values.pop()},ok\n" for name in names)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak as Linux gives it")
@pytest.mark.parametrize(("format", "most"), [("csv", 150), ("parquet", 175)])
def test_two_million_rows_are_summarised_in_little_memory(tmp_path, format, most):
    if format == "parquet":
        pytest.importorskip("pyarrow")
    write_rows(tmp_path / "rows.csv")
    path = join_results(tmp_path / f"results.{format}", [tmp_path / "rows.csv"])
    ran = subprocess.run(
        [sys.executable, "-c", SUMMARY, str(path)], capture_output=True, text=True, check=True
    )
    groups, n, kib = map(int, ran.stdout.split())
    assert (groups, n) == (40, ROWS)
    assert kib < most << 10
