"""The memory of a run does not grow with the number of its images."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

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
