"""P2's Tables S1 and S2: how far attacks move an image, on EfficientNet-Lite0.

python distances.py IMAGES (--quick | --full)

IMAGES is what --data takes: photographs of ImageNet classes. It needs lite0.pt2, which
../forge-a-pretrained-network/make_model.py writes. With --quick the presets run with fewer steps
and points: about half an hour on one CPU core instead of weeks.
"""

import argparse
import subprocess
from pathlib import Path

import pandas as pd

METHODS = {"integrated-gradients": "IntGrad", "smoothgrad": "SmGrad", "gradcam": "GradCam"}
PAPER = {  # ResNet-50, ImageNet validation set; min, mean, max
    "structured": {
        "IntGrad": (14.951, 628.346, 1007.269),
        "SmGrad": (21.448, 628.28, 1005.27),
        "GradCam": (15.345, 628.123, 1006.802),
    },
    "topk": {
        "IntGrad": (8.609, 54.487, 170.175),
        "SmGrad": (3.301, 16.847, 22.06),
        "GradCam": (3.02, 49.815, 169.387),
    },
}
PGD = {  # Table S1: mean distance by budget, both in P2's units (pixel values / 0.225)
    0.07: 17.8596, 0.1: 24.3589, 0.3: 67.5621, 1: 215.2923, 2: 405.0308, 4: 680.0658, 8: 861.8575,
}  # fmt: skip
P2_STD, OUR_STD = 0.225, 0.502
FEWER = {
    "relex-topk": ["--steps", "20", "--step-size", "1/255", "--eps", "8/255"],
    "relex-structured": ["--steps", "40", "--step-size", "0.003"],
}
POINTS = ["--ig-steps", "5", "--samples", "5", "--max-samples", "3"]


def attack(data: str, preset: str, *options: str) -> Path:
    """The folder of a preset's attacks."""
    folder = Path(f"distances/{preset}")
    command = [
        "saliency-audit", "attack", "lite0.pt2", "--mean", "0.498", "--std", str(OUR_STD),
        "--data", data, "--preset", preset, "--output-dir", str(folder), "--resume", *options,
    ]  # fmt: skip
    subprocess.run(command, check=True)
    return folder


def table_s1(data: str) -> list[str]:
    """Distances of untargeted PGD by budget, in P2's units, with 95 % intervals over images."""
    lines = ["| budget | ours [95 %] | noise of the budget | P2 |", "|---|---|---|---|"]
    folder = attack(data, "relex-pgd", "--measure", "gradient", "--max-samples", "8")
    found = pd.read_csv(folder / "summary.csv")
    found = found[found["check"] == "l2-distance"].set_index("setting")
    for budget, paper in PGD.items():
        line = found.loc[f"attack=pgd;eps={budget * P2_STD:g}"]
        ends = ("mean", "ci_low", "ci_high", "control")
        middle, low, high, noise = (line[end] / P2_STD for end in ends)
        lines.append(
            f"| {budget} | {middle:.1f} [{low:.1f}, {high:.1f}] | {noise:.1f} | {paper:.1f} |"
        )
    return lines


def table_s2(data: str, *, full: bool) -> list[str]:
    """Distances of the attacks on three methods' maps, in this network's own units."""
    lines = [
        "| attack | method | min | mean | max | P2 min | P2 mean | P2 max | top-k | noise |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for preset, fewer in FEWER.items():
        measured = [word for name in METHODS for word in ("--measure", name)]
        folder = attack(data, preset, *measured, *([] if full else [*fewer, *POINTS]))
        verdicts = pd.read_csv(folder / "verdicts.csv")
        # The largest budget, where there are several.
        for method, own in verdicts.groupby("saliency", sort=False):
            line = own.iloc[-1]
            paper = PAPER[line["attack"]][METHODS[method]]
            ours = [line[f"l2_model_{end}"] for end in ("min", "mean", "max")]
            lines.append(
                f"| {line['attack']} | {METHODS[method]} | "
                + " | ".join(f"{value:.1f}" for value in (*ours, *paper))
                + f" | {line['similarity']:.2f} | {line['control']:.2f} |"
            )
    return lines


def main() -> None:
    """Run the attacks and print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("images", help="as --data takes them")
    size = parser.add_mutually_exclusive_group(required=True)
    size.add_argument("--quick", action="store_true", help="what a CPU does")
    size.add_argument("--full", action="store_true", help="the paper's sizes")
    asked = parser.parse_args()
    data, full = asked.images, asked.full
    print("\n".join(["", *table_s1(data), "", *table_s2(data, full=full)]))


if __name__ == "__main__":
    main()
