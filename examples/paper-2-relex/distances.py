"""P2's Table S2: how far attacks on saliency maps move an image, on EfficientNet-Lite0.

python distances.py IMAGES [--full]

IMAGES is what --data takes: photographs of ImageNet classes. It needs lite0.pt2, which
../forge-a-pretrained-network/make_model.py writes. Without --full the presets run with fewer steps
and points: about half an hour on one CPU core instead of weeks.
"""

import subprocess
import sys
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
FEWER = {
    "relex-topk": ["--steps", "20", "--step-size", "1/255", "--eps", "8/255"],
    "relex-structured": ["--steps", "40", "--step-size", "0.003"],
}
POINTS = ["--ig-steps", "5", "--samples", "5", "--max-samples", "3"]


def main() -> None:
    """Run both attacks and print the table."""
    data, full = sys.argv[1], "--full" in sys.argv
    lines = []
    for preset in ("relex-topk", "relex-structured"):
        folder = Path(f"distances/{preset}")
        command = [
            "saliency-audit", "attack", "lite0.pt2", "--mean", "0.498", "--std", "0.502",
            "--data", data, "--preset", preset, "--output-dir", str(folder), "--resume",
            *[word for name in METHODS for word in ("--measure", name)],
            *([] if full else [*FEWER[preset], *POINTS]),
        ]  # fmt: skip
        subprocess.run(command, check=True)
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
    print("| attack | method | min | mean | max | P2 min | P2 mean | P2 max | top-k | noise |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
