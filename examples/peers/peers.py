"""This tool beside its peers: the same work in one run, the ratio of times, and the numbers.

OMP_NUM_THREADS=1 python peers.py [--quick]

Run it in an environment made of requirements.txt. It takes one core and some minutes; the table
goes to the terminal and to peers.csv.
"""

import argparse
import os
import time
import warnings
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from agreement import agreement

from saliency_audit.report.tables import write_csv
from saliency_audit.stats.claims import Measured, over_trainings

PACKAGES = (
    "saliency-audit", "quantus", "grad-cam", "foolbox", "adversarial-robustness-toolbox", "captum",
    "torch", "numpy",
)  # fmt: skip


def seconds(work: Callable[[], object]) -> tuple[float, float]:
    """Wall and CPU seconds of one call; the latter others on the machine change little."""
    start, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - start, time.process_time() - cpu


def ratios(
    ours: Callable[[], object], theirs: Callable[[], object], rounds: int
) -> tuple[Measured, Measured, float, float]:
    """Our time over theirs, in turns: wall, CPU; least CPU seconds of each.

    Who goes first changes from round to round; the intervals are Student's, over rounds.
    """
    a: list[tuple[float, float]] = []
    b: list[tuple[float, float]] = []
    for number in range(rounds):
        order = [(ours, a), (theirs, b)]
        for work, times in order if number % 2 else order[::-1]:
            times.append(seconds(work))
    wall, cpu = (
        over_trainings([x[of] / y[of] for x, y in zip(a, b, strict=True)]) for of in (0, 1)
    )
    return wall, cpu, min(x[1] for x in a), min(y[1] for y in b)


def row(pair: Any, rounds: int) -> dict[str, object]:
    """What is found of one pair; comparing the results has warmed both sides up."""
    before = os.getloadavg()[0]
    ours, theirs = pair.ours(), pair.theirs()
    found = agreement(ours, theirs)
    times: dict[str, object] = {}
    if pair.timed:
        wall, cpu, our_least, their_least = ratios(pair.ours, pair.theirs, rounds)
        times = {
            "cpu_ratio": cpu.mean, "cpu_low": cpu.low, "cpu_high": cpu.high,
            "wall_ratio": wall.mean, "wall_low": wall.low, "wall_high": wall.high,
            "ours_cpu_s": our_least, "theirs_cpu_s": their_least, "rounds": rounds,
        }  # fmt: skip
    return {
        "ours": pair.name, "peer": pair.peer, "shows": pair.shows,
        "ours_value": pair.number(ours), "theirs_value": pair.number(theirs),
        "difference": found.difference, "share_apart": found.share,
        "numbers": "same" if found.same else "apart", "why": pair.differs, **times,
        "load_before": before, "load_after": os.getloadavg()[0],
    }  # fmt: skip


def markdown(rows: pd.DataFrame) -> list[str]:
    """Lines of the tables for readers: numbers, then times."""
    numbers = [
        "| ours | peer | shown | ours | peer's | largest difference | numbers | where they part |",
        "|---" * 8 + "|",
    ]
    times = [
        "| ours | peer | CPU time, ours / peer's [95 %] | wall time [95 %] | CPU s, ours | peer's "
        "| load before, after |",
        "|---" * 7 + "|",
    ]
    for line in rows.to_dict("records"):
        apart = line["share_apart"]
        cells = [
            line["ours"], line["peer"], line["shows"],
            f"{line['ours_value']:.4g}", f"{line['theirs_value']:.4g}",
            f"{line['difference']:.1e}" + (f", {apart:.2%} of entries" if apart else ""),
            line["numbers"], line["why"],
        ]  # fmt: skip
        numbers.append(f"| {' | '.join(cells)} |")
        if pd.isna(line["rounds"]):
            continue
        ratio = [
            f"{line[f'{of}_ratio']:.2f} [{line[f'{of}_low']:.2f}, {line[f'{of}_high']:.2f}]"
            for of in ("cpu", "wall")
        ]
        cells = [
            line["ours"], line["peer"], *ratio,
            f"{line['ours_cpu_s']:.2f}", f"{line['theirs_cpu_s']:.2f}",
            f"{line['load_before']:.1f}, {line['load_after']:.1f}",
        ]  # fmt: skip
        times.append(f"| {' | '.join(cells)} |")
    return [*numbers, "", *times]


def main() -> None:
    """Compare, time, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="8 images and 3 rounds, not 32 and 5")
    asked = parser.parse_args()
    count, rounds = (8, 3) if asked.quick else (32, 5)
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    try:
        from attacks import attack_pairs
        from cascade import cascade_pairs
        from deletion import deletion_pairs
        from maps import map_pairs
        from pair import subject
    except ImportError as error:
        parser.error(f"{error}; make an environment of requirements.txt")
    print(
        ", ".join(f"{name} {version(name)}" for name in PACKAGES)
        + f"\n{count} images, {rounds} rounds, threads: torch {torch.get_num_threads()}, "
        f"OMP_NUM_THREADS {os.environ.get('OMP_NUM_THREADS', 'not set')}, load "
        + ", ".join(f"{load:.1f}" for load in os.getloadavg()),
        flush=True,
    )
    given = subject(count)
    rows = []
    for pairs in (deletion_pairs, attack_pairs, map_pairs, cascade_pairs):
        for pair in pairs(given):
            rows.append(row(pair, rounds))
            print(f"{pair.name} | {pair.peer}: {rows[-1]['numbers']}", flush=True)
    table = pd.DataFrame(rows)
    write_csv(Path("peers.csv"), table)
    print("\n".join(["", *markdown(table)]))


if __name__ == "__main__":
    main()
