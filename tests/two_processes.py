"""A command of the tool on two processes of this machine."""

import os
import subprocess
import sys


def two_processes(*arguments):
    """Run it as `torchrun` does, each process on one thread and on the CPU.

    Args:
        *arguments: of ``saliency-audit``, the name of the command first.
    """
    return subprocess.run(
        [
            *(sys.executable, "-m", "torch.distributed.run", "--standalone"),
            *("--nproc-per-node", "2", "-m", "saliency_audit"),
            *map(str, arguments),
            *("--device", "cpu"),
        ],
        # What pytest put on the path, such as a test's own folder, is on theirs, too.
        env={
            **os.environ,
            "COLUMNS": "200",
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": os.pathsep.join(["", *sys.path]),
        },
        capture_output=True,
        text=True,
        timeout=300,
    )
