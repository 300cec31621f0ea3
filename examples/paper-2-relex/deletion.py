"""P2's Table S3: deletion and preservation of seven methods, on EfficientNet-Lite0.

python deletion.py IMAGES (--quick | --full)

IMAGES is what --data takes: photographs of ImageNet classes. It needs lite0.pt2, which
../forge-a-pretrained-network/make_model.py writes. The masking network of rt-sal is trained on
IMAGES first. With --quick maps and masking network are cheaper (FEWER, SHORT) and the curves
have 32 steps: about an hour on one CPU core.
"""

import argparse
import subprocess
from pathlib import Path

import pandas as pd

from saliency_audit.stats.claims import claims_markdown, claims_table, over_images

METHODS = {
    "gradient": "SimGrad",
    "gradcam": "GradCAM",
    "smoothgrad": "SmGrad",
    "integrated-gradients": "IntGrad",
    "deeplift": "DeepLIFT",
    "relex": "RelEx",
    "rt-sal": "RT-Sal",
}
PAPER = {  # ResNet-50, the whole validation set; RT-Sal is not in the table
    "gradient": (0.1336, 0.2519),
    "gradcam": (0.1232, 0.5647),
    "smoothgrad": (0.0800, 0.3845),
    "integrated-gradients": (0.0907, 0.3650),
    "deeplift": (0.0980, 0.3570),
    "relex": (0.0567, 0.4093),
}
CLAIMS = {  # check, map of which it is the better one, and of which it is not
    "RelEx deletes better than SmoothGrad": ("deletion", "relex", "smoothgrad"),
    "RelEx deletes better than DeepLIFT": ("deletion", "relex", "deeplift"),
    "RelEx deletes better than Grad-CAM": ("deletion", "relex", "gradcam"),
    "Grad-CAM preserves better than RelEx": ("preservation", "gradcam", "relex"),
    "Grad-CAM deletes better than the gradient": ("deletion", "gradcam", "gradient"),
}
FEWER = ["--steps", "32", "--relex-copies", "4"]
SHORT = ["--selector-steps", "150", "--decoder-steps", "90"]


def measure(data: str, folder: Path, methods: list[str], *options: str) -> pd.DataFrame:
    """The verdicts on 32 images, means and intervals beside the random map's."""
    subprocess.run(
        [
            "saliency-audit", "evaluate", "lite0.pt2", "--mean", "0.498", "--std", "0.502",
            "--data", data, "--preset", "p2", "--scalar", "prob", "--max-samples", "32",
            "--metric", "deletion", "--metric", "preservation", "--output-dir", str(folder),
            *[word for name in methods for word in ("--saliency", name)], *options, "--resume",
        ],
        check=True,
    )  # fmt: skip
    return pd.read_csv(folder / "verdicts.csv").assign(folder=folder.name)


def claims(rows: pd.DataFrame) -> pd.DataFrame:
    """P2's orderings, as differences on the same images."""
    found = []
    for text, (check, better, worse) in CLAIMS.items():
        own = rows[rows["check"] == check]
        values = own.pivot_table(index="image", columns="saliency", values="value")
        apart = (values[better] - values[worse]).dropna()
        place = ("deletion", "preservation").index(check)
        theirs = PAPER[better][place] - PAPER[worse][place]
        sign = -1 if check == "deletion" else 1  # lower is better
        found.append((text, sign * theirs, over_images(sign * apart)))
    return claims_table("Table S3", found)


def cell(line: pd.Series) -> str:
    """Mean with its interval, and the difference to the random map on the same images."""
    return (
        f"{line['mean']:.3f} [{line['ci_low']:.3f}, {line['ci_high']:.3f}] | "
        f"{line['difference']:+.3f} [{line['difference_low']:.3f}, {line['difference_high']:.3f}]"
    )


def main() -> None:
    """Measure, print the tables, write deletion.csv and deletion-claims.csv."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("images", help="as --data takes them")
    size = parser.add_mutually_exclusive_group(required=True)
    size.add_argument("--quick", action="store_true", help="what a CPU does")
    size.add_argument("--full", action="store_true", help="the paper's sizes")
    asked = parser.parse_args()
    data, full = asked.images, asked.full
    few = [] if full else FEWER
    trained = ["--train", data, *(["--masker-preset", "paper"] if full else SHORT)]
    found = pd.concat(
        [
            measure(data, Path("deletion/rt-sal"), ["rt-sal"], *few[:2], *trained),
            measure(data, Path("deletion/others"), list(METHODS)[:-1], *few),
        ]
    )
    found.to_csv("deletion.csv", index=False)
    print("| method | deletion [95 %] | to random | P2 | preservation [95 %] | to random | P2 |")
    print("|---|---|---|---|---|---|---|")
    for name, title in METHODS.items():
        cells = [f"{title} (`{name}`)"]
        for place, check in enumerate(("deletion", "preservation")):
            line = found[(found["saliency"] == name) & (found["check"] == check)].iloc[0]
            cells += [cell(line), f"{PAPER[name][place]:.4f}" if name in PAPER else ""]
        print(f"| {' | '.join(cells)} |")
    rows = [pd.read_csv(f"deletion/{name}/results.csv") for name in ("rt-sal", "others")]
    judged = claims(pd.concat(rows))
    judged.to_csv("deletion-claims.csv", index=False, float_format="%.4g")
    print(f"\n{claims_markdown(judged)}")


if __name__ == "__main__":
    main()
